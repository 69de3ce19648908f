"""HTML from outside is made rich and harmless."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.stages.page import PageError
from atlas.stages.sanitise import sanitise

URL = "https://a.example/b/c.html"

XSS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//x.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script/src=data:,alert(1)>",
    "<img src=x onerror=alert(1)>",
    "<img src=x OnErRoR=alert(1)//",
    "<img/src='x'/onerror=alert(1)>",
    '<img src="javascript:alert(1)">',
    '<img src="data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+">',
    '<img srcset="javascript:alert(1) 1x, x.jpg 2x" src=y>',
    '<img data-src="javascript:alert(1)//x.jpg">',
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "<math href='javascript:alert(1)'>x</math>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='JaVaScRiPt:alert(1)'>x</a>",
    "<a href=' &#14; javascript:alert(1)'>x</a>",
    "<a href='java&#x09;script:alert(1)'>x</a>",
    "<a href='java\nscript:alert(1)'>x</a>",
    "<a href='&#106;&#97;&#118;&#97;&#115;&#99;&#114;&#105;&#112;&#116;&#58;alert(1)'>x</a>",
    "<a href='\x01javascript:alert(1)'>x</a>",
    "<a href='vbscript:msgbox(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='file:///etc/passwd'>x</a>",
    "<a href=x onclick=alert(1) onfocus=alert(1) autofocus>x</a>",
    "<a href='https://x.example' target=_blank rel=opener>x</a>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data='javascript:alert(1)'></object>",
    "<embed src='javascript:alert(1)'>",
    "<applet code=x></applet>",
    "<form action='javascript:alert(1)'><button formaction='javascript:alert(1)'>x</button></form>",
    "<form><input autofocus onfocus=alert(1)><keygen autofocus onfocus=alert(1)></form>",
    "<isindex action='javascript:alert(1)' type=image>",
    "<base href='javascript:alert(1)//'>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<link rel=stylesheet href='javascript:alert(1)'>",
    "<style>@import 'javascript:alert(1)';</style>",
    "<p style='background:url(javascript:alert(1))'>x</p>",
    "<div style='width:expression(alert(1))'>x</div>",
    "<p class='modal' id='login'>x</p>",
    "<body onload=alert(1)>",
    "<video><source onerror='alert(1)'></video>",
    "<video src=x onerror=alert(1) poster='javascript:alert(1)'></video>",
    "<audio src='javascript:alert(1)' onloadstart=alert(1)></audio>",
    "<details open ontoggle=alert(1)>x</details>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<table background='javascript:alert(1)'><td background='javascript:alert(1)'>x</table>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<textarea><img title='</textarea><img src=x onerror=alert(1)>'></textarea>",
    "<title><img title='</title><img src=x onerror=alert(1)>'></title>",
    "<xmp><img title='</xmp><img src=x onerror=alert(1)>'></xmp>",
    "<noembed><img title='</noembed><img src=x onerror=alert(1)>'></noembed>",
    "<template><script>alert(1)</script></template>",
    "<select><style></select><img src=x onerror=alert(1)></style>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<!--[if gte IE 4]><script>alert(1)</script><![endif]-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml-stylesheet href='javascript:alert(1)'?><p>x",
    "<x onclick=alert(1)>x</x>",
    "<a title='\"><script>alert(1)</script>' href='https://x.example/\"onclick=alert(1)'>x</a>",
    "<img alt='\"><script>alert(1)</script>' src='https://x.example/\"onerror=alert(1)'>",
    "<img title='`onerror=alert(1)' src=x>",
    "<pre class='language-x\" onclick=alert(1)'>x</pre>",
    "<pre><code data-lang='\"><script>alert(1)</script>'>x</code></pre>",
    "<span lang='\"><script>'>x</span><p dir='x\" onclick='>x</p>",
    "<a href='#x\"onclick=alert(1)'>x</a><p id='x\"onclick=alert(1)'>x</p>",
    "<iframe src='https://www.youtube.com/embed/\"><script>alert(1)</script>'></iframe>",
    "<iframe src='https://www.youtube.com/embed/x' title='<script>alert(1)</script>'></iframe>",
    "<math alttext='<script>alert(1)</script>'><mi>x</mi></math>",
    "<ol type='\"onclick=alert(1)' start='alert(1)'><li value='x'>x</ol>",
]

TAGS = re.compile(
    r"a|abbr|b|bdi|bdo|blockquote|br|caption|cite|code|col|colgroup|dd|del|details|dfn|div|dl|dt|em|figcaption|figure|h[1-6]|"
    r"hr|i|img|ins|kbd|li|mark|ol|p|pre|q|rp|rt|ruby|s|samp|section|small|span|strong|sub|summary|sup|table|tbody|td|tfoot|th|"
    r"thead|time|tr|u|ul|var|wbr"
)
ATTRIBUTES = {
    "href": r"(?:https?://|mailto:)[^\x00-\x20]+|#ref-[\w:.-]+",
    "src": r"https?://[^\x00-\x20]+",
    "rel": r"noopener noreferrer nofollow",
    "class": r"language-[a-z0-9+#.-]{1,30}",
    "id": r"ref-[\w:.-]+",
    "dir": r"ltr|rtl|auto",
    "lang": r"[A-Za-z0-9-]+",
    "loading": r"lazy",
    "type": r"[1aAiI]",
    "scope": r".*",
    "open": r".*",
    "reversed": r".*",
    "datetime": r"(?s).*",
    "alt": r"(?s).*",
    "title": r"(?s).*",
} | dict.fromkeys(("width", "height", "colspan", "rowspan", "span", "start", "value"), r"-?\d+")


class Strict(HTMLParser):
    """Fails on any element or attribute that does not belong into an article."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert TAGS.fullmatch(tag), tag
        for name, value in attrs:
            assert name in ATTRIBUTES, f"{tag} {name}"
            assert re.fullmatch(ATTRIBUTES[name], value or ""), f"{tag} {name}={value}"

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = unknown_decl = handle_pi = handle_comment


