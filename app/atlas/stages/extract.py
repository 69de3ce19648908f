"""299 → 390: take the article out of a page, with what the page says about itself."""

import re
from dataclasses import dataclass
from itertools import pairwise

from lxml import etree

from atlas.reading.article import ATTEMPTS, find_article
from atlas.reading.metadata import Metadata, read_metadata
from atlas.reading.tree import body_of, line, line_of, link_share, parse_html, plain_text, text_length

#: An attempt that finds less text than this (in characters) is tried again, less strictly.
ENOUGH = 500
#: Characters; what a page gives as its excerpt is cut to it.
LONGEST_EXCERPT = 300
#: Chinese and Japanese write no spaces: each of these letters counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+(?:['\u2019-][^\W_]+)*")
#: Of ASCII: letters and digits as "a", what joins words as "-", all else as a blank.
_SIGNS = bytes(
    ord("a") if chr(code).isalnum() else ord("-") if chr(code) in "'-" else ord(" ") for code in range(128)
).ljust(256)


@dataclass(frozen=True, slots=True)
class Extract:
    """What was found on a page, before anything is decided about it."""

    metadata: Metadata
    #: The article, a tree of its own.
    article: etree._Element
    text: str
    words: int
    #: Share of the text that stands in links, 0 to 1.
    link_share: float
    excerpt: str | None


def extract(markup: str, url: str) -> Extract:
    """Find the article in a page that came from `url`. Raises PageError(too_complex)."""
    page = parse_html(markup)
    metadata = read_metadata(page, url)
    article = _find(markup, page, metadata)
    text = plain_text(article)
    first = next((found for paragraph in article.iter("p") if len(found := line_of(paragraph)) >= 40), None)
    return Extract(
        metadata=metadata,
        article=article,
        text=text,
        words=count_words(text),
        link_share=link_share(article),
        excerpt=shortened(metadata.excerpt or first),
    )


def _find(markup: str, page: etree._Element, metadata: Metadata) -> etree._Element:
    """Find the article: the first attempt that finds enough, or the one that finds most."""
    best, most = etree.Element("div"), -1
    for strictness in ATTEMPTS:
        if most >= 0:
            page = parse_html(markup)
        body = body_of(page)
        if most >= 0 and not _holds_more(body, most):
            break
        article = find_article(body, strictness, title=metadata.title, byline=metadata.byline)
        length = text_length(article)
        if length > most:
            best, most = article, length
        if length >= ENOUGH:
            break
    return best


def _holds_more(body: etree._Element, found: int) -> bool:
    """Tell whether another attempt can find more than the last did."""
    etree.strip_elements(body, "script", "style", "template", with_tail=False)
    return text_length(body) > found * 1.1 + 40


def count_words(text: str) -> int:
    """Words of a text, as a measure of how long it takes to read."""
    if not text.isascii():
        return len(_WORD.findall(text))
    # The same, counted quickly: all words, less those that a mark joins to the one before.
    parts = text.encode().translate(_SIGNS)
    joined = parts.split(b"-")
    joints = sum(before[-1:] == after[:1] == b"a" for before, after in pairwise(joined))
    return len(parts.replace(b"-", b" ").split()) - joints


def shortened(text: str | None) -> str | None:
    """Return the beginning of a text on one line, cut between words if there are any; None for none."""
    text = line(text)
    if len(text) <= LONGEST_EXCERPT:
        return text or None
    cut = text.rfind(" ", LONGEST_EXCERPT // 2, LONGEST_EXCERPT)
    return text[: cut if cut > 0 else LONGEST_EXCERPT].rstrip(" ,;:.-\u2013\u2014") + " …"
