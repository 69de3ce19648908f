"""Addresses: many spellings, one key; two pages, two keys; nothing but InvalidUrl for what is none."""

import string
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atlas.urls import MAX_LENGTH, TRACKING, InvalidUrl, normalise


@pytest.mark.parametrize(
    ("written", "clean"),
    [
        ("HTTP://Example.COM", "http://example.com/"),
        ("  https://example.com/a  ", "https://example.com/a"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:443", "https://example.com/"),
        ("https://example.com:8443/", "https://example.com:8443/"),
        ("https://example.com:/", "https://example.com/"),
        ("https://example.com./a", "https://example.com/a"),
        ("https://example.com/a#part", "https://example.com/a"),
        ("https://example.com/#!/news/1", "https://example.com/#!/news/1"),
        ("https://example.com/#/news/1", "https://example.com/#/news/1"),
        ("https://example.com/a#:~:text=word", "https://example.com/a"),
        ("https://example.com?", "https://example.com/"),
        ("https://example.com/?a=1&&b=2&", "https://example.com/?a=1&b=2"),
        ("https://example.com/?b=2&a=1", "https://example.com/?b=2&a=1"),
        ("https://example.com/?utm_source=x&id=7&UTM_Medium=y&fbclid=z", "https://example.com/?id=7"),
        ("https://youtu.be/abc?si=tracker&t=10", "https://youtu.be/abc?t=10"),
        ("https://www.youtube.com/watch?v=abc&feature=share", "https://www.youtube.com/watch?v=abc"),
        ("https://example.com/?si=1&feature=2&s=3", "https://example.com/?si=1&feature=2&s=3"),
        ("https://example.com/%7euser/%41%2f%c3%a9", "https://example.com/~user/A%2F%C3%A9"),
        ("https://example.com/é d?q=ü", "https://example.com/%C3%A9%20d?q=%C3%BC"),
        ("https://example.com/100%", "https://example.com/100%25"),
        ("https://example.com/%zz", "https://example.com/%25zz"),
        ("https://example.com/a/./b/../c", "https://example.com/a/c"),
        ("https://example.com/a/%2e%2E/c/..", "https://example.com/"),
        ("https://example.com/a//b/", "https://example.com/a//b/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://BÜCHER.example/", "https://xn--bcher-kva.example/"),
        ("https://faß.example/", "https://xn--fa-hia.example/"),
        ("https://a_b.example/", "https://a_b.example/"),
        ("http://[2001:DB8:0::1]:8080/", "http://[2001:db8::1]:8080/"),
        ("http://2130706433/", "http://2130706433/"),
    ],
)
def test_clean(written, clean):
    assert normalise(written)[0] == clean


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://example.com/a", "https://example.com/a"),
        ("https://example.com/?a=1&b=2", "https://example.com/?b=2&a=1"),
        ("https://EXAMPLE.com/a?utm_source=x", "https://example.com/a#top"),
        ("https://example.com/%7Ea", "https://example.com/~a"),
    ],
)
def test_same_page(one, other):
    assert normalise(one)[1] == normalise(other)[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://example.com/?p=1", "https://example.com/?p=2"),
        ("https://example.com/a", "https://example.com/A"),
        ("https://example.com/a", "https://example.com/a/"),
        ("https://example.com/a", "https://www.example.com/a"),
        ("https://example.com/a", "https://example.com:8443/a"),
        ("https://example.com/?a=1&a=2", "https://example.com/?a=2&a=1"),
        ("https://example.com/?a", "https://example.com/?a="),
        ("https://example.com/a%2Fb", "https://example.com/a/b"),
        ("https://example.com/?q=a%26b", "https://example.com/?q=a&b"),
        ("https://example.com/?q=a+b", "https://example.com/?q=a%2Bb"),
        ("https://example.com/#!/a", "https://example.com/#!/b"),
        ("https://example.com/?id=1", "https://example.com/?ID=1"),
    ],
)
def test_different_pages(one, other):
    assert normalise(one)[1] != normalise(other)[1]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "starts with http"),
        ("example.com", "starts with http"),
        ("ftp://example.com/", "starts with http"),
        ("javascript:alert(1)", "starts with http"),
        ("file:///etc/passwd", "starts with http"),
        ("http:///path", "names no host"),
        ("https://", "names no host"),
        ("http://:80/", "names no host"),
        ("http://user@example.com/", "user name"),
        ("http://user:secret@example.com/", "user name"),
        ("http://a@b@c/", "user name"),
        ("http://exa mple.com/", "cannot exist"),
        ("http://exa%6Dple.com/", "cannot exist"),
        ("http://-a.example/", "cannot exist"),
        ("http://a..b/", "cannot exist"),
        ("http://" + "a" * 64 + ".example/", "cannot exist"),
        ("http://" + "a.b" * 100 + "/", "cannot exist"),
        ("http://evil.example\\@good.example/", "user name"),
        ("http://evil.example\\good.example/", "cannot exist"),
        ("http://[::1/", "not a web address"),
        ("http://[::g]/", "not a web address|cannot exist"),
        ("http://[fe80::1%25eth0]/", "cannot exist"),
        ("http://example.com:0/", "not a web address"),
        ("http://example.com:65536/", "not a web address"),
        ("http://example.com:8o/", "not a web address"),
        ("http://example.com/a\nb", "control characters"),
        ("http://example.com/a\x00b", "control characters"),
        ("http://example.com/\ud800", "control characters"),
        ("http://example.com/" + "a" * 2048, "longer than 2048"),
        ("http://example.com/" + "é" * 1000, "longer than 2048"),
    ],
)
def test_refused(written, reason):
    with pytest.raises(InvalidUrl, match=reason):
        normalise(written)


