"""Markdown: as CommonMark says, with tables; what it holds of HTML is sanitised like a page's."""

import datetime as dt
import re

from markdown_it import MarkdownIt

from atlas.reading.tree import line, printable
from atlas.reading.whole import body_from, take_title, whole_page
from atlas.stages.page import Page

#: Characters; where a note has no heading, its first line is its title.
_LONGEST_TITLE = 80
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)---[ \t]*(?:\n|$)", re.DOTALL)


def read_markdown(text: str, url: str) -> Page:
    """Read a text in Markdown. Raises PageError(empty_page or too_complex)."""
    text = printable(text.replace("\r\n", "\n").replace("\r", "\n"))
    said, text = _front_matter(text)
    body = body_from(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))
    title = take_title(body) or said.get("title", "")
    if len(body) == 0 and not (body.text or "").strip() and title:  # a heading is all there is
        body = body_from("")
        body.text = title
    page = whole_page(
        body,
        url,
        title=title,
        byline=said.get("author") or None,
        language=said.get("lang") or said.get("language") or None,
        published_at=_date(said.get("date", "")),
    )
    if page.title:
        return page
    first = page.text.partition("\n")[0]
    cut = first.rfind(" ", 20, _LONGEST_TITLE) if len(first) > _LONGEST_TITLE else len(first)
    short = first[: cut if cut > 0 else _LONGEST_TITLE]
    return page.named(short if short == first else f"{short} …")


def _front_matter(text: str) -> tuple[dict[str, str], str]:
    """Split off what a text says about itself: `key: value` lines between two lines of `---`."""
    found = _FRONT_MATTER.match(text)
    if not found:
        return {}, text
    said = {}
    for row in found[1].splitlines():
        key, colon, value = row.partition(":")
        if colon and not key.startswith((" ", "\t", "-", "#")):
            said[key.strip().lower()] = line(value).strip("\"'")
    return said, text[found.end() :]


def _date(text: str) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or dt.UTC).astimezone(dt.UTC)
