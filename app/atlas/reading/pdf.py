"""The text of PDF files: lines put together to paragraphs, without the heads and feet of pages."""

import datetime as dt
import html
import io
import logging
import re
from collections import Counter
from collections.abc import Iterator
from statistics import median

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError, PyPdfError

from atlas.reading.tree import line, printable
from atlas.reading.whole import body_from, whole_page
from atlas.stages.extract import count_words
from atlas.stages.page import Page, PageError

#: What programs put there when nobody gave the document a title.
_NO_TITLE = re.compile(
    r"(?:untitled|document\d*|microsoft (?:word|powerpoint)\b.*|(?:file|https?):.*|\W*"
    r"|.*\.(?:docx?|indd|tex|dvi|rtf|odt|pptx?|qxd|pages))",
    re.IGNORECASE | re.DOTALL,
)
#: Pages from which on lines that return on most of them are heads and feet.
_MANY_PAGES = 3
_SENTENCE_END = (".", "!", "?", ":", "…", "”", '"', "»", "。", "\uff01", "\uff1f")
_NUMBER = re.compile(r"\d+")

logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it tells of every fault it mends


def read_pdf(raw: bytes, url: str) -> Page:
    """Read a PDF file. Raises PageError(damaged, protected, only_pictures or too_complex)."""
    try:
        reader = PdfReader(io.BytesIO(raw), strict=False)
        if reader.is_encrypted:
            reader.decrypt("")  # many are open to all but for changing them
        pages = [_lines(page.extract_text()) for page in reader.pages]
        said = reader.metadata
        title, author = line(said.title if said else ""), line(said.author if said else "")
        language = str(reader.root_object.get("/Lang", ""))
        made = _date(reader)
    except (FileNotDecryptedError, DependencyError):
        raise _protected() from None
    except (MemoryError, RecursionError, PageError):
        raise
    except Exception as error:  # noqa: BLE001 - broken files make it raise whatever there is
        known = isinstance(error, PyPdfError)
        message = "The PDF file is damaged: it cannot be read."
        raise PageError("damaged", message) from (None if known else error)
    pages = _without_heads(pages)
    paragraphs = list(_paragraphs(pages))
    words = sum(map(count_words, paragraphs))
    if words < max(len(pages), 1):
        raise PageError("only_pictures", "There is no text in the PDF file: it is pictures of pages.")
    return whole_page(
        body_from("".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs)),
        url,
        title="" if _NO_TITLE.fullmatch(title) else title,
        byline=author or None,
        language=language if re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", language) else None,
        published_at=made,
    )


def _protected() -> PageError:
    return PageError("protected", "The PDF file is protected by a password: it cannot be read.")


def _date(reader: PdfReader) -> dt.datetime | None:
    try:
        made = reader.metadata.creation_date if reader.metadata else None
        return None if made is None else made.replace(tzinfo=made.tzinfo or dt.UTC).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def _lines(text: str) -> list[str]:
    return [printable(row).rstrip() for row in text.splitlines()]


def _without_heads(pages: list[list[str]]) -> list[list[str]]:
    """Take away first and last lines that are numbers, or but for numbers those of most other pages."""
    filled = [[row for row in rows if row.strip()] for rows in pages]
    ends = Counter(
        _NUMBER.sub("#", row.strip()) for rows in filled for row in {*rows[:1], *rows[-1:]} if len(rows) > 1
    )
    often = {row for row, count in ends.items() if count > max(len(pages) // 2, _MANY_PAGES - 1)} | {"#"}
    if len(pages) < _MANY_PAGES:
        often = set()
    for rows in pages:
        for end in (0, -1):
            while rows and not rows[end].strip():
                rows.pop(end)
            if len(rows) > 1 and _NUMBER.sub("#", rows[end].strip()) in often:
                rows.pop(end)
    return pages


def _paragraphs(pages: list[list[str]]) -> Iterator[str]:
    """Put lines together; a paragraph may go on on the next page."""
    rows = [row for page in pages for row in page]
    lengths = [len(row) for row in rows if row.strip()]
    width = median(lengths) if lengths else 0
    held = ""
    for row in rows:
        text = line(row)
        if not text:
            if held.endswith(_SENTENCE_END):
                yield held
                held = ""
            continue
        held = _joined(held, text)
        if len(row) < width * 0.8 and text.endswith(_SENTENCE_END):
            yield held
            held = ""
    if held:
        yield held


def _joined(before: str, text: str) -> str:
    if not before:
        return text
    if before.endswith(("-", "\u00ad")) and before[-2:-1].isalpha() and text[:1].islower():
        return before[:-1] + text
    return f"{before} {text}"
