"""Making a feed's XML safe before a parser sees it: no DOCTYPE, no entities, no characters XML forbids."""

import re
from collections.abc import Iterator
from html.entities import html5

#: Root elements of what we take for a feed, and of a web page.
FEEDS = frozenset({"rss", "rdf", "feed", "channel"})
EXPECTED = FEEDS | {"html"}
#: Where a feed starts that has a server's error message or other junk before it.
_JUNK_CHARS = 8192
_FEED_START = re.compile(r"<(?:\?xml|rss|feed|rdf:rdf|channel|!doctype|html)\b", re.IGNORECASE)
_PROLOG_PART = re.compile(r"\s+|<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)", re.DOTALL)
_DOCTYPE = re.compile(r"<!DOCTYPE", re.IGNORECASE)
_DOCTYPE_PART = re.compile(r""""[^"]*"|'[^']*'|<!--.*?(?:-->|\Z)|[\[\]<>]""", re.DOTALL)
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
#: What stands for itself, whatever characters it holds, up to its end.
_LITERAL = re.compile(r"<!\[CDATA\[|<!--")
_LITERAL_ENDS = {"<![CDATA[": "]]>", "<!--": "-->"}
_STRAY = re.compile(r"&(?![#\w])")
_REFERENCE = re.compile(r"&(?:#(?P<decimal>\d{1,7});|#[xX](?P<hex>[0-9a-fA-F]{1,6});|(?P<name>\w{1,31};))?")
#: By number, because libxml2 drops `&amp;` and its like from a document in which it has met an error.
_NUMBERED = {"&amp;": "&#38;", "&lt;": "&#60;", "&gt;": "&#62;", "&quot;": "&#34;", "&apos;": "&#39;"}


def tidy(text: str) -> str:
    """Return the document from its root element on, in a form that means the same to every XML parser.

    The DOCTYPE goes unread, so nothing it declares can grow or be fetched. HTML's named characters, which
    feeds use without declaring them, become numbers; a stray "&" becomes text.
    """
    text = _ILLEGAL.sub("", text)
    start = _root(text, 0)
    if root_name(text[start:]) not in EXPECTED and (found := _FEED_START.search(text, start, _JUNK_CHARS)):
        start = _root(text, found.start())
    return "".join(_settled(text[start:]))


def root_name(text: str) -> str:
    """Name a tidy document's root element, in lower case and without its prefix; "" when there is none."""
    match = re.match(r"<(?:[\w.-]{1,64}:)?([\w.-]{1,64})", text)
    return match[1].lower() if match else ""


def _root(text: str, position: int) -> int:
    """Step over declaration, comments, instructions and DOCTYPE, to where the root element starts."""
    while True:
        if part := _PROLOG_PART.match(text, position):
            position = part.end()
        elif _DOCTYPE.match(text, position):
            position = _doctype_end(text, position)
        else:
            return position


def _doctype_end(text: str, position: int) -> int:
    depth = 0
    for part in _DOCTYPE_PART.finditer(text, position):
        depth += {"<": 1, "[": 1, ">": -1, "]": -1}.get(part[0], 0)
        if depth == 0 and part[0] == ">":
            return part.end()
    return len(text)


def _settled(text: str) -> Iterator[str]:
    position = 0
    while literal := _LITERAL.search(text, position):
        yield _settle_references(text[position : literal.start()])
        sign = _LITERAL_ENDS[literal[0]]
        end = text.find(sign, literal.end())
        position = len(text) if end < 0 else end + len(sign)
        yield text[literal.start() : position]
    yield _settle_references(text[position:])


def _settle_references(text: str) -> str:
    if "&" not in text:
        return text
    for name, number in _NUMBERED.items():
        text = text.replace(name, number)
    return _REFERENCE.sub(_settle, _STRAY.sub("&#38;", text))


def _settle(match: re.Match[str]) -> str:
    if number := match["decimal"] or match["hex"]:
        code = int(number, 10 if match["decimal"] else 16)
        legal = code < 0x110000 and (code in (9, 10, 13) or code >= 32) and not _ILLEGAL.match(chr(code))
        return f"&#{code};" if legal else ""
    characters = html5.get(match["name"] or "")
    return f"&#38;{match[0][1:]}" if characters is None else "".join(f"&#{ord(one)};" for one in characters)
