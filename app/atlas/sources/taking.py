"""Making items of what a feed shows: many entries in few statements, each address and each text once."""

import datetime as dt
import hashlib
import secrets
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from atlas import items
from atlas.database.dialect import insert, insert_for, is_sqlite, write_rows
from atlas.database.tables import feed_entries, sightings, transcript_searches
from atlas.database.tables import items as items_table
from atlas.items import Added, Content, Lane, New
from atlas.sources import bodies
from atlas.stages.table import DONE, Stage
from atlas.telemetry.tally import count
from atlas.urls import normalise

#: Texts of fewer words are equal too easily to be called the same.
MIN_WORDS = 50
#: Names in one condition.
_PIECE = 500

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """How many items are new, and how many entries found the queue full."""

    new_items: int = 0
    left: int = 0
    #: There was no room at all.
    was_full: bool = False


@dataclass(slots=True)
class _Candidate:
    """An entry, as `read_feed` prepared it, and where it belongs."""

    entry: Mapping[str, Any]
    url: str
    key: str
    is_internal: bool
    #: Its page must be fetched.
    wants_page: bool
    sha256: str | None


def take(
    conn: Connection,
    feed: sa.Row[Any],
    entries: Sequence[Mapping[str, Any]],
    *,
    now: dt.datetime,
    room: Callable[[], int],
    site: str | None = None,
    bodies_sha256: str | None = None,
) -> Taken:
    """Make items of a feed's entries, the oldest first as feeds begin with the newest.

    What is complete in the feed can be read at once. At most `room()` go into the queue for their page; those
    beyond are left for the next time. `site` is what the feed is called, `bodies_sha256` where its bodies are
    kept. An address or a text that is here already learns that it was seen here.
    """
    unseen = _unseen(conn, feed.id, entries)
    candidates = {one.key: one for one in (_candidate(feed, entry) for entry in reversed(unseen))}
    known = _known(conn, candidates)
    same = _same_texts(
        conn, [one.sha256 for key, one in candidates.items() if key not in known and one.sha256]
    )
    new: list[_Candidate] = []
    queued = left = 0
    most = room() if any(one.wants_page for one in candidates.values()) else 0
    met: dict[str, int] = {}
    for one in list(candidates.values()):
        if (item_id := known.get(one.key, same.get(one.sha256 or ""))) is not None:
            met[one.key] = item_id
        elif one.wants_page and queued >= most:
            left += 1
            del candidates[one.key]
        else:
            queued += one.wants_page
            new.append(one)
    added = _add(conn, feed, new, now=now, site=site, bodies_sha256=bodies_sha256)
    _note_met(conn, feed, [(candidates[key], item_id) for key, item_id in met.items()], now)
    ids = met | added
    rows = [
        {"feed_id": feed.id, "guid_sha256": entry["digest"], "item_id": ids[key], "seen_at": now}
        for entry in unseen
        if (key := _key(feed, entry)) in ids
    ]
    write_rows(conn, _new_entries(conn.dialect.name), rows)
    return Taken(len(added), left, was_full=left > 0 and not most)


@cache
def _new_entries(dialect: str) -> sa.Insert:
    return insert_for(dialect, feed_entries).on_conflict_do_nothing()