def assert_harmless(html: str) -> None:
    Strict().feed(html)


@pytest.mark.parametrize("vector", XSS)
def test_nothing_that_runs_gets_through(vector: str) -> None:
    for markup in (
        vector,
        f"<div><p>before {vector} after</p></div>",
        f"<table><tr><td>{vector}</table>",
        vector * 3,
    ):
        assert_harmless(sanitise(markup, URL))


@pytest.mark.parametrize("vector", XSS)
def test_what_came_out_once_is_harmless_for_good(vector: str) -> None:
    once = sanitise(f"<p>before {vector} after</p>", URL)
    twice = sanitise(once, URL)
    assert_harmless(twice)
    assert re.sub(r"<[^>]*>|\s", "", twice) == re.sub(r"<[^>]*>|\s", "", once)
    assert re.findall('(?:href|src|id)="[^"]*"', twice) == re.findall('(?:href|src|id)="[^"]*"', once)


@given(
    st.lists(
        st.sampled_from(
            [
                *"<>\"'=/ &;#-!",
                "<a href=",
                "javascript:",
                "<svg",
                "<math>",
                "<style>",
                "</style>",
                "<!--",
                "-->",
                "<p>",
                "</p>",
                "<table>",
                "<td>",
                "onerror=",
                "<img src=x ",
                "<title>",
                "<b>",
                "\0",
                "&lt;",
                "x",
                "<select>",
                "<template>",
                "]]>",
            ]
        ),
        max_size=40,
    )
)
def test_nothing_gets_through_in_any_order(parts: list[str]) -> None:
    assert_harmless(sanitise("".join(parts), URL))


def clean(markup: str) -> str:
    html = sanitise(markup, URL)
    return html.removeprefix("<div>").removesuffix("</div>").strip()


