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
        after, parent = br.getnext(), br.getparent()
        if parent is not None and after is not None and after.tag == "br" and is_blank(br.tail):
            yield parent


def _wrap_loose_parts(holder: etree._Element) -> None:
    """Wrap each run of text and inline elements in a `p`; doubled line breaks end a run."""
    children = list(holder)
    loose = [_is_phrasing(child) for child in children]
    if not any(loose) and is_blank(holder.text) and all(is_blank(child.tail) for child in children):
        return
    parts: list[etree._Element] = []
    paragraph = _with_text(None, holder.text, parts)
    for child, is_loose, after in zip(children, loose, (*children, None)[1:], strict=True):
        tail, child.tail = child.tail, None
        if not is_loose:
            parts.append(child)
            paragraph = None
        elif child.tag == "br":
            if after is not None and after.tag == "br" and is_blank(tail):
                paragraph = None
            elif paragraph is not None:
                paragraph.append(child)
        else:
            if paragraph is None:
                paragraph = etree.Element("p")
                parts.append(paragraph)
            paragraph.append(child)
        paragraph = _with_text(paragraph, tail, parts)
    holder.text = None
    holder[:] = parts


def _with_text(
    paragraph: etree._Element | None, text: str | None, parts: list[etree._Element]
) -> etree._Element | None:
    """Add text to a paragraph, or begin one with it unless it is blank."""
    if not text or (paragraph is None and text.isspace()):
        return paragraph
    if paragraph is None:
        paragraph = etree.Element("p")
        parts.append(paragraph)
    if len(paragraph):
        paragraph[-1].tail = (paragraph[-1].tail or "") + text
    else:
        paragraph.text = (paragraph.text or "") + text
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