words = st.text(string.ascii_letters + string.digits + "-._~%é日/", max_size=12)
parameters = st.lists(st.tuples(words, words).map("=".join), max_size=4).map("&".join)
addresses = st.builds(
    "{}://{}{}/{}?{}#{}".format,
    st.sampled_from(["http", "HTTPS"]),
    st.sampled_from(["example.com", "A.example.", "bücher.example", "127.0.0.1", "[::1]", "youtu.be"]),
    st.sampled_from(["", ":80", ":443", ":8080"]),
    st.lists(words | st.sampled_from([".", "..", "%2e"]), max_size=5).map("/".join),
    parameters,
    words | st.just("!/a") | st.just("/a b"),
)


@given(address=addresses)
def test_what_is_clean_stays_as_it_is(address):
    try:
        clean, key, host = normalise(address)
    except InvalidUrl:
        return
    assert normalise(clean) == (clean, key, host)
    assert clean.isascii()
    assert len(key) < len(clean) <= MAX_LENGTH
    assert host in clean


@given(
    text=st.text(max_size=100)
    | st.text(max_size=60).map("http://{}".format)
    | st.text().map("https://a/{}".format)
)
@example(text="http://[")
@example(text="http://\u2100.example/")
@example(text="http://xn--a/")
def test_never_raises_anything_else(text):
    with suppress(InvalidUrl):
        normalise(text)


@given(
    one=st.dictionaries(st.sampled_from("abpq"), st.text(string.ascii_letters + string.digits, max_size=5)),
    other=st.dictionaries(st.sampled_from("abpq"), st.text(string.ascii_letters + string.digits, max_size=5)),
)
def test_parameters_that_differ_make_other_pages(one, other):
    keys = [
        normalise("https://example.com/?" + "&".join(f"{name}={value}" for name, value in query.items()))[1]
        for query in (one, other)
    ]
    assert (keys[0] == keys[1]) == (one == other)


def test_the_rules_are_lower_case_and_name_hosts():
    for host, names in TRACKING.items():
        assert host == host.lower()
        assert names == {name.lower() for name in names}


SAME = [
    ("https://youtu.be/dQw4w9WgXcQ?si=abc", "https://www.youtube.com/watch?v=dQw4w9WgXcQ"),
    ("https://m.youtube.com/watch?v=dQw4w9WgXcQ", "https://youtube.com/watch?v=dQw4w9WgXcQ"),
    ("https://www.youtube.com/shorts/dQw4w9WgXcQ", "https://youtu.be/dQw4w9WgXcQ"),
    ("https://en.m.wikipedia.org/wiki/Tea", "https://en.wikipedia.org/wiki/Tea"),
    ("https://old.reddit.com/r/a/comments/1/x/", "https://www.reddit.com/r/a/comments/1/x/"),
    ("https://mobile.twitter.com/a/status/1", "https://x.com/a/status/1"),
]
OTHER = [
    ("https://youtu.be/dQw4w9WgXcQ", "https://youtu.be/dQw4w9WgXcR"),
    ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", "https://www.youtube.com/watch?v=dQw4w9WgXcQ&list=PL1"),
    ("https://youtu.be/", "https://www.youtube.com/watch"),
    ("https://m.example.org/a", "https://example.org/a"),
    ("https://amp.example.org/a", "https://example.org/a"),
    ("https://example.org/a/amp", "https://example.org/a"),
    ("https://en.m.wikipedia.org/wiki/Tea", "https://de.wikipedia.org/wiki/Tea"),
    ("https://music.youtube.com/watch?v=dQw4w9WgXcQ", "https://www.youtube.com/watch?v=dQw4w9WgXcQ"),
    ("https://x.com:8443/a", "https://twitter.com/a"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_sites_rules_know_one_page_by_its_other_addresses(one: str, other: str) -> None:
    assert normalise(one)[1] == normalise(other)[1]
    assert normalise(one)[0].partition("?")[0] == one.partition("?")[0], "it is fetched as it was given"


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_sites_rules_merge_nothing_else(one: str, other: str) -> None:
    assert normalise(one)[1] != normalise(other)[1]


_SITES = st.sampled_from(
    [
        "example.org",
        "youtu.be",
        "www.youtube.com",
        "m.youtube.com",
        "x.com",
        "en.m.wikipedia.org",
        "reddit.com",
    ]
)
_PATHS = st.sampled_from(["/", "/watch", "/a/b", "/dQw4w9WgXcQ", "/shorts/dQw4w9WgXcQ", "/wiki/Tea"])
_VALUES = st.text("abcXYZ0189-_.~%/ ", max_size=8)


@given(_SITES, _PATHS, st.sampled_from(["p", "id", "v", "page", "q"]), _VALUES, _VALUES)
def test_pages_that_differ_by_a_parameter_are_never_merged(
    host: str, path: str, name: str, one: str, other: str
) -> None:
    first, second = (normalise(f"https://{host}{path}?{name}={quote(value)}") for value in (one, other))
    assert (first[1] == second[1]) == (one == other)


@given(_SITES, _PATHS, st.lists(st.tuples(st.sampled_from("abpv"), _VALUES), max_size=4))
def test_a_clean_address_is_clean_and_keeps_its_key(
    host: str, path: str, pairs: list[tuple[str, str]]
) -> None:
    clean, key, _ = normalise(
        f"http://{host}{path}?" + "&".join(f"{name}={quote(value)}" for name, value in pairs)
    )
    assert normalise(clean)[:2] == (clean, key)
    assert normalise(f"https://{key}")[1] == key, "the key is an address of the same page"