@pytest.mark.parametrize(
    ("markup", "html"),
    [
        ("", ""),
        ("plain <b>bold</b> text", "plain <b>bold</b> text"),
        ("<p>a</p>\n\n   <p>b\n  c</p>", "<p>a</p> <p>b c</p>"),
        ("<div><div><div><p>x</p></div></div></div>", "<p>x</p>"),
        ("<p></p><div> <span></span></div><p>x</p>", "<p>x</p>"),
        ("a<span> </span>b", "a b"),
        ("<p><font color=red>x</font> <tt>y</tt> <strike>z</strike></p>", "<p>x <code>y</code> <s>z</s></p>"),
        ('<p><b lang="fr">un</b> <span id="x">deux</span></p>', '<p><b lang="fr">un</b> deux</p>'),
        ("<article><h1>x</h1></article><p>y</p>", "<section><h1>x</h1></section><p>y</p>"),
        ('<figure><p><img src="x.jpg"></p><figcaption>x</figcaption></figure>',
         '<figure><img src="https://a.example/b/x.jpg" loading="lazy"><figcaption>x</figcaption></figure>'),
        ('<ol start="3" type="a"><li value="7">x</ol>', '<ol start="3" type="a"><li value="7">x</li></ol>'),
        ('<table><tr><th scope="col" colspan="2">x</th></tr></table>',
         '<table><tbody><tr><th scope="col" colspan="2">x</th></tr></tbody></table>'),
    ],
)  # fmt: skip
def test_structure_is_kept_and_clutter_is_not(markup: str, html: str) -> None:
    assert clean(markup) == html


@pytest.mark.parametrize(
    ("markup", "html"),
    [
        (
            '<a href="/x?a=1&b=2">x</a>',
            '<a href="https://a.example/x?a=1&amp;b=2" rel="noopener noreferrer nofollow">x</a>',
        ),
        (
            '<a href="mailto:a@b.example">x</a>',
            '<a href="mailto:a@b.example" rel="noopener noreferrer nofollow">x</a>',
        ),
        ('<a href="javascript:x()">x</a>', "x"),
        ('<a href="#">x</a>', "x"),
        ("<a>x</a>", "x"),
        ('<a href="x"></a>y', "y"),
    ],
)
def test_links_are_whole_or_gone(markup: str, html: str) -> None:
    assert clean(markup) == html


def test_footnotes_find_their_way_and_other_ids_go() -> None:
    html = clean(
        '<p id="top">x<a href="#fn:1" id="back">1</a></p><ol><li id="fn:1">y <a href="c.html#back">↩</a> '
        '<a href="https://a.example/b/c.html#back">↩</a> <a href="#nowhere">z</a></li></ol>'
    )
    assert '<p>x<a href="#ref-fn:1" id="ref-back"' in html
    assert '<li id="ref-fn:1">y' in html
    assert html.count('href="#ref-back"') == 1
    assert 'href="https://a.example/b/c.html#nowhere"' in html


def test_an_empty_anchor_is_kept_where_a_link_leads_to_it() -> None:
    html = clean('<p><a href="#sec">go</a></p><a name="sec"></a><p>here</p>')
    assert 'href="#ref-sec"' in html
    assert 'id="ref-sec"' in html


@pytest.mark.parametrize(
    ("markup", "address"),
    [
        ('<img src="x.jpg">', "https://a.example/b/x.jpg"),
        ('<img src="//c.example/x.jpg">', "https://c.example/x.jpg"),
        ('<img src="data:image/gif;base64,R0lG" data-src="x.jpg">', "https://a.example/b/x.jpg"),
        ('<img src="/img/blank.gif" data-original="x.jpg">', "https://a.example/b/x.jpg"),
        ('<img class="lazy" src="small.jpg" data-full="https://c.example/x.webp?w=1">', "https://c.example/x.webp?w=1"),
        ('<img src="s.jpg" srcset="s.jpg 300w, m.jpg 1200w, xl.jpg 6000w">', "https://a.example/b/m.jpg"),
        ('<img src="s.jpg" srcset="s.jpg, m.jpg 2x, l.jpg 3x">', "https://a.example/b/m.jpg"),
        ('<img srcset="https://i.example/w_300,h_200/x.jpg 300w,https://i.example/w_900,h_600/x.jpg 900w">',
         "https://i.example/w_900,h_600/x.jpg"),
        ('<img src="s.jpg" srcset="data:image/gif;base64,AAAA 1w" data-srcset="m.jpg 900w">', "https://a.example/b/m.jpg"),
        ('<picture><source srcset="m.webp 900w"><img src="data:,"></picture>', "https://a.example/b/m.webp"),
        ('<amp-img src="x.jpg"></amp-img>', "https://a.example/b/x.jpg"),
    ],
)  # fmt: skip
def test_of_a_picture_s_addresses_the_best_is_chosen(markup: str, address: str) -> None:
    assert re.findall(r'src="([^"]+)"', sanitise(markup, URL)) == [address]


