"""Measuring a tree: what its elements hold, and what their names say about them."""

import re

from lxml import etree

from atlas.reading.tree import link_weight

_POSITIVE = re.compile(r"article|body|content|entry|main|page|pagination|post|text|blog|story", re.IGNORECASE)
_NEGATIVE = re.compile(
    r"-ad-|hidden|(?:^| )hid(?: |$)|banner|combx|comment|com-|contact|footer|gdpr|masthead|media|meta|"
    r"outbrain|promo|related|scroll|share|shoutbox|sidebar|skyscraper|sponsor|shopping|tags|widget",
    re.IGNORECASE,
)
_WIDE_COMMAS = re.compile("[\u060c\ufe50\ufe10\ufe11\u2e41\u2e34\u2e32\uff0c\u3001]")


class Measures:
    """The elements of a tree, numbered in document order, with their parents and their own text."""

    def __init__(self, root: etree._Element) -> None:
        self.elements: list[etree._Element] = []
        #: Number of each element's parent; -1 for the root.
        self.parents: list[int] = []
        #: Characters of text.
        self.text: list[int] = []
        self.commas: list[int] = []
        pending = [(root, -1)]
        while pending:
            element, parent = pending.pop()
            number = len(self.elements)
            self.elements.append(element)
            self.parents.append(parent)
            self.text.append(0)
            self.commas.append(0)
            self._add(number, element.text)
            if parent >= 0:
                self._add(parent, element.tail)
            pending.extend((child, number) for child in reversed(element))

    def _add(self, number: int, text: str | None) -> None:
        if text and not text.isspace():
            self.text[number] += len(" ".join(text.split())) + 1
            self.commas[number] += text.count(",") + (
                0 if text.isascii() else len(_WIDE_COMMAS.findall(text))
            )


class Totals(Measures):
    """Measures of which each includes what stands deeper."""

    def __init__(self, root: etree._Element) -> None:
        super().__init__(root)
        #: Characters of text in links.
        self.links = [0.0] * len(self.elements)
        for number in range(len(self.elements) - 1, 0, -1):
            element, parent, text = self.elements[number], self.parents[number], self.text[number]
            self.text[parent] += text
            self.commas[parent] += self.commas[number]
            self.links[parent] += text * link_weight(element) if element.tag == "a" else self.links[number]

    def link_share(self, number: int) -> float:
        """Share of an element's text that stands in links, 0 to 1."""
        return self.links[number] / max(self.text[number], 1)


def weight(element: etree._Element) -> int:
    """Points for what an element's class and id call it: 25 for or against, each."""
    points = 0
    for name in (element.get("class"), element.get("id")):
        if name:
            points += 25 * bool(_POSITIVE.search(name)) - 25 * bool(_NEGATIVE.search(name))
    return points
