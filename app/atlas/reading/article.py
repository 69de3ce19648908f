"""Finding the article in a page.

The method and its word lists are those of Mozilla's Readability (Arc90 Inc 2010, Mozilla; Apache-2.0), newly
written for lxml: paragraphs give points to what holds them, the element with most points and few links is the
article, and what in it looks like navigation, advertising or forms goes. A tree is measured in one go: a page
costs about as much as parsing it a few times.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from atlas.reading.clean import clean
from atlas.reading.images import uncover_images
from atlas.reading.measure import Totals, weight
from atlas.reading.paragraphs import make_paragraphs
from atlas.reading.prune import prune
from atlas.reading.tree import line_of, words

_SCORED = words("section h2 h3 h4 h5 h6 p td pre")
#: What makes a div more than a paragraph.
_BLOCKS = words("blockquote dl div img ol p pre table ul")
#: Parents of the article's parts keep their names; other elements become divs.
_PARTS = words("div article section p ol ul")
_TAG_POINTS = (
    {"div": 5, "pre": 3, "td": 3, "blockquote": 3}
    | dict.fromkeys(words("address ol ul dl dd dt li form"), -3)
    | dict.fromkeys(words("h1 h2 h3 h4 h5 h6 th"), -5)
)
#: What a paragraph's points are divided by for its parent, grandparent, and so on.
_DIVISORS = (1, 2, 6, 9, 12)
#: Characters from which a paragraph counts as prose.
_PROSE = 80
#: Share of a page's prose that an article has to hold.
_LEAST_PROSE = 0.7


@dataclass(frozen=True, slots=True)
class Strictness:
    """What an attempt at an article leaves out or believes; each further attempt is less strict."""

    #: Drop elements whose names speak against them, before anything else.
    unlikely: bool = True
    #: Believe the names of elements.
    weights: bool = True
    #: Drop from the article what looks foreign to it.
    conditionally: bool = True


ATTEMPTS = (
    Strictness(),
    Strictness(unlikely=False),
    Strictness(unlikely=False, weights=False),
    Strictness(unlikely=False, weights=False, conditionally=False),
)


def find_article(
    body: etree._Element, strictness: Strictness, *, title: str, byline: str | None
) -> etree._Element:
    """Take the article out of a page's body, which is used up.

    Returns a `div` that is no part of any tree. `title` and `byline` are known, so it need not repeat them.
    """
    uncover_images(body)
    prune(body, unlikely=strictness.unlikely, title=title, byline=byline)
    make_paragraphs(body)
    article = _gather(body, weights=strictness.weights)
    clean(article, weights=strictness.weights, conditionally=strictness.conditionally)
    return article


def _gather(body: etree._Element, *, weights: bool) -> etree._Element:
    """Move the element that holds most of the text, and the siblings that go on with it, into a new div."""
    totals = Totals(body)
    points = _Points(totals, weights=weights)
    best = _with_its_prose(totals, points.best())
    article = etree.Element("div")
    if best == 0:
        article.text = body.text
        article.extend(list(body))
        return article
    for number in _with_siblings(totals, points, best):
        element = totals.elements[number]
        if element.tag not in _PARTS:
            element.tag = "div"
        element.tail = None
        article.append(element)
    return article


class _Points:
    """How much each element of a body looks like the article."""

    def __init__(self, totals: Totals, *, weights: bool) -> None:
        self._totals = totals
        self._weights = weights
        self._points: dict[int, float] = {}
        has_blocks = _with_blocks(totals)
        for number in range(1, len(totals.elements)):
            tag = totals.elements[number].tag
            if totals.text[number] >= 25 and (tag in _SCORED or (tag == "div" and not has_blocks[number])):
                self._give(number)
        for number in self._points:
            self._points[number] *= 1 - totals.link_share(number)

    def _give(self, paragraph: int) -> None:
        points = 2 + self._totals.commas[paragraph] + min(self._totals.text[paragraph] // 100, 3)
        for ancestor, divisor in zip(_ancestors(self._totals.parents, paragraph), _DIVISORS, strict=False):
            if ancestor not in self._points:
                self._points[ancestor] = self._beginning(ancestor)
            self._points[ancestor] += points / divisor

    def _beginning(self, number: int) -> float:
        element = self._totals.elements[number]
        return _TAG_POINTS.get(str(element.tag), 0) + (weight(element) if self._weights else 0)

    def of(self, number: int) -> float | None:
        """Points of an element; None when none of its paragraphs gave any."""
        return self._points.get(number)

    def best(self) -> int:
        """Return the number of the element that is the article; 0 stands for the whole body."""
        ranking = sorted(self._points, key=lambda number: -self._points[number])[:5]
        if not ranking or ranking[0] == 0 or self._points[ranking[0]] <= 0:
            return 0
        best = self._common_ancestor(ranking)
        best = self._better_ancestor(best)
        for ancestor in _ancestors(self._totals.parents, best):
            if not ancestor or len(self._totals.elements[ancestor]) != 1:
                break
            best = ancestor
        return best

    def _common_ancestor(self, ranking: list[int]) -> int:
        """Return the best, or what holds it and three rivals that are nearly as good."""
        best = ranking[0]
        parents = self._totals.parents
        rivals = [
            set(_ancestors(parents, number))
            for number in ranking[1:]
            if self._points[number] >= self._points[best] * 0.75
        ]
        if len(rivals) >= 3:
            for ancestor in _ancestors(parents, best):
                if ancestor and sum(ancestor in above for above in rivals) >= 3:
                    return ancestor
        return best

    def _better_ancestor(self, best: int) -> int:
        """Return an element around the best that has even more points: an article in several parts."""
        last = self._points.get(best)
        if last is None:
            last = self._beginning(best)
        threshold = last / 3
        for ancestor in _ancestors(self._totals.parents, best):
            points = self._points.get(ancestor)
            if not ancestor or (points is not None and points < threshold):
                break
            if points is not None and points > last:
                return ancestor
            last = last if points is None else points
        return best


def _with_blocks(totals: Totals) -> list[bool]:
    found = [False] * len(totals.elements)
    for number in range(len(found) - 1, 0, -1):
        if found[number] or totals.elements[number].tag in _BLOCKS:
            found[totals.parents[number]] = True
    return found


def _ancestors(parents: list[int], number: int) -> Iterator[int]:
    while (number := parents[number]) >= 0:
        yield number


def _with_its_prose(totals: Totals, best: int) -> int:
    """Return the article or main element around the best, when the best holds but a part of its prose.

    Page builders put each paragraph into boxes of its own, so that no box has many points.
    """
    around = next(
        (
            number
            for number in _ancestors(totals.parents, best)
            if totals.elements[number].tag in {"article", "main"}
            or totals.elements[number].get("itemprop") == "articleBody"
            or totals.elements[number].get("role") == "main"
        ),
        0,
    )
    if not best or not around:
        return best
    prose = [0] * len(totals.elements)
    for number in range(len(prose) - 1, 0, -1):
        if (
            totals.elements[number].tag == "p"
            and totals.text[number] > _PROSE
            and totals.link_share(number) < 0.25
        ):
            prose[number] = totals.text[number]
        prose[totals.parents[number]] += prose[number]
    with_siblings = sum(
        prose[number] for number, parent in enumerate(totals.parents) if parent == totals.parents[best]
    )
    return around if with_siblings < prose[around] * _LEAST_PROSE else best


def _with_siblings(totals: Totals, points: _Points, best: int) -> Iterator[int]:
    """Yield the best element and the siblings that go on with it, in their order."""
    best_points = points.of(best) or 0.0
    best_class = totals.elements[best].get("class")
    threshold = max(10.0, best_points * 0.2)
    for number, parent in enumerate(totals.parents):
        if parent != totals.parents[best]:
            continue
        element = totals.elements[number]
        bonus = best_points * 0.2 if best_class and element.get("class") == best_class else 0.0
        own = points.of(number)
        if (
            number == best
            or (own is not None and own + bonus >= threshold)
            or (element.tag == "p" and _is_prose(element, totals.text[number], totals.link_share(number)))
        ):
            yield number


def _is_prose(paragraph: etree._Element, length: int, link_share: float) -> bool:
    if length > _PROSE:
        return link_share < 0.25
    return length > 0 and link_share == 0 and re.search(r"\.(?: |$)", line_of(paragraph)) is not None
