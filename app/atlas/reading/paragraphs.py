"""Giving loose text paragraphs: many a page has only divs and line breaks."""

from collections.abc import Iterator

from lxml import etree

from atlas.reading.tree import is_blank, link_share, words

_PHRASING = words(
    "abbr acronym audio b bdi bdo big br button cite code data datalist dfn em embed font i img input "
    "kbd label map mark math meter nobr object output picture progress q ruby s samp select small "
    "source span strike strong sub sup textarea time track tt u var video wbr"
)
_HOLDERS = words("div body article section main center")
#: A div with this share of its text in links is rather a list of links than a paragraph.
_MANY_LINKS = 0.25


def make_paragraphs(body: etree._Element) -> None:
    """Put text that stands loose in divs, or between doubled line breaks, into paragraphs."""
    for broken in _with_double_breaks(body):
        if broken.tag == "p" or broken.tag in _PHRASING:
            broken.tag = "div"
    pending = [body]
    while pending:
        element = pending.pop()
        if element.tag in _HOLDERS:
            _wrap_loose_parts(element)
            element = _unwrapped(element)
        pending.extend(reversed(element))


def _with_double_breaks(body: etree._Element) -> Iterator[etree._Element]:
    for br in list(body.iter("br")):
        parent = br.getparent()
        if parent is not None and _is_doubled(br, br.getnext()):
            yield parent


def _is_doubled(br: etree._Element, after: etree._Element | None) -> bool:
    return after is not None and after.tag == "br" and is_blank(br.tail)


def _wrap_loose_parts(holder: etree._Element) -> None:
    """Wrap each run of text and inline elements in a `p`; doubled line breaks end a run."""
    children = list(holder)
    loose = [_is_phrasing(child) for child in children]
    if not any(loose) and is_blank(holder.text) and all(is_blank(child.tail) for child in children):
        return
    parts: list[etree._Element] = []
    paragraph = _begun_with(holder.text, parts)
    for child, is_loose, after in zip(children, loose, (*children, None)[1:], strict=True):
        if not is_loose:
            tail, child.tail = child.tail, None
            parts.append(child)
            paragraph = _begun_with(tail, parts)
        elif child.tag == "br" and (paragraph is None or _is_doubled(child, after)):
            paragraph = _begun_with(child.tail, parts)
        else:
            if paragraph is None:
                paragraph = etree.Element("p")
                parts.append(paragraph)
            paragraph.append(child)  # and the text after it
    holder.text = None
    holder[:] = parts


def _begun_with(text: str | None, parts: list[etree._Element]) -> etree._Element | None:
    """Begin a paragraph with a text, if there is any to see."""
    if is_blank(text):
        return None
    paragraph = etree.Element("p")
    paragraph.text = text
    parts.append(paragraph)
    return paragraph


def _unwrapped(holder: etree._Element) -> etree._Element:
    """Put the one paragraph that a div holds in the div's place. Returns what stands there now."""
    parent = holder.getparent()
    if (
        holder.tag != "div"
        or len(holder) != 1
        or holder[0].tag != "p"
        or parent is None
        or not is_blank(holder.text)
    ):
        return holder
    paragraph = holder[0]
    if not is_blank(paragraph.tail) or link_share(paragraph) >= _MANY_LINKS:
        return holder
    paragraph.tail = holder.tail
    parent.replace(holder, paragraph)
    return paragraph


def _is_phrasing(element: etree._Element) -> bool:
    return element.tag in _PHRASING or (
        element.tag in {"a", "ins", "del"} and all(map(_is_phrasing, element))
    )
