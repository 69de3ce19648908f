"""From the bytes an address gave to a page for the reader: decode, extract, validate, sanitise.

Pure: no network, no clock, no database. Runs in a child process (see `pool`): what it reads may be hostile.
"""

import html
import re
from urllib.parse import urlsplit

from atlas.reading.decode import decode
from atlas.reading.tree import line, parse_html, printable
from atlas.stages.extract import count_words, extract, shortened
from atlas.stages.page import Page, PageError
from atlas.stages.sanitise import sanitise, to_html
from atlas.stages.validate import check_extract, check_plain, kind_of

_LONGEST_TITLE = 120
#: Characters; War and Peace has three million.
_LONGEST_TEXT = 5_000_000
_LONGEST_HTML = 15_000_000


def read_page(raw: bytes, content_type: str | None, url: str) -> Page:
    """Read what `url` answered. `content_type` is the header as it came, None when there was none.

    The page's title may be empty. Raises PageError when there is nothing worth keeping.
    """
    kind = kind_of(raw, content_type)
    text = decode(raw, content_type)
    try:
        page = _read_plain(text, url) if kind == "plain" else _read_html(text, url)
    except RecursionError:
        raise PageError("too_complex", "The page is too deeply nested to read.") from None
    if len(page.html) > _LONGEST_HTML:
        raise _too_long()
    return page


def _read_html(markup: str, url: str) -> Page:
    found = extract(markup, url)
    metadata = found.metadata
    if len(found.text) > _LONGEST_TEXT:
        raise _too_long()
    check_extract(found, page=lambda: parse_html(markup))
    if metadata.direction == "rtl":
        found.article.set("dir", "rtl")
    return Page(
        title=metadata.title,
        byline=metadata.byline,
        site=metadata.site,
        language=metadata.language,
        published_at=metadata.published_at,
        excerpt=found.excerpt,
        html=to_html(found.article, metadata.base_url),
        text=found.text,
        word_count=found.words,
        image=metadata.image,
    )


def _read_plain(text: str, url: str) -> Page:
    text = printable(text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if len(text) > _LONGEST_TEXT:
        raise _too_long()
    words = count_words(text)
    check_plain(words)
    paragraphs = [part for part in re.split(r"\n[ \t]*\n", text) if part.strip()]
    first = line(paragraphs[0])
    has_title = len(paragraphs) > 1 and len(first) <= _LONGEST_TITLE
    return Page(
        title=first.lstrip("# ") if has_title else urlsplit(url).path.rpartition("/")[2],
        byline=None,
        site=None,
        language=None,
        published_at=None,
        excerpt=shortened(next((part for part in paragraphs[has_title:] if len(part) >= 40), first)),
        html=sanitise("".join(_paragraph(part) for part in paragraphs[has_title:]), url),
        text=text,
        word_count=words,
        image=None,
    )


def _too_long() -> PageError:
    return PageError("too_complex", "The page is too long to keep: it is as long as several books.")


def _paragraph(text: str) -> str:
    """Prose may be wrapped anew; what was laid out with spaces may not."""
    laid_out = any(row.startswith(("  ", "\t")) or "   " in row.strip() for row in text.split("\n"))
    tag = "pre" if laid_out else "p"
    return f"<{tag}>{html.escape(text)}</{tag}>"
