"""From an article's tree to HTML that can stand in our own pages: rich, self-contained and harmless.

First the tree is made plain (real pictures instead of lazy ones, absolute addresses, videos as links), then
nh3 lets through what a strict list allows. Safety rests on the second step alone.
"""

import re
from urllib.parse import parse_qs, unquote, urldefrag, urlsplit

import nh3
from lxml import etree

from atlas.reading.images import best_address
from atlas.reading.metadata import web_address
from atlas.reading.tree import body_of, is_blank, is_even, line, parse_html, unset, words

_TAGS = words(
    "a abbr b bdi bdo blockquote br caption cite code col colgroup dd del details dfn div dl dt em "
    "figcaption figure h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q rp rt ruby s samp section "
    "small span strong sub summary sup table tbody td tfoot th thead time tr u ul var wbr"
)
_ATTRIBUTES = {
    "*": {"dir", "id", "lang"},
    "a": {"href", "title"},
    "abbr": {"title"},
    "code": {"class"},
    "col": {"span"},
    "colgroup": {"span"},
    "details": {"open"},
    "img": {"alt", "height", "src", "title", "width"},
    "li": {"value"},
    "ol": {"reversed", "start", "type"},
    "pre": {"class"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
    "time": {"datetime"},
}
#: Gone with all they hold.
_POISON = words(
    "script style template noscript iframe frame frameset object embed applet svg math title textarea "
    "select button xmp plaintext noembed noframes"
)
#: Begins the ids of an article, so that none is one of the page around it.
ANCHOR = "ref-"
_VALUES = {
    "class": re.compile(r"language-[a-z0-9+#.-]{1,30}"),
    "dir": re.compile(r"ltr|rtl|auto"),
    "id": re.compile(ANCHOR + r"[\w:.-]{1,100}"),
    "lang": re.compile(r"[A-Za-z0-9-]{2,35}"),
    "src": re.compile(r"https?://.+", re.IGNORECASE | re.DOTALL),
    "type": re.compile(r"[1aAiI]"),
} | dict.fromkeys(
    ("width", "height", "colspan", "rowspan", "span", "start", "value"), re.compile(r"-?\d{1,5}")
)


def _filter(_tag: str, attribute: str, value: str) -> str | None:
    """Hold the values of allowed attributes to what they are for."""
    allowed = _VALUES.get(attribute)
    return value if allowed is None or allowed.fullmatch(value) else None


def _anchor_only(address: str) -> str | None:
    """Of all addresses without a scheme, only those of anchors in the article itself are let through."""
    return address if re.fullmatch(rf"#{ANCHOR}[\w:.-]{{1,100}}", address) else None


_CLEANER = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    attribute_filter=_filter,
    clean_content_tags=_POISON,
    set_tag_attribute_values={"img": {"loading": "lazy"}},
    url_schemes={"http", "https", "mailto"},
    url_relative=_anchor_only,
    link_rel="noopener noreferrer nofollow",
)


def to_html(article: etree._Element, base_url: str) -> str:
    """Write an article's tree as harmless HTML, and use it up. Relative addresses start from `base_url`."""
    _make_plain(article, base_url)
    return _CLEANER.clean(etree.tostring(article, encoding="unicode", method="html", with_tail=False)).strip()


def sanitise(markup: str, base_url: str) -> str:
    """Make a fragment from elsewhere harmless, such as a feed's entry. Raises PageError(too_complex)."""
    if is_blank(markup):
        return ""
    body = body_of(parse_html(f"<html><body>{markup}"))
    body.tag = "div"
    return to_html(body, base_url)


# --- making the tree plain

#: Only boxes: one around another is one too many.
_OUTER = words("div section article main header")
#: Worth nothing when they hold nothing.
_HOLLOW = _OUTER | words("a b blockquote em figcaption figure h1 h2 h3 h4 h5 h6 i li ol p span strong ul")
#: What lxml dissolves: the element goes, what it holds stays.
_DISSOLVED = "dissolved"
_UNBOXED = "unboxed"
_NEW_TAGS = {
    "acronym": "abbr",
    "article": "section",
    "big": _DISSOLVED,
    "font": _DISSOLVED,
    "label": _DISSOLVED,
    "nobr": _DISSOLVED,
    "strike": "s",
    "tt": "code",
}
_BLANKS = re.compile(r"[ \t\r\n\f]{2,}|[\t\r\n\f]")


def _make_plain(article: etree._Element, base_url: str) -> None:
    etree.strip_elements(article, "script", "style", "noscript", "template", with_tail=False)
    _keep_anchors(article, base_url)
    _collapse_blanks(article)
    for element in list(article.iterdescendants()):
        tag = str(element.tag)
        if tag in _HANDLERS:
            _HANDLERS[tag](element, base_url)
        elif tag in _NEW_TAGS:
            element.tag = _NEW_TAGS[tag]
        elif tag == "span" and not (element.get("dir") or element.get("lang") or element.get("id")):
            element.tag = _DISSOLVED
    etree.strip_tags(article, _DISSOLVED)
    for element in reversed(list(article.iterdescendants())):
        _simplify(element)
    inner = article
    while len(inner) == 1 and is_blank(inner.text) and inner[0].tag in {*_OUTER, _UNBOXED}:
        inner = inner[0]
        inner.tag = _UNBOXED
    etree.strip_tags(article, _DISSOLVED, _UNBOXED)


