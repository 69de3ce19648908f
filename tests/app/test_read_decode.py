"""Which encoding a page is in: what it says, what the server says, and what its bytes say."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.reading.decode import decode, is_binary
from atlas.stages.page import PageError

GERMAN = "Fünf schöne Füchse grüßen die Bäckerin, für die sie öfter Brötchen holen. "
RUSSIAN = "Пять лисиц каждое утро приносят булочки своей соседке, которая их очень любит. "
JAPANESE = "五匹の狐が毎朝、隣のパン屋さんのためにパンを運んでいます。彼女は狐が大好きです。"
KOREAN = "여우 다섯 마리가 매일 아침 이웃 빵집을 위해 빵을 나릅니다. 그녀는 여우를 좋아합니다. "
CHINESE = "五只狐狸每天早上为隔壁的面包师送面包。她非常喜欢它们。它们也喜欢她。"
GREEK = "Πέντε αλεπούδες φέρνουν κάθε πρωί ψωμάκια στη γειτόνισσά τους, που τις αγαπά πολύ. "


def page(text: str, codec: str, meta: str = "") -> bytes:
    return f"<html><head>{meta}<title>x</title></head><body><p>{text}</p></body></html>".encode(codec)


def declared(label: str) -> str:
    return f'<meta charset="{label}">'


@pytest.mark.parametrize(
    ("text", "codec", "label"),
    [
        (GERMAN, "utf-8", "utf-8"),
        (GERMAN + "“€…”", "cp1252", "iso-8859-1"),
        (GERMAN + "€", "cp1252", "ascii"),
        (RUSSIAN, "cp1251", "windows-1251"),
        (RUSSIAN, "koi8-r", "koi8-r"),
        (JAPANESE + "①㈱", "cp932", "Shift_JIS"),
        (JAPANESE, "cp932", "x-sjis"),
        (JAPANESE, "euc-jp", "euc-jp"),
        (JAPANESE, "iso2022-jp", "iso-2022-jp"),
        (KOREAN + "똠", "cp949", "euc-kr"),
        (KOREAN, "cp949", "ks_c_5601-1987"),
        (CHINESE + "€", "gb18030", "gb2312"),
        (CHINESE, "gbk", "GBK"),
        ("五隻狐狸每天早上為隔壁的麵包師送麵包", "big5", "big5"),
        (GREEK, "iso8859-7", "iso-8859-7"),
        (GERMAN, "utf-8", "utf-16"),
    ],
)
def test_a_page_is_read_as_it_says(text: str, codec: str, label: str) -> None:
    assert text in decode(page(text, codec, declared(label)), "text/html")
    assert text in decode(page(text, codec), f'text/html; charset="{label}"')


def test_an_old_declaration_is_found_too() -> None:
    meta = '<META HTTP-EQUIV="Content-Type" CONTENT="text/html; CHARSET=windows-1251">'
    assert RUSSIAN in decode(page(RUSSIAN, "cp1251", meta), None)
    assert RUSSIAN in decode(b'<?xml version="1.0" encoding="koi8-r"?>' + page(RUSSIAN, "koi8-r"), None)


@pytest.mark.parametrize(
    ("bom", "codec"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")],
)
def test_a_byte_order_mark_outdoes_what_is_said(bom: bytes, codec: str) -> None:
    text = decode(bom + page(GERMAN, codec, declared("koi8-r")), "text/html; charset=koi8-r")
    assert text.startswith("<html>")
    assert GERMAN in text


def test_utf_16_is_known_without_its_mark() -> None:
    assert GERMAN in decode(page(GERMAN, "utf-16-le"), None)
    assert GERMAN in decode(page(GERMAN, "utf-16-be"), None)


@pytest.mark.parametrize("label", ["iso-8859-1", "koi8-r", "shift_jis", "nonsense"])
def test_what_is_valid_utf_8_is_utf_8_whatever_is_said(label: str) -> None:
    assert JAPANESE in decode(page(JAPANESE, "utf-8", declared(label)), f"text/html; charset={label}")


def test_a_server_s_default_gives_way_to_a_page_that_knows_better() -> None:
    raw = page(RUSSIAN, "cp1251", declared("windows-1251"))
    assert RUSSIAN in decode(raw, "text/html; charset=ISO-8859-1")
    assert RUSSIAN in decode(raw, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("text", "codec"),
    [(RUSSIAN, "cp1251"), (JAPANESE, "cp932"), (CHINESE, "gb18030"), (KOREAN, "cp949"), (GREEK, "iso8859-7")],
)
@pytest.mark.parametrize("said", [None, "text/html; charset=iso-8859-1", "text/html; charset=utf-8"])
def test_what_nobody_declares_or_all_declare_wrongly_is_guessed(
    text: str, codec: str, said: str | None
) -> None:
    assert text.strip() in decode(page(text * 6, codec), said)


def test_a_few_broken_letters_do_not_change_the_encoding() -> None:
    raw = page(GERMAN * 20, "utf-8", declared("utf-8")).replace("ö".encode(), b"\xf6", 1)
    text = decode(raw, None)
    assert text.count("\ufffd") == 1
    assert "grüßen" in text


def test_text_of_western_europe_is_not_taken_for_anything_else() -> None:
    assert GERMAN in decode(page(GERMAN, "cp1252"), "text/html; charset=iso-8859-1")
    assert GERMAN in decode(page(GERMAN * 4, "cp1252"), None)


def test_an_encoding_that_could_smuggle_markup_is_not_believed() -> None:
    assert "+ADw-" in decode(b"<p>+ADw-script+AD4-", "text/html; charset=utf-7")


@pytest.mark.parametrize("label", ["idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"])
def test_encodings_of_python_s_own_are_not_believed(label: str) -> None:
    raw = page(GERMAN * 4 + r"\x3cb\u003e", "cp1252", declared(label))
    assert GERMAN + r"\x3cb\u003e" in decode(raw, f"text/html; charset={label}")


def test_a_hostile_page_cannot_make_guessing_slow() -> None:
    decode(b"<script" * 200_000 + b"\xe9" * 100, None)


@given(
    st.binary(max_size=400),
    st.sampled_from([None, "text/html; charset=shift_jis", "text/html; charset=utf-8"]),
)
def test_any_bytes_are_read_or_refused(raw: bytes, content_type: str | None) -> None:
    try:
        outcome = decode(raw, content_type).encode()
    except PageError as error:
        outcome = error.code.encode()
    assert isinstance(outcome, bytes)


def test_binary_is_told_from_text() -> None:
    assert is_binary(bytes(range(256)) * 10)
    assert is_binary(b"\x00\x01\x02 not text \x07\x08" * 50)
    for text, codec in ((GERMAN, "utf-16-le"), (GERMAN, "utf-16"), (JAPANESE, "cp932"), (RUSSIAN, "koi8-r")):
        assert not is_binary(page(text, codec))
    assert not is_binary(b"<p>one stray \x00 in a long page" + b" of text" * 200)
    assert not is_binary(b"")
