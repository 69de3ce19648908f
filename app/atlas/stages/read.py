"""From the bytes an address gave to a page for the reader: decode, extract, validate, sanitise.

Pure: no network, no clock, no database. Runs in a child process (see `pool`): what it reads may be hostile.
"""

import html
import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from atlas.reading.decode import decode
from atlas.reading.keywords import terms_of
from atlas.reading.language import language_of
from atlas.reading.tree import line, parse_html, printable
from atlas.reading.whole import body_from, whole_page
from atlas.sources.bodies import ENTRY
from atlas.stages.extract import count_words, extract, shortened
from atlas.stages.page import Page, PageError
from atlas.stages.sanitise import sanitise, to_html
from atlas.stages.validate import SHORTEST, Kind, check_extract, check_plain, kind_of

_LONGEST_TITLE = 120
#: Characters; War and Peace has three million.
_LONGEST_TEXT = 5_000_000
_LONGEST_HTML = 15_000_000


def read_page(raw: bytes, content_type: str | None, url: str) -> Page:
    """Read what `url` answered, or what was handed in.

    `content_type` is the header as it came, None when there was none; with the parameter "handed=" a person
    chose what is read (see `sources.handed`), so it is kept whether it looks like an article or not.
    The page's title may be empty. Raises PageError when there is nothing worth keeping.
    """
    handed = (content_type or "").rpartition("; handed=")[2] if "; handed=" in (content_type or "") else ""
    try:
        if handed.startswith(ENTRY):
            page = _read_entry(raw, handed.removeprefix(ENTRY))
        else:
            page = _read(kind_of(raw, content_type), raw, content_type, url, handed)
    except RecursionError:
        raise PageError("too_complex", "The page is too deeply nested to read.") from None
    if len(page.html) > _LONGEST_HTML:
        raise _too_long()
    language = language_of(page.text, page.language)
    return replace(page, language=language, terms=terms_of(page.title, page.text, language))


def _read(kind: Kind, raw: bytes, content_type: str | None, url: str, handed: str) -> Page:
    if kind in _DOCUMENTS:
        return _DOCUMENTS[kind](raw, url, handed)
    text = decode(raw, content_type)
    if kind == "markdown":
        return _read_markdown(text, url, handed)
    if kind == "plain":
        return _read_plain(text, url, handed)
    return whole_page(body_from(text), url) if handed == "part" else _read_html(text, url, handed)


def _read_entry(raw: bytes, digest: str) -> Page:
    from atlas.sources.reading import read_entry  # noqa: PLC0415 - of no use to pages

    page = read_entry(raw, digest)
    _check_length(page.text)
    return page


def _read_pdf(raw: bytes, url: str, handed: str) -> Page:
    from atlas.reading.pdf import read_pdf  # noqa: PLC0415 - of no use to most pages, and large

    page = read_pdf(raw, url)
    _check_length(page.text)
    return page if page.title or handed else page.named(_file_name(url))


def _read_mail(raw: bytes, url: str, _handed: str) -> Page:
    from atlas.reading.mail import read_mail  # noqa: PLC0415 - of no use to most pages

    page = read_mail(raw, url)
    _check_length(page.text)
    return page


def _read_markdown(text: str, url: str, handed: str) -> Page:
    from atlas.reading.markdown import read_markdown  # noqa: PLC0415 - of no use to most pages

    _check_length(text)
    page = read_markdown(text, url)
    if not handed:
        check_plain(page.word_count)
    return page


_DOCUMENTS: dict[Kind, Callable[[bytes, str, str], Page]] = {"pdf": _read_pdf, "mail": _read_mail}


def _read_html(markup: str, url: str, handed: str) -> Page:
    found = extract(markup, url)
    metadata = found.metadata
    _check_length(found.text)
    if handed and found.words < SHORTEST:
        return whole_page(body_from(markup), url, title=metadata.title)
    if not handed:
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


def _read_plain(text: str, url: str, handed: str) -> Page:
    text = printable(text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    _check_length(text)
    words = count_words(text)
    if not handed:
        check_plain(words)
    if not text:
        raise PageError("empty_page", "There is no text in it.")
    paragraphs = [part for part in re.split(r"\n[ \t]*\n", text) if part.strip()]
    first = line(paragraphs[0])
    has_title = len(paragraphs) > 1 and len(first) <= _LONGEST_TITLE
    return Page(
        title=first.lstrip("# ") if has_title else "" if handed else _file_name(url),
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


def _file_name(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])


def _check_length(text: str) -> None:
    if len(text) > _LONGEST_TEXT:
        raise _too_long()


def _too_long() -> PageError:
    return PageError("too_complex", "The page is too long to keep: it is as long as several books.")


def _paragraph(text: str) -> str:
    """Prose may be wrapped anew; what was laid out with spaces may not."""
    laid_out = any(row.startswith(("  ", "\t")) or "   " in row.strip() for row in text.split("\n"))
    tag = "pre" if laid_out else "p"
    return f"<{tag}>{html.escape(text)}</{tag}>"
