"""Small tools for trees of HTML."""

import contextlib
import re
from collections.abc import Iterator
from typing import cast

from lxml import etree

from atlas.stages.page import PageError


def words(text: str) -> frozenset[str]:
    """Write a set of names as one string."""
    return frozenset(text.split())


#: Elements that stand on lines of their own.
_BLOCKS = words(
    "address article aside blockquote body caption center dd details dialog div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section summary "
    "table tbody td tfoot th thead ul"
)
#: Blocks that follow each other without a blank line.
_LINES = words("br dd dt li tr")
_CELLS = words("td th")
#: Stand-ins for the whitespace of code, while all other is collapsed.
_KEPT = {ord("\n"): "\v", ord(" "): "\x1f"}
_RESTORED = {ord("\v"): "\n", 0x1F: " "}
_INLINE_TAGS = re.compile(r"</?(?:b|big|center|em|font|i|small|span|strong|tt|u)\b[^<>]*>", re.IGNORECASE)
_CONTROL = bytes([*range(9), 0x0B, 0x0C, *range(0x0E, 0x20)])
_CONTROL_REFERENCES = re.compile(
    r"&#(?:x0*(?:[0-8bcef]|1[0-9a-f]|fff[ef])|0*(?:[0-8]|1[1245-9]|2\d|3[01]|6553[45]))(?:;|(?![0-9a-f]))",
    re.IGNORECASE,
)
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
#: What is not one space already.
_BLANKS = re.compile(r"\s{2,}|[^\S ]")
#: More elements than any page that is read as one: the largest standards have a third of it.
_MOST_ELEMENTS = 600_000


def parse_html(text: str) -> etree._Element:
    """Parse a page; return its `html` element. Raises PageError(too_complex)."""
    root = _parse(text)
    if root is None:
        # Old pages open fonts that they never close, one in the other. Without these, little is lost.
        root = _parse(_INLINE_TAGS.sub("", text))
    if root is None:
        raise PageError("too_complex", "The page is too deeply nested to read.")
    if sum(1 for _ in root.iter()) > _MOST_ELEMENTS:
        raise PageError("too_complex", "The page is too large to read: it has more parts than a long book.")
    _make_body(root)
    return root


#: What stands in a head.
_IN_HEAD = words("base link meta noscript script style template title")


def _make_body(root: etree._Element) -> None:
    """Move what is no head out of it: where `body` is left out, the parser does not see the head's end."""
    head = root.find("head")
    if head is None or root.find("body") is not None:
        return
    for place, element in enumerate(head):
        if element.tag not in _IN_HEAD or not is_blank(element.tail):
            body = etree.SubElement(root, "body")
            if element.tag in _IN_HEAD:
                body.text, element.tail = element.tail, None
                place += 1  # noqa: PLW2901
            body.extend(list(head)[place:])
            return


def _parse(text: str) -> etree._Element | None:
    """Parse a page; return None when it nests deeper than the parser goes, which is 2048 elements."""
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    root: etree._Element | None = None
    with contextlib.suppress(etree.ParserError, etree.XMLSyntaxError):  # The log says more than these.
        root = etree.fromstring(_bytes(text), parser)
    ends = {entry.type_name for entry in parser.error_log.filter_from_fatals()}
    if "ERR_NO_MEMORY" in ends:
        raise MemoryError
    if "ERR_RESOURCE_LIMIT" in ends:
        return None
    return etree.Element("html") if root is None else root


def body_of(page: etree._Element) -> etree._Element:
    """Return the body of a parsed page, or the page itself."""
    body = page.find("body")
    return page if body is None else body


def _bytes(text: str) -> bytes:
    """Encode a page without the control characters that a tree may hold but does not take back."""
    data = _CONTROL_REFERENCES.sub("", text).encode("utf-8", "replace").translate(None, _CONTROL)
    return data.replace(b"\xef\xbf\xbe", b"").replace(b"\xef\xbf\xbf", b"")


