"""Finding the article: what belongs to it, what does not, and how its text reads."""

import pytest

from atlas.reading.tree import parse_html, plain_text
from atlas.stages.extract import Extract, count_words, extract, shortened

PROSE = "The tide came in while nobody looked, and took the picnic with it. "
LONG = PROSE * 9


def found(body: str, head: str = "") -> Extract:
    return extract(f"<html><head>{head}</head><body>{body}</body></html>", "https://a.example/")


def paragraphs(*texts: str) -> str:
    return "".join(f"<p>{text}</p>" for text in texts)


@pytest.mark.parametrize(
    "clutter",
    [
        '<div class="sidebar"><p>CLUTTER and more of it, with commas, and so on.</p></div>',
        '<div id="comments"><p>CLUTTER, said somebody who had not read the article.</p></div>',
        '<div style="display: none"><p>CLUTTER that nobody sees, whatever it says.</p></div>',
        '<p hidden="">CLUTTER that nobody sees, whatever it says, at all.</p>',
        '<div aria-hidden="true"><p>CLUTTER that nobody hears, whatever it says.</p></div>',
        '<div role="dialog" aria-modal="true"><p>CLUTTER in the way of all else.</p></div>',
        '<div role="navigation"><p>CLUTTER for finding the way.</p></div>',
        "<aside><p>CLUTTER beside the point, however interesting it is.</p></aside>",
        "<footer><p>CLUTTER below the line, with all rights reserved.</p></footer>",
        '<form><p>CLUTTER <input name="q"><input name="r"><input type="submit"></p></form>',
        "<ul>"
        + '<li><a href="/x">CLUTTER CLUTTER</a></li>' * 3
        + "</ul><div>"
        + '<a href="/y">CLUTTER</a> ' * 4
        + "</div>",
        '<div class="share-tools">CLUTTER <a href="/x">share</a></div>',
        "<div><p>Advertisement</p></div>",
        "<button>CLUTTER</button><select><option>CLUTTER</option></select><textarea>CLUTTER</textarea>",
        "<script>CLUTTER</script><style>CLUTTER</style><template><p>CLUTTER</p></template><noscript>CLUTTER</noscript>",
        "<svg><text>CLUTTER</text></svg><canvas>CLUTTER</canvas>",
        '<iframe src="https://ads.example/">CLUTTER</iframe><object data="x">CLUTTER</object>',
        "<!-- CLUTTER --><?php CLUTTER ?>",
    ],
)
def test_what_does_not_belong_is_left_out(clutter: str) -> None:
    content = f"{paragraphs(LONG)}{clutter}{paragraphs(LONG, 'The end.')}"
    body = f'<div class="wrap"><div class="content">{content}</div></div>'
    text = found(body).text
    assert text.count("picnic") == 18
    assert text.endswith("The end.")
    if "ul" not in clutter[:4]:
        assert "CLUTTER" not in text
        assert "Advertisement" not in text


@pytest.mark.parametrize(
    "part",
    [
        "<h2>Part two</h2>",
        "<ul><li>Part one</li><li>Part two</li></ul>",
        "<blockquote><p>Part two</p></blockquote>",
        "<pre>Part two</pre>",
        "<table><tr><th>a</th><th>b</th></tr><tr><td>Part two</td><td>2</td></tr></table>",
        "<dl><dt>Part</dt><dd>Part two</dd></dl>",
        "<figure><img src=x.jpg><figcaption>Part two</figcaption></figure>",
        "<details><summary>More</summary><p>Part two</p></details>",
        "<div><p>Part two</p></div>",
        '<p>Part two, see <a href="/x">there</a>.</p>',
        '<div class="comment-free article-body"><p>Part two, which is long enough, and has commas.</p></div>',
        '<div class="video-embed"><p>Part two</p><iframe src="https://player.vimeo.com/video/1"></iframe></div>',
    ],
)
def test_what_belongs_is_kept(part: str) -> None:
    body = f'<div class="content">{paragraphs(LONG)}{part}{paragraphs(LONG)}</div>'
    assert "Part two" in found(body).text


def test_the_title_and_the_byline_are_not_repeated() -> None:
    head = '<title>The day of the picnic</title><meta name="author" content="Ada Kerrigan">'
    heading = '<h1>The day of the picnic</h1><p class="byline">By Ada Kerrigan</p>'
    body = f"<article>{heading}{paragraphs(LONG)}<h2>Later</h2></article>"
    assert found(body, head).text == plain_text(parse_html(f"<p>{LONG}</p><h2>Later</h2>"))


def test_text_between_line_breaks_becomes_paragraphs() -> None:
    text = found(f"<div><b>Bold.</b> {PROSE}<br><br>{LONG}<br>same<br> <br><br>{PROSE}<p>last</p></div>").text
    assert text.split("\n\n") == [
        f"Bold. {PROSE}".strip(),
        f"{LONG}\nsame".replace(" \n", "\n"),
        PROSE.strip(),
        "last",
    ]