def _unseen(conn: Connection, feed_id: int, entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    seen: set[str] = set()
    for piece in _pieces([entry["digest"] for entry in entries]):
        query = sa.select(feed_entries.c.guid_sha256)
        query = query.where(feed_entries.c.feed_id == feed_id, feed_entries.c.guid_sha256.in_(piece))
        seen.update(conn.execute(query).scalars())
    return [entry for entry in entries if entry["digest"] not in seen]


def _candidate(feed: sa.Row[Any], entry: Mapping[str, Any]) -> _Candidate:
    url, key = _address(feed, entry)
    is_internal = entry["url"] is None
    wants_page = _wants_page(feed, entry)
    # Many episodes and videos of a show have the same notes.
    compares = entry["kind"] == "article" and not wants_page and entry["words"] >= MIN_WORDS
    sha256 = text_sha256(entry["text"]) if compares else None
    return _Candidate(entry, url, key, is_internal, wants_page, sha256)


def keep_bodies(
    data_dir: Path, feed: sa.Row[Any], entries: Iterable[Mapping[str, Any]], site: str | None
) -> str | None:
    """Keep the bodies of the entries that are complete as they came; return where, None if there are none."""
    return bodies.keep(data_dir, (entry for entry in entries if not _wants_page(feed, entry)), site)


def _wants_page(feed: sa.Row[Any], entry: Mapping[str, Any]) -> bool:
    if entry["kind"] != "article" or entry["url"] is None:
        return False
    return not _is_enough(feed.full_text, entry)


def _is_enough(full_text: str, entry: Mapping[str, Any]) -> bool:
    """Tell whether what the feed has of an entry is what its owner wants of it."""
    if full_text == "page" or not entry["html"]:
        return False
    return full_text == "feed" or bool(entry["whole"])


def _address(feed: sa.Row[Any], entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return the address of an item, and its key; one of our own for an entry that has none."""
    if entry["url"] is None:
        own = f"{items.INTERNAL}entry/{feed.id}/{entry['digest'][:32]}"
        return own, own
    url, key, _ = normalise(entry["url"])
    return url, key


def _key(feed: sa.Row[Any], entry: Mapping[str, Any]) -> str:
    return _address(feed, entry)[1]


def text_sha256(text: str) -> str:
    """Return a hash that equal texts share, whatever their case and spacing."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def _known(conn: Connection, keys: Collection[str]) -> dict[str, int]:
    """Return the items by the keys of their addresses; a duplicate where there is nothing else."""
    found: dict[str, int] = {}
    for piece in _pieces(list(keys)):
        query = sa.select(items_table.c.url_key, items_table.c.id, items_table.c.duplicate_of)
        query = query.where(items_table.c.url_key.in_(piece))
        living_last = (items_table.c.stage != Stage.DUPLICATE, items_table.c.id)
        for row in conn.execute(query.order_by(*living_last)):
            found[row.url_key] = row.duplicate_of or row.id
    return found


def _same_texts(conn: Connection, digests: Sequence[str]) -> dict[str, int]:
    """Return the readable items with these texts. Until the transaction ends, no others can be written."""
    found: dict[str, int] = {}
    if digests and not is_sqlite(conn):  # there, writers queue anyway
        keys = sorted({int.from_bytes(bytes.fromhex(digest[:16]), signed=True) for digest in digests})
        conn.execute(sa.text("SELECT pg_advisory_xact_lock(k) FROM unnest(:keys) AS k"), {"keys": keys})
    for piece in _pieces(list(digests)):
        query = sa.select(items_table.c.text_sha256, sa.func.min(items_table.c.id))
        query = query.where(items_table.c.text_sha256.in_(piece), items_table.c.stage.in_(DONE))
        for row in conn.execute(query.group_by(items_table.c.text_sha256)):
            found[row.text_sha256] = row[1]
    return found


def _add(
    conn: Connection,
    feed: sa.Row[Any],
    new: Sequence[_Candidate],
    *,
    now: dt.datetime,
    site: str | None,
    bodies_sha256: str | None,
) -> dict[str, int]:
    """Add items, those that are complete at their last stage; return their ids by their keys."""
    if not new:
        return {}
    correlation_id = secrets.token_hex(8)
    news = [_new(feed, one, correlation_id, site, bodies_sha256) for one in new]
    outcomes = items.add_many(conn, news, now=now, keep_order=True)
    both = [(one, added) for one, added in zip(new, outcomes, strict=True) if isinstance(added, Added)]
    fresh = [(one, added.id) for one, added in both if added.duplicate_of is None]
    items.write_contents(conn, {item_id: _content(one) for one, item_id in fresh if _has_content(one)})
    _look_for_transcripts(conn, fresh, now)
    return {one.key: added.duplicate_of or added.id for one, added in both}


def _has_content(one: _Candidate) -> bool:
    return bool(one.entry["html"]) or not one.wants_page


def _content(one: _Candidate) -> Content:
    entry = one.entry
    return Content(title=entry["title"] or "", text=entry["text"], html=entry["html"])


def _new(
    feed: sa.Row[Any], one: _Candidate, correlation_id: str, site: str | None, bodies_sha256: str | None
) -> New:
    entry = one.entry
    published = entry["published_at"]
    fields = {
        "byline": entry["byline"],
        "site": site,
        "published_at": dt.datetime.fromisoformat(published) if published else None,
        "excerpt": entry["excerpt"],
        "image": entry["image"],
        "media": entry["media"] or None,
        "word_count": entry["words"] if _has_content(one) else None,
        "text_sha256": one.sha256,
    }
    if bodies_sha256 and entry.get("raw") and not one.wants_page:
        fields |= {"original_sha256": bodies_sha256, "original_type": bodies.type_of(entry["digest"])}
    return New(
        one.url,
        correlation_id,
        kind=entry["kind"],
        lane=Lane.NORMAL,
        feed_id=feed.id,
        title=entry["title"],
        source="feed",
        tags=tuple(entry["tags"]),
        fields=fields,
        complete=not one.wants_page,
        internal=one.is_internal,
    )


def _look_for_transcripts(
    conn: Connection, fresh: Iterable[tuple[_Candidate, int]], now: dt.datetime
) -> None:
    """Have the transcripts of episodes and videos looked for."""
    rows = []
    for one, item_id in fresh:
        if one.entry["kind"] == "podcast":
            has_link = bool(one.entry["media"].get("transcripts"))
            count("podcast_episodes", "announced" if has_link else "none")
        if one.entry["kind"] in ("podcast", "video"):
            rows.append({"item_id": item_id, "due_at": now, "tries": 0, "since": now})
    if rows:
        conn.execute(transcript_searches.insert(), rows)


def _note_met(
    conn: Connection, feed: sa.Row[Any], met: Sequence[tuple[_Candidate, int]], now: dt.datetime
) -> None:
    """Let items that were here already know that this feed has them too."""
    theirs = {
        row.id
        for piece in _pieces([item_id for _, item_id in met])
        for row in conn.execute(
            sa.select(items_table.c.id, items_table.c.feed_id).where(items_table.c.id.in_(piece))
        )
        if row.feed_id != feed.id
    }
    rows = [
        {
            "item_id": item_id,
            "key": f"feed:{feed.id}",
            "at": now,
            "source": "feed",
            "url": one.url,
            "title": one.entry["title"],
            "feed_id": feed.id,
        }
        for one, item_id in met
        if item_id in theirs
    ]
    if rows:
        seen = insert(conn, sightings).on_conflict_do_nothing(index_elements=["item_id", "key"])
        conn.execute(seen, rows)


def _pieces(names: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (names[start : start + _PIECE] for start in range(0, len(names), _PIECE))