def printable(text: str) -> str:
    """Return text without control characters and halves of letters, which no database takes."""
    return text if text.replace("\n", "").isprintable() else _UNPRINTABLE.sub("", text)


def line(text: str | None) -> str:
    """Return printable text with its whitespace collapsed."""
    return " ".join(_UNPRINTABLE.sub("", text).split()) if text else ""


def text_of(element: etree._Element) -> str:
    """All text in an element, as it is."""
    return "".join(cast("Iterator[str]", element.itertext()))


def brief(element: etree._Element, most: int = 200) -> str:
    """Return an element's text on one line, or the beginning of it: at least so many characters."""
    parts: list[str] = []
    length = 0
    for part in cast("Iterator[str]", element.itertext()):
        parts.append(part)
        length += len(part.strip())
        if length > most:
            break
    return line("".join(parts))


def attributes(element: etree._Element) -> list[tuple[str, str]]:
    """Names and values of an element's attributes."""
    return cast("list[tuple[str, str]]", element.items())


def unset(element: etree._Element, name: str) -> str | None:
    """Remove an attribute and return what it was."""
    value = element.get(name)
    if value is not None:
        del element.attrib[name]
    return value


def line_of(element: etree._Element) -> str:
    """Return an element's text on one line."""
    return line(text_of(element))


def text_length(element: etree._Element) -> int:
    """Characters of an element's text, runs of whitespace counted once."""
    texts = cast("Iterator[str]", element.itertext())
    return sum(len(" ".join(text.split())) + 1 for text in texts if not text.isspace())


def drop(element: etree._Element) -> None:
    """Remove an element, but not the text that follows it."""
    parent = element.getparent()
    if parent is None:
        return
    if element.tail:
        before = element.getprevious()
        if before is None:
            parent.text = (parent.text or "") + element.tail
        else:
            before.tail = (before.tail or "") + element.tail
    parent.remove(element)


def plain_text(element: etree._Element) -> str:
    """Write the text as it reads: paragraphs a blank line apart, items on lines, code with its whitespace."""
    parts: list[str] = []
    code = 0
    for event, node in etree.iterwalk(element, events=("start", "end")):
        begins, tag = event == "start", node.tag
        if tag in _CELLS:
            parts.append("\t" if begins and node.getprevious() is not None else "")
        elif tag in _LINES:
            parts.append("\n" if begins else "")
        elif tag in _BLOCKS:
            parts.append("\n\n")
        if tag == "pre":
            code += 1 if begins else -1
        text = node.text if begins else node.tail if node is not element else None
        if text and code:
            parts.append(text.translate(_KEPT))
        elif text:
            text = text if is_even(text) else _BLANKS.sub(" ", text)
            parts.append(text[1:] if text[0] == " " and parts and parts[-1].endswith((" ", "\n")) else text)
    written = _with_even_lines("".join(parts)).strip()
    return printable(written.translate(_RESTORED) if "\v" in written or "\x1f" in written else written)


def _with_even_lines(text: str) -> str:
    """Trim lines, and leave one blank line where there are several."""
    parts: list[str] = []
    end = ""
    for part in text.split("\n"):
        if trimmed := part.strip(" \xa0"):
            parts += (end, trimmed)
            end = "\n"
        else:
            end = "\n\n"
    return "".join(parts)


def is_even(text: str) -> bool:
    """Tell quickly that a text has no blanks but single spaces; of most texts that is true."""
    return text.isprintable() and "  " not in text


def is_blank(text: str | None) -> bool:
    """Tell whether there is nothing to see in a text."""
    return not text or text.isspace()


def link_share(element: etree._Element) -> float:
    """Share of an element's text that stands in links, 0 to 1."""
    links = sum(link_weight(link) * text_length(link) for link in element.iter("a"))
    return links / max(text_length(element), 1) if links else 0.0


def link_weight(link: etree._Element) -> float:
    """Say what a link counts: one within the page, such as a footnote, hardly speaks for a list of links."""
    return 0.3 if link.get("href", "").startswith("#") else 1.0
