"""The library: what there is, and the ways to look at less of it. A filter is an address: it can be kept."""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from atlas import library, tags
from atlas.api.state import state
from atlas.database.engine import read
from atlas.library import BadCursor, Filter
from atlas.sources import subscriptions
from atlas.web.forms import Form
from atlas.web.page import back, found, keep, number, numbers, page
from atlas.web.words import KINDS, SOURCES, STATES

router = APIRouter(include_in_schema=False)

LIST_LIMIT = 30
#: Tags the filter form offers while one types.
TAGS_OFFERED = 200

#: What the filter form offers for each of its lists; "" is no filter.
CHOICES: Mapping[str, Mapping[str, str]] = {
    "kind": {"": "Anything"} | dict(KINDS),
    "source": {"": "Anywhere"} | dict(SOURCES),
    "read": {"": "Read or not", "no": "Unread", "yes": "Read"},
    "order": {"": "Newest first", "oldest": "Oldest first", "published": "By publication"},
}
_YES_OR_NO = {"yes": True, "no": False}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LONGEST = 200


@router.get("/")
def show(request: Request) -> Response:
    """Show a page of the library."""
    asked = _asked(request)
    with read(state(request).engine) as conn:
        feed = found(subscriptions.get(conn, int(asked["feed"]))) if "feed" in asked else None
        order = cast("library.Order", asked.get("order", "newest"))
        cursor = request.query_params.get("before") or None
        try:
            listed = library.listing(conn, filter_of(asked), order=order, limit=LIST_LIMIT, cursor=cursor)
        except BadCursor:
            cursor, listed = None, library.listing(conn, filter_of(asked), order=order, limit=LIST_LIMIT)
        tally = library.tally(conn)
        known_tags = [row["name"] for row in tags.counts(conn, limit=TAGS_OFFERED)]
    answer = page(
        request,
        "library.html",
        here="library",
        chosen=STATES[asked.get("state", "")],
        feed=feed,
        asked=asked,
        chips=_chips(asked),
        choices=CHOICES,
        known_tags=known_tags,
        further=cursor is not None,
        rows=listed.rows,
        older=urlencode({**asked, "before": listed.next}) if listed.next else "",
        tally=tally,
    )
    return answer if request.url.query else keep(request, answer, "Library")


@router.post("/read")
def mark_read(request: Request, form: Form) -> Response:
    """Note that several items were read: those whose numbers the form holds."""
    parts = state(request)
    with parts.engine.begin() as conn:
        library.set_read(conn, numbers(form.get("items", "")), now=parts.clock())
    return back(form, "/")


def filter_of(asked: Mapping[str, str]) -> Filter:
    """Return the filter that an address asks for, once it has been through `_asked`."""
    states = {"": None, "failed": "failed", "waiting": "waiting", "ready": "ready", "duplicate": "duplicate"}
    before = _day(asked["before_day"]) if "before_day" in asked else None
    return Filter(
        kind=asked.get("kind"),
        source=asked.get("source"),
        tags=(asked["tag"],) if "tag" in asked else (),
        state=states.get(asked.get("state", "")),
        feed_id=int(asked["feed"]) if "feed" in asked else None,
        folder=asked.get("folder"),
        site=asked.get("site"),
        read=_YES_OR_NO.get(asked.get("read", "")),
        starred=True if "starred" in asked else None,
        highlighted=True if "highlighted" in asked else None,
        after=_day(asked["after"]) if "after" in asked else None,
        before=_after(before) if before else None,
        import_id=int(asked["import"]) if "import" in asked else None,
    )


def _asked(request: Request) -> dict[str, str]:
    """Return what of an address is a filter there is; all else is as if nobody had asked."""
    given = {name: value.strip()[:_LONGEST] for name, value in request.query_params.items()}
    asked = {name: given[name] for name in ("state", "kind", "source", "read", "order") if given.get(name)}
    known: Mapping[str, Any] = {"state": STATES, **CHOICES}
    asked = {name: value for name, value in asked.items() if value in known[name]}
    asked |= {name: given[name] for name in ("tag", "folder", "site") if given.get(name)}
    asked |= {name: "yes" for name in ("starred", "highlighted") if given.get(name) == "yes"}
    asked |= {name: given[name] for name in ("after", "before_day") if _day(given.get(name, ""))}
    asked |= {name: str(value) for name in ("feed", "import") if (value := number(request, name)) is not None}
    return asked


def _day(text: str) -> dt.datetime | None:
    if not _DAY.fullmatch(text):
        return None
    try:
        return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
    except ValueError:
        return None


def _after(day: dt.datetime) -> dt.datetime | None:
    """Return the day after one; None when that is beyond the calendar, where nothing is left out."""
    return day + dt.timedelta(days=1) if day.date() < dt.date.max else None


def _chips(asked: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the filters that are on, as words, each with the address without it."""
    words: dict[str, Any] = {
        "kind": lambda value: KINDS[value],
        "source": lambda value: f"from {SOURCES[value].lower()}",
        "read": lambda value: {"yes": "read", "no": "unread"}[value],
        "tag": lambda value: f"#{value}",
        "folder": lambda value: f"in {value}",
        "site": lambda value: value,
        "starred": lambda _: "starred",
        "highlighted": lambda _: "with highlights",
        "after": lambda value: f"from {value}",
        "before_day": lambda value: f"to {value}",
        "import": lambda value: f"import {value}",
    }
    return [
        (words[name](value), urlencode({other: asked[other] for other in asked if other != name}))
        for name, value in asked.items()
        if name in words
    ]