def _keep_anchors(article: etree._Element, base_url: str) -> None:
    """Let links within the article, such as footnotes, find their targets; all other ids go."""
    wanted: dict[str, list[etree._Element]] = {}
    page = urldefrag(base_url).url
    for link in article.iter("a"):
        address, _, fragment = (link.get("href") or "").strip().partition("#")
        if fragment and address in {"", page}:
            wanted.setdefault(unquote(fragment), []).append(link)
    for element in article.iter():
        name = unset(element, "id") or (element.get("name") if element.tag == "a" else None)
        for link in wanted.pop(name, ()) if name else ():
            anchor = ANCHOR + re.sub(r"[^\w:.-]", "-", (name or "").removeprefix(ANCHOR))[:100]
            link.set("href", "#" + anchor)
            element.set("id", anchor)


def _collapse_blanks(article: etree._Element) -> None:
    """Drop the indentation of the source, but not that of code."""
    code = {part for pre in article.iter("pre") for part in pre.iter()}
    for element in article.iter():
        if element not in code:
            if element.text and not is_even(element.text):
                element.text = _BLANKS.sub(" ", element.text)
            for child in element:
                if child.tail and not is_even(child.tail):
                    child.tail = _BLANKS.sub(" ", child.tail)


def _simplify(element: etree._Element) -> None:
    """Mark what holds nothing, and a box around a box. What it holds has been marked before."""
    if element.tag not in _HOLLOW or not is_blank(element.text) or element.get("id"):
        return
    if all(child.tag == _DISSOLVED and is_blank(child.tail) for child in element):
        element.tag = _DISSOLVED
    elif len(element) == 1 and is_blank(element[0].tail):
        inner, parent = element[0], element.getparent()
        boxed = element.tag in _OUTER and (inner.tag in _OUTER or inner.tag == _UNBOXED)
        if boxed or (
            element.tag == "p" and inner.tag == "img" and parent is not None and parent.tag == "figure"
        ):
            element.tag = _UNBOXED


def _link(link: etree._Element, base_url: str) -> None:
    address = (link.get("href") or "").strip()
    if address.startswith("#" + ANCHOR):
        return
    is_whole = address.startswith(("https://", "http://", "mailto:"))
    absolute = address if is_whole else web_address(address, base_url) if address.strip("#") else None
    if absolute:
        link.set("href", absolute)
    elif link.get("id"):
        unset(link, "href")
    else:
        link.tag = _DISSOLVED


def _image(image: etree._Element, base_url: str) -> None:
    address = best_address(image)
    absolute = web_address(address, base_url) if address else None
    if absolute:
        image.tag = "img"
        image.set("src", absolute)
    else:
        image.tag = _DISSOLVED


def _frame(frame: etree._Element, base_url: str) -> None:
    """Link to what a frame shows: nothing of other sites runs in ours."""
    names = ("src", "data-src", "data-lazy-src", "data")
    address = next((value for name in names if (value := (frame.get(name) or "").strip())), None)
    _replace_by_link(frame, address, base_url)


def _media(media: etree._Element, base_url: str) -> None:
    sources = (media, *media.iter("source"))
    _replace_by_link(
        media, next((source.get("src") for source in sources if source.get("src")), None), base_url
    )


def _replace_by_link(element: etree._Element, address: str | None, base_url: str) -> None:
    absolute = web_address(address, base_url) if address else None
    kind = "Audio" if element.tag == "audio" else "Video"
    title = line(element.get("title") or element.get("aria-label"))
    element[:] = []
    element.attrib.clear()
    element.text = None
    if absolute is None:
        element.tag = _DISSOLVED
        return
    absolute = _watch_page(absolute)
    element.tag = "a"
    element.set("href", absolute)
    element.text = f"{kind}: {title or urlsplit(absolute).netloc.removeprefix('www.')}"


def _watch_page(address: str) -> str:
    """Turn the address of a video that other sites embed into that of the page where people watch it."""
    parts = urlsplit(address)
    host = parts.netloc.lower().removeprefix("www.")
    name = parts.path.rstrip("/").rpartition("/")[2].partition("&")[0]
    if host in {"youtube.com", "youtube-nocookie.com"} and parts.path.startswith(("/embed/", "/v/")) and name:
        start = parse_qs(parts.query).get("start", [""])[0]
        return f"https://www.youtube.com/watch?v={name}" + (f"&t={start}" if start.isdecimal() else "")
    if host == "player.vimeo.com" and name.isdecimal():
        return f"https://vimeo.com/{name}"
    if host == "dailymotion.com" and parts.path.startswith("/embed/video/"):
        return f"https://www.dailymotion.com/video/{name}"
    return address


#: Names the language of code in a class, as the usual highlighters write it.
_CODE_LANGUAGE = re.compile(
    r"(?:^|\s)(?:lang(?:uage)?-|highlight-source-|highlight-(?!source)|brush:\s*|sourceCode\s+)([a-zA-Z0-9+#.-]{1,30})"
)
_NO_LANGUAGE = words("none default plain text plaintext txt source")


def _code(element: etree._Element, _base_url: str) -> None:
    """Keep the language of code, which it or one of the two elements around it names, and no other class."""
    language = ""
    holder: etree._Element | None = element
    for _ in range(3):
        if holder is not None and not language:
            match = _CODE_LANGUAGE.search(holder.get("class") or "")
            language = holder.get("data-lang") or holder.get("data-language") or (match[1] if match else "")
            holder = holder.getparent()
    unset(element, "class")
    language = language.strip().lower()
    if language and language not in _NO_LANGUAGE:
        element.set("class", f"language-{language}")


_HANDLERS = {
    "a": _link,
    "amp-img": _image,
    "audio": _media,
    "code": _code,
    "embed": _frame,
    "iframe": _frame,
    "img": _image,
    "object": _frame,
    "pre": _code,
    "video": _media,
}