def test_line_breaks_in_fonts_and_spans_are_found_too() -> None:
    body = f"<body><font>{LONG}<br><br>{LONG}</font></body>"
    assert len(found(body).text.split("\n\n")) == 2


def test_each_paragraph_in_a_box_of_its_own_is_one_article() -> None:
    box = "<section><div><div><div><div><p>{}</p></div></div></div></div></section>"
    boxes = "".join(box.format(f"{number} {LONG}") for number in range(1, 4))
    text = found(f"<main><div>{boxes}</div></main>").text
    assert [line[0] for line in text.split("\n\n")] == ["1", "2", "3"]


def test_of_two_texts_the_longer_is_the_article() -> None:
    short, longer = paragraphs(PROSE), paragraphs(LONG, LONG)
    body = f'<div><div id="a">{short}</div></div><div><div id="b">{longer}</div></div>'
    assert found(body).text.count("picnic") == 18


def test_a_page_whose_names_mislead_is_read_all_the_same() -> None:
    assert found(f'<div class="comment sidebar">{paragraphs(LONG)}</div>').text.count("picnic") == 9
    assert (
        found(f'<div class="hidden-banner"><form>{paragraphs(LONG)}</form></div>').text.count("picnic") == 9
    )


def test_tables_that_lay_out_a_page_are_not_tables_of_data() -> None:
    links = '<a href="1">One</a> <a href="2">Two</a>'
    body = f"<table><tr><td>{links}</td><td>{LONG}<br><br>{LONG}</td></tr></table>"
    text = found(body).text
    assert text.startswith("The tide")
    assert "One" not in text


def test_numbers_beside_code_are_left_out() -> None:
    numbers, rows = '<td class="gutter"><pre>1\n2</pre></td>', '<td class="code"><pre>a = 1\nb = 2</pre></td>'
    code = f"<table><tr>{numbers}{rows}</tr></table>"
    assert found(f"<article>{paragraphs(LONG)}{code}</article>").text.endswith("a = 1\nb = 2")


def test_formulas_are_kept_as_tex() -> None:
    formula = (
        '<math alttext="e=mc^2"><mi>e</mi></math> '
        '<math><mi>x</mi><annotation encoding="application/x-tex">x_1</annotation></math>'
        ' <script type="math/tex">\\pi</script> <math><mi>y</mi></math>'
    )
    assert found(f"<article>{paragraphs(LONG, formula)}</article>").text.endswith("e=mc^2 x_1 \\pi y")


@pytest.mark.parametrize(
    ("figure", "address"),
    [
        ('<figure><img data-src="a.jpg"><noscript><img src="a.jpg" alt="A"></noscript></figure>', "a.jpg"),
        (
            '<figure><div><img src="tiny.jpg"></div><img><noscript><img src="a.jpg"></noscript></figure>',
            "a.jpg",
        ),
        (
            '<figure itemid="https://a.example/a.jpg"><figcaption>A caption</figcaption></figure>',
            "https://a.example/a.jpg",
        ),
    ],
)
def test_pictures_are_uncovered(figure: str, address: str) -> None:
    images = list(
        found(f"<article>{paragraphs(LONG)}{figure}{paragraphs(LONG)}</article>").article.iter("img")
    )
    assert [image.get("src") for image in images] == [address]


# --- as text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>a\n  b</p><p>c</p>", "a b\n\nc"),
        ("<p>a<b> b</b> c<i>d</i></p>", "a b cd"),
        ("<h2>a</h2>b<div>c</div>d", "a\n\nb\n\nc\n\nd"),
        ("<ul><li>a</li> <li><p>b</p></li></ul>c", "a\n\nb\n\nc"),
        ("<ul><li>a</li>\n<li>b</li></ul>", "a\nb"),
        ("<p>a<br>b<br><br>c</p>", "a\nb\n\nc"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>", "a\tb\nc\td"),
        ("<p>a</p><pre>  x\n    y\n\n\n\nz </pre><p>b</p>", "a\n\n  x\n    y\n\n\n\nz \n\nb"),
        ("<pre>a<br>b</pre>", "a\nb"),
        ("<p>a\u00a0b \u00a0</p>", "a b"),
    ],
)  # fmt: skip
def test_text_reads_like_the_page(markup: str, text: str) -> None:
    assert plain_text(parse_html(markup)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("One two-fold isn't 3.5 _x_", 6),
        ("a-b-c, rock-'n'-roll: -d- e--f 'g'", 8),
        ("don\u2019t", 1),
        ("五匹の狐", 4),
        ("여우 다섯 마리", 3),
        ("Straße é", 2),
    ],
)
def test_words_are_counted(text: str, words: int) -> None:
    assert count_words(text) == words


def test_a_long_text_is_shortened_between_words() -> None:
    assert shortened(None) is None
    assert shortened(" a\n b ") == "a b"
    assert shortened("word " * 100) == "word " * 59 + "word …"
    assert shortened("x" * 400) == "x" * 300 + " …"
