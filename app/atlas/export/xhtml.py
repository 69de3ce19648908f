"""An article as XHTML that a strict reader of books accepts: well-formed, and nothing where it may not stand.

Articles come from pages that put paragraphs into emphases, items outside of lists and captions outside of
figures. Browsers do not mind; validators of EPUB do. Pictures are left out: books are read offline.
"""

import re
from collections.abc import Callable, Sequence
from urllib.parse import quote, urldefrag

from lxml import etree

from atlas.export.xml import clean, words
from atlas.reading.tree import body_of, parse_html
from atlas.reading.tree import words as names
from atlas.stages.page import PageError
from atlas.urls import InvalidUrl, normalise

_PHRASING = names(
    "a abbr b bdi bdo cite code del dfn em i ins kbd mark q s samp small span strong sub sup u var"
)
_WORDS = names("h1 h2 h3 h4 h5 h6 p pre")
_BOXES = frozenset({"blockquote", "div", "section"})
_LISTS = frozenset({"ul", "ol"})
_CELLS = frozenset({"td", "th"})
_BLOCKS = names(
    "blockquote div section p pre ul ol li dl dt dd table figure figcaption details summary hr caption thead "
    "tbody tfoot tr td th h1 h2 h3 h4 h5 h6"
)
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,120}")
#: Tags of languages that all readers take.
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")


def xhtml(markup: str, text: str) -> str:
    """Return an article's sanitised HTML as the inside of an XHTML body; its `text` when it cannot be."""
    try:
        body = body_of(parse_html(f"<html><body>{clean(markup)}"))
        return _Writer(body).flow(body)
    except (PageError, RecursionError):
        return "".join(f"<p>{words(part)}</p>" for part in re.split(r"\n\s*\n", text) if part.strip())


