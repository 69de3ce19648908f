"""A text that is kept whole: nothing around it has to be told from it, as in a note, a mail or a file."""

from datetime import datetime

from lxml import etree

from atlas.reading.tree import body_of, drop, line_of, parse_html, plain_text
from atlas.stages.extract import count_words, shortened
from atlas.stages.page import Page, PageError
from atlas.stages.sanitise import to_html

#: Where what has no address on the web is said to be, so that its anchors work and nothing else leads there.
NOWHERE = "https://atlas.invalid/"

_UNREAD = ("script", "style", "template", "noscript", "head", "title")


def body_from(markup: str) -> etree._Element:
    """Parse a fragment or a page; return what it shows as a `div`. Raises PageError(too_complex)."""
    body = body_of(parse_html(markup if "<body" in markup.lower() else f"<html><body>{markup}"))
    body.tag = "div"
    etree.strip_elements(body, *_UNREAD, with_tail=False)
    return body


def whole_page(
    body: etree._Element,
    url: str,
    *,
    title: str = "",
    byline: str | None = None,
    site: str | None = None,
    language: str | None = None,
    published_at: datetime | None = None,
) -> Page:
    """Return all that `body` shows as a page, and use it up. Raises PageError(empty_page)."""
    text = plain_text(body)
    if not text:
        raise PageError("empty_page", "There is no text in it.")
    first = next((found for part in body.iter("p") if len(found := line_of(part)) >= 40), None)
    return Page(
        title=title,
        byline=byline,
        site=site,
        language=language,
        published_at=published_at,
        excerpt=shortened(first or text),
        html=to_html(body, url if url.startswith(("http:", "https:")) else NOWHERE),
        text=text,
        word_count=count_words(text),
        image=None,
    )


def take_title(body: etree._Element) -> str:
    """Return the heading that a text begins with, and take it out; "" when it begins otherwise."""
    if body.text and not body.text.isspace():
        return ""
    first = next(iter(body), None)
    if first is None or first.tag not in {"h1", "h2"} or len(line_of(first)) > 300:
        return ""
    title = line_of(first)
    drop(first)
    return title
