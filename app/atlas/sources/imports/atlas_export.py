"""What Atlas itself exports (`atlas.export.everything`), read back: everything, not only what others know."""

import json
import posixpath
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

from atlas.sources import subscriptions
from atlas.sources.imports import archive, restore
from atlas.sources.imports.record import (
    Entry,
    Highlight,
    Record,
    Refused,
    Unreadable,
    labels,
    line,
    moment,
    prose,
)

#: Longest line, in bytes: an item with its text and HTML.
LARGEST_LINE = 64_000_000
#: The newest form of the export that is understood here.
VERSION = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOMENTS = ("added_at", "read_at", "starred_at", "titled_at", "published_at")
_TEXTS = ("byline", "site", "language", "excerpt")
_ADDRESSED = ("final_url", "image")
_KINDS = ("article", "podcast", "video", "note", "mail", "file")
_ADDRESSES = frozenset({"url", "href", "src", "image", "link"})


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Return what an export of Atlas holds: feeds, then items. Raises Unreadable."""
    with archive.opened(file) as packed:
        about = next(name for name in packed.namelist() if posixpath.basename(name) == "atlas.json")
        _check(archive.whole(packed, about, 10_000))
        folder = posixpath.dirname(about)
        for number, one in _lines(packed, posixpath.join(folder, "feeds.jsonl")):
            where = f"feeds.jsonl, line {number}"
            yield _feed(one, where) if isinstance(one, dict) else Refused(_BROKEN, where=where)
        for number, one in _lines(packed, posixpath.join(folder, "items.jsonl")):
            where = f"items.jsonl, line {number}"
            yield (
                _item(one, packed, folder, where) if isinstance(one, dict) else Refused(_BROKEN, where=where)
            )


_BROKEN = "This line is no JSON object, or too long."


def _check(raw: bytes) -> None:
    try:
        about = json.loads(raw)
        version = int(about["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unreadable("This is no export of Atlas: its atlas.json says nothing of the sort.") from None
    if version > VERSION:
        raise Unreadable("This export was made by a newer Atlas. Update this one, then import it again.")


def _lines(packed: zipfile.ZipFile, name: str) -> Iterator[tuple[int, object]]:
    """Return the lines of a member as objects, None for what is none."""
    try:
        member = packed.open(name)
    except (KeyError, *archive.BROKEN):
        return
    number = 0
    with member as file:
        while True:
            try:
                raw = file.readline(LARGEST_LINE)
                while len(raw) == LARGEST_LINE and not raw.endswith(b"\n"):
                    raw = file.readline(LARGEST_LINE)
            except archive.BROKEN:
                raise Unreadable(f"{name} is damaged after line {number}.") from None
            if not raw:
                return
            number += 1
            found: object = None
            with suppress(ValueError, RecursionError):
                found = json.loads(raw)
            yield number, found


def _feed(one: Mapping[str, Any], where: str) -> Record:
    title = line(one.get("title"))
    is_named = one.get("named") is True
    fields: dict[str, Any] = {
        "title": None if is_named else title,
        "site_url": _address(one.get("site_url")),
        "image": _address(one.get("image")),
        "kind": one.get("kind") if one.get("kind") in ("feed", "podcast", "video") else None,
        "added_at": moment(one.get("added_at")),
    }
    options = {
        "interval_seconds": one.get("interval_seconds"),
        "full_text": one.get("full_text"),
        "retention_days": one.get("retention_days"),
        "rules": one.get("rules"),
        "paused": True if one.get("paused_at") else None,
    }
    return Record(
        str(one.get("url") or ""),
        title if is_named else None,
        kind="feed",
        folder=line(one.get("folder"), subscriptions.MAX_FOLDER_CHARS),
        fields={name: value for name, value in fields.items() if value is not None},
        kept={name: value for name, value in options.items() if value is not None},
        where=where,
    )


def _address(value: object) -> str | None:
    found = line(value, 2048) or ""
    return found if found.startswith(("http://", "https://", "atlas:")) else None


def _number(value: object, least: int, most: int) -> int | None:
    return value if isinstance(value, int) and least <= value <= most else None


def _item(one: Mapping[str, Any], packed: zipfile.ZipFile, folder: str, where: str) -> Record:
    url = str(one.get("url") or "")
    raw, kind = _original(one.get("original"), packed, folder)
    fields: dict[str, Any] = {name: moment(one.get(name)) for name in _MOMENTS}
    fields |= {name: line(one.get(name), 2048) for name in _TEXTS}
    fields |= {"media": _harmless(one.get("media"))} | {name: _address(one.get(name)) for name in _ADDRESSED}
    return Record(
        url,
        line(one.get("title")),
        kind=str(one.get("kind")) if one.get("kind") in _KINDS else "article",
        added_at=fields.pop("added_at"),
        tags=labels(one.get("tags")),
        note=prose(one.get("note")),
        highlights=tuple(_highlights(one.get("highlights"))),
        content=raw,
        content_type=kind,
        fields={name: value for name, value in fields.items() if value is not None},
        kept=_kept(one, url),
        where=where,
    )


def _kept(one: Mapping[str, Any], url: str) -> dict[str, Any]:
    source, seen, progress = one.get("source"), one.get("sightings"), one.get("progress")
    digest = one.get("text_sha256")
    fields = {
        "word_count": _number(one.get("word_count"), 0, 10**9),
        "summary": prose(one.get("summary")),
        "keywords": [str(word)[:200] for word in one["keywords"]]
        if isinstance(one.get("keywords"), list)
        else None,
        "progress": float(progress) if isinstance(progress, int | float) and 0 <= progress <= 1 else None,
        "text_sha256": digest if isinstance(digest, str) and _SHA256.fullmatch(digest) else None,
    }
    return {
        "source": source if isinstance(source, str) and source.isalpha() and len(source) < 20 else None,
        "stage": _number(one.get("stage"), 0, 999),
        "internal": url if re.fullmatch(r"atlas:\w{1,20}/[\w.-]{1,200}", url) else None,
        "feed": one.get("feed") if isinstance(one.get("feed"), str) else None,
        "content": one.get("content"),
        "fields": {name: value for name, value in fields.items() if value is not None},
        "transcript": _transcript(one.get("transcript")),
        "sightings": [
            row for each in (seen if isinstance(seen, list) else []) if isinstance(each, dict)
            and (row := restore.sighting(each))
        ],
    }  # fmt: skip


def _original(one: object, packed: zipfile.ZipFile, folder: str) -> tuple[bytes | None, str | None]:
    if isinstance(one, dict) and isinstance(one.get("path"), str):
        with suppress(Unreadable):
            return archive.whole(packed, posixpath.join(folder, one["path"])), line(one.get("type"), 200)
    return None, None


def _highlights(found: object) -> Iterator[Highlight]:
    for one in found if isinstance(found, list) else []:
        if isinstance(one, dict) and (quote := prose(one.get("quote"))):
            fields = {name: str(one.get(name) or "")[:1000] for name in ("prefix", "suffix")}
            fields |= {"color": line(one.get("color"), 20) or "yellow"}
            position = _number(one.get("position"), 0, 10**9) or 0
            yield Highlight(
                quote, prose(one.get("note")), moment(one.get("created_at")), {**fields, "position": position}
            )


def _transcript(one: object) -> dict[str, Any] | None:
    if not isinstance(one, dict) or not isinstance(one.get("segments"), list):
        return None
    segments = [
        [
            float(begin),
            None if end is None else float(end),
            speaker if isinstance(speaker, str) else None,
            text,
        ]
        for begin, end, speaker, text in (part for part in one["segments"] if _is_segment(part))
    ]
    at = moment(one.get("at"))
    if at is None or not segments:
        return None
    source, language = line(one.get("source"), 20) or "pushed", line(one.get("language"), 35)
    return {"source": source, "language": language, "segments": segments, "at": at}


def _is_segment(part: object) -> bool:
    if not isinstance(part, list) or len(part) != 4:
        return False
    begin, end, _, text = part
    return isinstance(begin, int | float) and isinstance(end, int | float | None) and isinstance(text, str)


def _harmless(value: object, name: str = "") -> object:
    """Return what an item carries without addresses that are none of the web."""
    if isinstance(value, dict):
        return {key: _harmless(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_harmless(inner, name) for inner in value]
    is_address = isinstance(value, str) and name in _ADDRESSES
    return value if not is_address or str(value).startswith(("http://", "https://")) else None
