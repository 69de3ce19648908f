"""Ways out: everything, bookmarks, feeds, a book, highlights, and any search as a feed."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from pydantic import BeforeValidator
from starlette.responses import Response, StreamingResponse

from atlas.api.errors import Problem, documented
from atlas.api.state import state
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read
from atlas.export import epub as books
from atlas.export import feed as feeds
from atlas.export.everything import everything
from atlas.export.highlights import markdown
from atlas.export.netscape import netscape
from atlas.export.opml import opml
from atlas.export.selection import Selection, rows
from atlas.library import Filter
from atlas.sources import subscriptions

router = APIRouter(prefix="/api/export", tags=["exports"])

#: Most items of a feed.
MOST_IN_FEED = 500

_given = BeforeValidator(lambda value: None if value == "" else value)
_Words = Annotated[str, Query(description="Only what this search finds.", max_length=400)]

_Ids = Annotated[
    str,
    Query(description="Or these items, in this order: 3,1,2.", pattern=r"^[0-9, ]*$", max_length=20_000),
]


def _answers(kind: str) -> dict[int | str, dict[str, Any]]:
    return {**documented(401, 422, 503), 200: {"description": "The file.", "content": {kind: {}}}}


@router.get("/json", response_class=Response, responses=_answers("application/zip"))
def everything_there_is(
    request: Request,
    originals: Annotated[bool, Query(description="With the bytes as they were fetched.")] = True,  # noqa: FBT002
) -> Response:
    """Fetch everything: JSON lines and files in a ZIP file, which an Atlas reads back (see the import)."""
    parts = state(request)
    now = parts.clock()
    body = everything(parts.engine, parts.settings.data_dir, now=now, with_originals=originals)
    return _file(body, "application/zip", f"atlas-{now:%Y-%m-%d}.zip")


@router.get("/netscape", response_class=Response, responses=_answers("text/html"))
def bookmarks(request: Request, q: _Words = "") -> Response:
    """Fetch items as bookmarks that every browser reads."""
    parts = state(request)
    found = rows(parts.engine, Selection(wanted=Filter(q=q)))
    return _file(netscape(found), "text/html; charset=utf-8", f"atlas-{parts.clock():%Y-%m-%d}.html")


@router.get("/opml", response_class=Response, responses=_answers("text/x-opml"))
def feeds_followed(request: Request) -> Response:
    """Fetch the feeds that are followed, in their folders, as every feed reader reads them."""
    parts = state(request)
    with read(parts.engine) as conn:
        found = subscriptions.list_feeds(conn)
    now = parts.clock()
    return _file(iter([opml(found, now=now)]), "text/x-opml; charset=utf-8", f"atlas-{now:%Y-%m-%d}.opml")


@router.get("/epub", response_class=Response, responses=_answers(books.TYPE))
def book(
    request: Request,
    q: _Words = "",
    ids: Annotated[
        str,
        Query(description="Or these items, in this order: 3,1,2.", pattern=r"^[0-9, ]*$", max_length=20_000),
    ] = "",
    title: Annotated[str, Query(description="What to call the book.", max_length=200)] = "",
    limit: Annotated[int, Query(description="How many items at most.", ge=1, le=books.MOST)] = 100,
) -> Response:
    """Fetch items as a book for an e-reader, the newest first."""
    parts = state(request)
    now = parts.clock()
    try:
        named = tuple(int(one) for one in ids.split(",") if one.strip())
    except ValueError:
        raise Problem(422, "invalid_request", "“ids” must be numbers with commas between them.") from None
    named = tuple(one for one in named if 0 < one <= MAX_ID)[: books.MOST]
    selection = Selection(wanted=Filter(q=q, state="ready"), ids=named, limit=limit)
    title = " ".join(title.split()) or " ".join(["Atlas", *q.split()])
    body = books.epub(rows(parts.engine, selection, content=True), title=title, now=now)
    return _file(body, books.TYPE, f"atlas-{now:%Y-%m-%d}.epub")


@router.get("/highlights", response_class=Response, responses=_answers("text/markdown"))
def highlights(request: Request) -> Response:
    """Fetch all highlights with their notes, as Markdown."""
    parts = state(request)
    name = f"atlas-highlights-{parts.clock():%Y-%m-%d}.md"
    return _file(markdown(parts.engine), "text/markdown; charset=utf-8", name)


@router.get("/feed", response_class=Response, responses=_answers("application/atom+xml"))
def search_as_feed(
    request: Request,
    q: _Words = "",
    form: Annotated[Literal["atom", "rss"], Query(alias="format", description="Atom, or RSS 2.0.")] = "atom",
    limit: Annotated[int, Query(description="How many items at most.", ge=1, le=MOST_IN_FEED)] = 50,
) -> Response:
    """Follow what a search finds in a feed reader: the newest, with their whole text."""
    parts = state(request)
    found = rows(parts.engine, Selection(wanted=Filter(q=q, state="ready"), limit=limit), content=True)
    first = next(found, None)
    home = parts.settings.public_url
    # Without the token that a feed reader may have sent with it.
    address = f"{home}{request.url.path}?" + urlencode({"q": q, "format": form, "limit": limit})
    updated = first["updated_at"] if first else datetime(2000, 1, 1, tzinfo=UTC)
    channel = feeds.Channel(" ".join(["Atlas", *q.split()]), address, home, updated)
    all_found = itertools.chain([first] if first else [], found)
    if form == "rss":
        return StreamingResponse(feeds.rss(channel, all_found), media_type=feeds.RSS_TYPE)
    return StreamingResponse(feeds.atom(channel, all_found), media_type=feeds.ATOM_TYPE)


def _file(body: Iterator[bytes], kind: str, name: str) -> Response:
    return StreamingResponse(
        body, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
