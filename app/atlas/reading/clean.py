"""Taking out of an article what does not belong: forms, share buttons, lists of links, advertising."""

import re

from lxml import etree

from atlas.reading.measure import Measures, weight
from atlas.reading.tree import attributes, brief, drop, is_blank, link_weight, text_length, words

_SHARE = re.compile(r"(?:\b|_)(?:share|sharedaddy)(?:\b|_)", re.IGNORECASE)
#: Frames from these places show videos; all others go.
_VIDEO = re.compile(
    r"//(?:www\.)?(?:(?:dailymotion|youtube|youtube-nocookie|player\.vimeo|v\.qq|bilibili|(?:live|player)\.bilibili)\.com|"
    r"(?:archive|upload\.wikimedia)\.org|player\.twitch\.tv)/",
    re.IGNORECASE,
)
_ADVERT = re.compile(
    r"(?:ad(?:vertising|vertisement)?|pub(?:licité)?|werb(?:ung)?|anzeige|广告|реклама|anuncio|publicidad|"
    r"(?:loading|正在加载|загрузка|chargement|cargando)(?:…|\.\.\.)?)$",
    re.IGNORECASE,
)
_HEADINGS = words("h1 h2 h3 h4 h5 h6")
_BLOCKS = words("blockquote dl div img ol p pre table ul")
#: Elements that text stands in; what holds none of them is not worth its place.
_TEXT_HOLDERS = _BLOCKS | {"span", "li", "td"}
_EMBEDS = words("iframe object embed")
_CONTROLS = words("footer link aside input textarea select button")
#: Gone when they hold neither text nor pictures.
_HOLLOW = _HEADINGS | words("p li ul ol div section figure")
#: Gone when they look like something else than text.
_SUSPECTS = words("form fieldset table td ul div")
#: Characters: what is longer is text, even if its name says otherwise.
_SHARE_LIMIT = 500


def clean(article: etree._Element, *, weights: bool, conditionally: bool) -> None:
    """Clean an article, innermost elements first.

    With `weights`, what classes and ids say is believed; only if `conditionally`, what looks foreign goes.
    """
    held = _Holdings(article)
    sheltered, in_figure = _shelters(held)
    for number in range(len(held.elements) - 1, 0, -1):
        element = held.elements[number]
        if _never_belongs(held, number, weights=weights) or (
            conditionally
            and element.tag in _SUSPECTS
            and not sheltered[number]
            and _looks_foreign(held, number, weights=weights, in_figure=in_figure[number])
        ):
            held.inputs[held.parents[number]] += held.inputs[number] + (element.tag == "input")
            drop(element)
        else:
            held.count(number)
            _tidy(element)


class _Holdings:
    """What the elements of an article hold, counted upwards so that what was dropped no longer counts."""

    def __init__(self, article: etree._Element) -> None:
        measures = Measures(article)
        size = len(measures.elements)
        self.elements = measures.elements
        self.parents = measures.parents
        self.text = measures.text
        self.commas = measures.commas
        self.links = [0.0] * size
        self.paragraphs = [0] * size
        self.images = [0] * size
        self.items = [0] * size
        self.inputs = [0] * size
        self.videos = [0] * size
        self.heading_text = [0] * size
        self.list_text = [0] * size
        self.text_holders = [False] * size
        self.blocks = [False] * size

    def count(self, number: int) -> None:
        """Add what an element is and holds to its parent."""
        tag, parent = self.elements[number].tag, self.parents[number]
        text = self.text[number]
        self.text[parent] += text
        self.commas[parent] += self.commas[number]
        self.links[parent] += text * link_weight(self.elements[number]) if tag == "a" else self.links[number]
        self.paragraphs[parent] += self.paragraphs[number] + (tag == "p")
        self.images[parent] += self.images[number] + (tag == "img")
        self.items[parent] += self.items[number] + (tag == "li")
        self.inputs[parent] += self.inputs[number]
        self.videos[parent] += self.videos[number] + (tag in {"iframe", "object", "embed", "video", "audio"})
        self.heading_text[parent] += text if tag in _HEADINGS else self.heading_text[number]
        self.list_text[parent] += text if tag in {"ul", "ol"} else self.list_text[number]
        self.text_holders[parent] |= self.text_holders[number] or (tag in _TEXT_HOLDERS and text > 0)
        self.blocks[parent] |= self.blocks[number] or tag in _BLOCKS