class _Writer:
    """Writes one article; knows which of its anchors are led to from within it."""

    def __init__(self, body: etree._Element) -> None:
        targets = {str(link)[1:] for link in body.xpath("//a/@href") if str(link).startswith("#")}  # type: ignore[union-attr]
        self._anchors = {one for one in targets if _ID.fullmatch(one)}
        self._written: set[str] = set()
        self._here = self._anchors.intersection(str(one) for one in body.xpath("//@id"))  # type: ignore[union-attr]
        self._in_link = False

    def flow(self, parent: etree._Element) -> str:
        """Write what is in an element where blocks may stand."""
        return self._children(parent, self._block)

    def phrasing(self, parent: etree._Element) -> str:
        """Write what is in an element where only words may stand."""
        return self._children(parent, self._inline)

    def _children(self, parent: etree._Element, write: Callable[[etree._Element], str]) -> str:
        parts = [words(parent.text)]
        for child in parent:
            if isinstance(child.tag, str):
                parts.append(write(child))
            parts.append(words(child.tail))
        return "".join(parts)

    def _block(self, element: etree._Element) -> str:
        tag = str(element.tag)
        special = {
            "ul": self._list,
            "ol": self._list,
            "dl": self._definitions,
            "table": self._table,
            "figure": self._figure,
        }.get(tag)
        if special is not None:
            return special(element)
        if tag in _WORDS:
            return self._in(tag, element, self.phrasing(element))
        if tag in _PHRASING and _holds_block(element):
            return self.flow(element)
        if tag in _BLOCKS and tag != "hr":  # an item without a list, a cell without a table
            return self._in(tag if tag in _BOXES else "div", element, self.flow(element))
        return "<hr/>" if tag == "hr" else self._inline(element)

    def _inline(self, element: etree._Element) -> str:
        tag = str(element.tag)
        written = {"br": "<br/>", "hr": "<br/>", "wbr": "", "rp": "", "img": _said(element)}.get(tag)
        if written is not None:
            return written
        if tag == "a":
            return self._link(element)
        inner = self.phrasing(element)
        if tag in _PHRASING and not (tag == "bdo" and element.get("dir") not in {"ltr", "rtl"}):
            return self._in(tag, element, inner)
        if tag == "rt":
            return f" ({inner})"
        return f"{inner}<br/>" if tag in _BLOCKS and inner.strip() else inner

    def _link(self, element: etree._Element) -> str:
        if self._in_link:
            return self.phrasing(element)
        self._in_link = True
        inner = self.phrasing(element)
        self._in_link = False
        address = self._address(element.get("href") or "")
        return self._in("a", element, inner, f' href="{words(address)}"' if address else "")

    def _address(self, href: str) -> str:
        if href.startswith("#"):
            return href if href[1:] in self._here else ""
        address, fragment = urldefrag(href)
        try:
            found = normalise(address)[0]
        except InvalidUrl:
            return ""
        return found + (f"#{quote(fragment, safe='')}" if fragment and "#" not in found else "")

    def _list(self, element: etree._Element) -> str:
        items = []
        for part in _parts(element):
            inner = (
                words(part)
                if isinstance(part, str)
                else self.flow(part)
                if part.tag == "li"
                else self._block(part)
            )
            own = part if not isinstance(part, str) and part.tag == "li" else None
            items.append(self._in("li", own, inner))
        if not items:
            return ""
        start = element.get("start") or ""
        numbered = f' start="{start}"' if element.tag == "ol" and re.fullmatch(r"-?\d{1,6}", start) else ""
        return self._in(str(element.tag), element, "".join(items), numbered)

    def _definitions(self, element: etree._Element) -> str:
        parts = _parts(element)
        tags = ["" if isinstance(part, str) else str(part.tag) for part in parts]
        if not tags or set(tags) != {"dt", "dd"} or tags[0] != "dt" or tags[-1] != "dd":
            return self._in("div", element, self.flow(element))
        inner = "".join(
            self._in(str(part.tag), part, self.phrasing(part) if part.tag == "dt" else self.flow(part))
            for part in parts
            if not isinstance(part, str)
        )
        return self._in("dl", element, inner)

    def _table(self, element: etree._Element) -> str:
        caption = next(
            (self._in("caption", one, self.phrasing(one)) for one in element.iterfind("caption")), ""
        )
        rows = []
        for row in element.iterdescendants("tr"):
            if next(row.iterancestors("table"), None) is not element:
                continue
            cells = [self._cell(cell) for cell in row if cell.tag in _CELLS]
            if cells:
                rows.append(f"<tr>{''.join(cells)}</tr>")
        if not rows:
            return self._in("div", None, words(" ".join(clean(str(text)) for text in element.itertext())))
        return self._in("table", element, f"{caption}<tbody>{''.join(rows)}</tbody>")

    def _cell(self, cell: etree._Element) -> str:
        spans = ""
        for name in ("colspan", "rowspan"):
            value = cell.get(name) or ""
            if re.fullmatch(r"[1-9]\d{0,2}", value):
                spans += f' {name}="{value}"'
        return self._in(str(cell.tag), cell, self.flow(cell), spans)

    def _figure(self, element: etree._Element) -> str:
        captions = [one for one in element if one.tag == "figcaption"]
        rest = "".join(
            words(part) if isinstance(part, str) else self._block(part)
            for part in _parts(element)
            if part not in captions
        )
        said = "".join(self.flow(one) for one in captions)
        said = f"<figcaption>{said}</figcaption>" if said.strip() else ""
        return self._in("figure", element, rest + said) if (rest + said).strip() else ""

    def _in(self, tag: str, element: etree._Element | None, inner: str, more: str = "") -> str:
        """Write an element with the attributes that all may have."""
        if element is not None:
            more += self._common(element)
        return f"<{tag}{more}>{inner}</{tag}>"

    def _common(self, element: etree._Element) -> str:
        written = ""
        own, language = element.get("id") or "", element.get("lang") or ""
        if own in self._here and own not in self._written:
            self._written.add(own)
            written += f' id="{own}"'
        if LANGUAGE.fullmatch(language):
            written += f' lang="{language}" xml:lang="{language}"'
        if element.get("dir") in {"ltr", "rtl"}:
            written += f' dir="{element.get("dir")}"'
        return written


def _said(picture: etree._Element) -> str:
    """Return what is said in place of a picture."""
    alt = clean(picture.get("alt")).strip()
    return f"<em>[{words(alt)}]</em>" if alt else ""


def _holds_block(element: etree._Element) -> bool:
    return any(isinstance(one.tag, str) and one.tag in _BLOCKS for one in element.iterdescendants())


def _parts(element: etree._Element) -> Sequence[str | etree._Element]:
    """Return the elements in an element, and the words between them."""
    found: list[str | etree._Element] = [element.text or ""]
    for child in element:
        if isinstance(child.tag, str):
            found.append(child)
        found.append(child.tail or "")
    return [part for part in found if not isinstance(part, str) or part.strip()]