@pytest.mark.parametrize(
    "markup",
    [
        '<img src="t.gif" width="1" height="1">',
        '<img src="t.gif" height="0px">',
        '<img src="data:image/png;base64,AA">',
        "<img>",
        '<img src="ftp://x/y.jpg">',
    ],
)
def test_pictures_that_show_nothing_are_dropped(markup: str) -> None:
    assert clean(f"<p>x {markup}</p>") == "<p>x </p>"


@pytest.mark.parametrize(
    ("markup", "address", "text"),
    [
        (
            '<iframe src="//www.youtube.com/embed/abc?start=9" title="A film"></iframe>',
            "https://www.youtube.com/watch?v=abc&amp;t=9",
            "Video: A film",
        ),
        (
            '<iframe data-src="https://www.youtube-nocookie.com/embed/abc"></iframe>',
            "https://www.youtube.com/watch?v=abc",
            "Video: youtube.com",
        ),
        (
            '<iframe src="https://player.vimeo.com/video/42?h=1"></iframe>',
            "https://vimeo.com/42",
            "Video: vimeo.com",
        ),
        (
            '<iframe src="https://www.dailymotion.com/embed/video/x1"></iframe>',
            "https://www.dailymotion.com/video/x1",
            "Video: dailymotion.com",
        ),
        (
            '<object data="https://www.youtube.com/v/abc&amp;hl=en"><embed src="x"></object>',
            "https://www.youtube.com/watch?v=abc",
            "Video: youtube.com",
        ),
        (
            '<video controls><source src="film.mp4"><p>old browser</p></video>',
            "https://a.example/b/film.mp4",
            "Video: a.example",
        ),
        ('<audio src="talk.mp3" title="A talk"></audio>', "https://a.example/b/talk.mp3", "Audio: A talk"),
    ],
)
def test_what_plays_becomes_a_link(markup: str, address: str, text: str) -> None:
    assert (
        clean(f"<p>{markup}</p>")
        == f'<p><a href="{address}" rel="noopener noreferrer nofollow">{text}</a></p>'
    )


@pytest.mark.parametrize(
    ("markup", "html"),
    [
        ("<pre>a\n    b\n\n  c</pre>", "<pre>a\n    b\n\n  c</pre>"),
        (
            '<pre><code class="hljs language-C++ x">a</code></pre>',
            '<pre><code class="language-c++">a</code></pre>',
        ),
        ('<pre class="brush: js; gutter: false">a</pre>', '<pre class="language-js">a</pre>'),
        ('<div class="highlight-source-rust"><pre>a</pre></div>', '<pre class="language-rust">a</pre>'),
        (
            '<pre data-lang="go"><code>a</code></pre>',
            '<pre class="language-go"><code class="language-go">a</code></pre>',
        ),
        ('<pre class="language-plaintext">a</pre>', "<pre>a</pre>"),
        ('<pre class="wp-block-code">a</pre>', "<pre>a</pre>"),
    ],
)
def test_code_keeps_its_whitespace_and_the_name_of_its_language(markup: str, html: str) -> None:
    assert clean(markup) == html


def test_a_fragment_without_measure_is_refused() -> None:
    with pytest.raises(PageError) as caught:
        sanitise("<div>" * 10_000 + "x", URL)
    assert caught.value.code == "too_complex"