def _shelters(held: _Holdings) -> tuple[list[bool], list[bool]]:
    """Which elements are in data tables or code (or are), and which are in figures."""
    sheltered = [False] * len(held.elements)
    in_figure = [False] * len(held.elements)
    for number in range(1, len(held.elements)):
        element, parent = held.elements[number], held.parents[number]
        tag = element.tag
        sheltered[number] = (
            sheltered[parent] or tag in {"code", "pre"} or (tag == "table" and _is_data_table(element))
        )
        in_figure[number] = in_figure[parent] or held.elements[parent].tag == "figure"
    return sheltered, in_figure


def _never_belongs(held: _Holdings, number: int, *, weights: bool) -> bool:
    element = held.elements[number]
    tag = element.tag
    if tag in _CONTROLS:
        return True
    if tag in _EMBEDS:
        return not any(_VIDEO.search(value) for part in element.iter() for _, value in attributes(part))
    if tag in _HOLLOW and not (held.text[number] or held.images[number] or held.videos[number]):
        return True
    if held.text[number] < 30 and tag in {"div", "p"} and _ADVERT.match(brief(element)):
        return True
    if held.text[number] < _SHARE_LIMIT and held.parents[number] != 0:
        name = f"{element.get('class', '')} {element.get('id', '')}"
        if len(name) > 1 and _SHARE.search(name):
            return True
    return weights and tag in {"h1", "h2"} and weight(element) < 0


def _looks_foreign(held: _Holdings, number: int, *, weights: bool, in_figure: bool) -> bool:
    """Tell whether an element looks like navigation, advertising or a form rather than like text."""
    element = held.elements[number]
    points = weight(element) if weights else 0
    if element.tag == "div" and not held.blocks[number]:
        return False  # As good as a paragraph.
    if points < 0:
        return True
    if held.commas[number] >= 10 or held.videos[number]:
        return False
    return _is_no_text(held, number, points, in_figure=in_figure)


def _is_no_text(held: _Holdings, number: int, points: int, *, in_figure: bool) -> bool:
    """Judge an element by what it holds; `points` are what its name speaks for it."""
    tag = held.elements[number].tag
    text, images, paragraphs = held.text[number], held.images[number], held.paragraphs[number]
    link_share = held.links[number] / max(text, 1)
    if tag == "td":  # of a table that lays out the page
        return link_share > 0.5
    crowded = (
        (images > 1 and paragraphs / images < 0.5 and not in_figure)
        or held.inputs[number] > paragraphs // 3
        or (images == 0 and not held.text_holders[number])
    )
    if tag == "ul" or held.list_text[number] > text * 0.9:
        return (crowded or (points >= 25 and link_share > 0.5)) and not _is_gallery(held, number)
    only_links = text < 25 and link_share > 0 and images not in {1, 2} and not in_figure
    return (
        crowded
        or only_links
        or link_share > (0.5 if points >= 25 else 0.2)
        or held.items[number] - 100 > paragraphs
    )


def _is_gallery(held: _Holdings, number: int) -> bool:
    """Tell a list of pictures, one an item and nothing else: it is kept."""
    return (
        all(len(child) <= 1 for child in held.elements[number]) and held.items[number] == held.images[number]
    )


def _is_data_table(table: etree._Element) -> bool:
    """Tell a table of data from one that lays out a page."""
    if table.get("role") == "presentation" or table.get("datatable") == "0":
        return False
    if table.get("summary") or next(table.iter("col", "colgroup", "tfoot", "thead", "th"), None) is not None:
        return True
    caption = table.find("caption")
    if caption is not None and text_length(caption):
        return True
    if next(table.iterdescendants("table"), None) is not None:
        return False
    rows, columns = _size(table)
    return rows > 1 and columns > 1 and (rows >= 10 or columns > 4 or rows * columns > 10)


def _size(table: etree._Element) -> tuple[int, int]:
    rows = list(table.iter("tr"))
    return len(rows), max((sum(cell.tag in {"td", "th"} for cell in row) for row in rows), default=0)


def _tidy(element: etree._Element) -> None:
    """Make an element that stays easier to read."""
    if element.tag == "h1":
        element.tag = "h2"
    elif element.tag == "br":
        after = element.getnext()
        if after is not None and after.tag == "p" and is_blank(element.tail):
            drop(element)
    elif element.tag == "table" and _size(element) == (1, 1):
        for part in element.iter("table", "tbody", "tr", "td", "th"):
            part.tag = "div"
