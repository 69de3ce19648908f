"""The feeds that are followed: how they are, what is unread, and each one's options."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from atlas.api.rows import row_number
from atlas.api.state import state
from atlas.database.engine import read
from atlas.sources import subscriptions
from atlas.sources.rules import ACTIONS, FIELDS
from atlas.sources.subscriptions import OptionError, RuleError
from atlas.urls import InvalidUrl
from atlas.web.forms import Form
from atlas.web.page import back, found, page, see
from atlas.web.words import find_url, wait_words

router = APIRouter(include_in_schema=False)

#: How often a feed may be asked, in seconds, as the form offers it.
INTERVALS = {
    900: "Every quarter of an hour",
    3600: "Every hour",
    10_800: "Every 3 hours",
    43_200: "Twice a day",
    86_400: "Every day",
    604_800: "Every week",
}
FULL_TEXT = {
    "auto": "The entry if it is whole, else the page",
    "feed": "Always what the feed has",
    "page": "Always the page",
}
_RULE_FIELDS = ("action", "field", "pattern", "tag")
#: Empty lines below the rules of a feed, for new ones.
_NEW_RULES = 2


@router.get("/feeds")
def feeds(request: Request) -> Response:
    """Show the feeds by folder."""
    return _feeds(request)


@router.post("/feeds")
def follow(request: Request, form: Form) -> Response:
    """Follow a feed, or a page that has one."""
    typed, folder = form.get("url", "").strip(), form.get("folder", "")
    parts = state(request)
    try:
        with parts.engine.begin() as conn:
            subscriptions.subscribe(
                conn,
                find_url(typed),
                now=parts.clock(),
                interval_seconds=parts.settings.feed_interval_seconds,
                folder=folder,
            )
    except (InvalidUrl, OptionError) as error:
        return _feeds(request, url=typed, error=str(error), status=422)
    return see("/feeds")


@router.post("/feeds/read")
def mark_read(request: Request, form: Form) -> Response:
    """Note that all was read that a feed, a folder or all feeds brought, up to the newest that was shown."""
    parts = state(request)
    feed_id = row_number(form.get("feed", ""))
    if form.get("feed") and feed_id is None:
        found(None)  # never all of them instead
    with parts.engine.begin() as conn:
        subscriptions.mark_read(
            conn,
            now=parts.clock(),
            feed_id=feed_id,
            folder=form.get("folder") or None,
            up_to=row_number(form.get("up_to", "")),
        )
    return back(form, "/feeds")


@router.get("/feeds/{feed_id:row}")
def options(request: Request, feed_id: int) -> Response:
    """Show how a feed is, and its options."""
    return _options(request, feed_id)


@router.post("/feeds/{feed_id:row}")
def change(request: Request, feed_id: int, form: Form) -> Response:
    """Change a feed's options, all or none."""
    parts = state(request)
    try:
        changes = _changes(form)
        with parts.engine.begin() as conn:
            before = found(subscriptions.get(conn, feed_id))
            if changes["title"] == (before["title"] or ""):
                del changes["title"]  # else its own title would count as one that was given
            if changes["rules"] == before["rules"]:
                del changes["rules"]
            subscriptions.update(conn, feed_id, changes, now=parts.clock())
    except (OptionError, RuleError) as error:
        return _options(request, feed_id, error=str(error), status=422)
    return see("/feeds")


@router.post("/feeds/{feed_id:row}/pause")
def pause(request: Request, feed_id: int, form: Form) -> Response:
    """Ask a feed no more for now, or go on."""
    parts = state(request)
    with parts.engine.begin() as conn:
        paused = form.get("paused") == "1"
        found(subscriptions.update(conn, feed_id, {"paused": paused}, now=parts.clock()))
    return back(form, f"/feeds/{feed_id}")


@router.post("/feeds/{feed_id:row}/refresh")
def refresh(request: Request, feed_id: int, form: Form) -> Response:
    """Ask a feed now."""
    parts = state(request)
    with parts.engine.begin() as conn:
        if not subscriptions.refresh(conn, feed_id, now=parts.clock()):
            found(None)
    return back(form, f"/feeds/{feed_id}")


@router.post("/feeds/{feed_id:row}/remove")
def remove(request: Request, feed_id: int, form: Form) -> Response:  # noqa: ARG001 - the form is its proof
    """Follow a feed no more; what it brought stays."""
    with state(request).engine.begin() as conn:
        if not subscriptions.unsubscribe(conn, feed_id):
            found(None)
    return see("/feeds")


def _changes(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the options in a form. Raises OptionError for what is no number where one belongs."""
    rules = []
    for at in range(100):
        rule = {name: form.get(f"{name}-{at}", "").strip() for name in _RULE_FIELDS}
        if rule["pattern"]:
            rules.append(rule if rule["action"] == "tag" else {**rule, "tag": ""})
    return {
        "title": " ".join(form.get("title", "").split()),
        "folder": form.get("folder", ""),
        "interval_seconds": _whole(form.get("interval_seconds", "")),
        "full_text": form.get("full_text", ""),
        "retention_days": _whole(form.get("retention_days", "")),
        "rules": [{name: value for name, value in rule.items() if value} for rule in rules],
    }


def _whole(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise OptionError(f"“{text[:20]}” is no whole number.")
    return int(text)


def _feeds(request: Request, *, url: str = "", error: str = "", status: int = 200) -> Response:
    with read(state(request).engine) as conn:
        rows = subscriptions.list_feeds(conn)
    folders: dict[str | None, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["folder"] or "").casefold()):
        folders.setdefault(row["folder"], []).append(row)
    return page(
        request,
        "feeds.html",
        here="feeds",
        folders=folders,
        unread=sum(row["unread"] for row in rows),
        broken=[row for row in rows if row["broken"]],
        url=url,
        error=error,
        status=status,
    )


def _options(request: Request, feed_id: int, *, error: str = "", status: int = 200) -> Response:
    with read(state(request).engine) as conn:
        feed = found(subscriptions.get(conn, feed_id))
        folders = [row["folder"] for row in subscriptions.folders(conn) if row["folder"]]
    seconds = feed["interval_seconds"]
    return page(
        request,
        "feed.html",
        here="feeds",
        feed=feed,
        folders=folders,
        intervals=INTERVALS | ({} if seconds in INTERVALS else {seconds: f"Every {_every(seconds)}"}),
        full_text=FULL_TEXT,
        actions=ACTIONS,
        fields=FIELDS,
        rules=feed["rules"] + [{}] * _NEW_RULES,
        error=error,
        status=status,
    )


def _every(seconds: int) -> str:
    day = dt.timedelta(days=1).total_seconds()
    return wait_words(seconds) if seconds < day else f"{seconds / day:g} days"
