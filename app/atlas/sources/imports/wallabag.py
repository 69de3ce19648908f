"""wallabag's JSON: a list of entries with their articles."""

from collections.abc import Iterator, Mapping
from typing import IO, Any

from atlas.sources.imports.record import (
    HTML,
    Entry,
    Highlight,
    Record,
    Refused,
    document,
    is_article,
    labels,
    line,
    moment,
    prose,
)
from atlas.sources.imports.stream import elements


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Return what an export of wallabag holds."""
    for number, one in elements(file, "item", "_embedded.items.item"):
        yield one if isinstance(one, Refused) else _record(one, f"entry {number}")


def _record(one: Mapping[str, Any], where: str) -> Record:
    title, markup = line(one.get("title")), one.get("content")
    authors = one.get("published_by")
    byline = line(", ".join(labels(authors))) if isinstance(authors, list) else None
    language, published = line(one.get("language"), 35), moment(one.get("published_at"))
    content = None
    if isinstance(markup, str) and is_article(markup):
        content = document(markup, title=title, author=byline, language=language, published=published)
    fields = {"byline": byline, "language": language, "published_at": published}
    return Record(
        str(one.get("url") or one.get("given_url") or ""),
        title,
        added_at=moment(one.get("created_at")),
        tags=labels(one.get("tags")),
        read=one.get("is_archived") in (1, True, "1"),
        starred=one.get("is_starred") in (1, True, "1"),
        highlights=tuple(_highlights(one.get("annotations"))),
        content=content,
        content_type=HTML if content else None,
        fields={name: value for name, value in fields.items() if value},
        where=where,
    )


def _highlights(found: object) -> Iterator[Highlight]:
    for mark in found if isinstance(found, list) else []:
        if isinstance(mark, dict) and (quote := prose(mark.get("quote"))):
            yield Highlight(quote, prose(mark.get("text")), moment(mark.get("created_at")))
