"""What a child process does with a feed: read it, apply its rules, make its bodies safe to show and search.

Pure: no network, no clock, no database. See `atlas.stages.pool`.
"""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree

from atlas.media import Media
from atlas.reading.tree import body_of, is_blank, parse_html, plain_text
from atlas.sources.discovery import find_feeds
from atlas.sources.feed import Entry, Feed, FeedError, parse
from atlas.sources.rules import MAX_TEXT_CHARS, RulesTooSlowError, Verdict, judge
from atlas.sources.videos import video_id
from atlas.stages.extract import count_words, shortened
from atlas.stages.page import Page, PageError
from atlas.stages.sanitise import to_html
from atlas.urls import InvalidUrl, normalise

#: Most new entries handed over at once; the rest comes with the next poll.
MAX_NEW_ENTRIES = 200
#: Characters of a guid's digest by which an entry is known.
KNOWN_CHARS = 16
#: A body of fewer words may be a summary.
WHOLE_WORDS = 150
#: What nobody reads.
_UNREAD = ("script", "style", "noscript", "template", "svg", "math", "textarea", "select", "title")
_LONGEST_BODY = 2_000_000
#: What ends a body that is only the beginning of something.
_CUT_SHORT = re.compile(
    r"(?:\.\.\.|\u2026|\[\s*(?:\u2026|\.\.\.)\s*\]|(?:continue|keep) reading|full (?:story|article)"
    r"|read (?:more|on|the rest|the full)|weiterlesen|mehr lesen|lire la suite|leer m\xe1s)\W{0,10}$",
    re.IGNORECASE,
)
#: What some weblogs put below each entry of their feeds, whole or not.
_BELOW = re.compile(r"\s*The post .{1,300} (?:first )?appeared (?:first )?on .{1,100}$", re.DOTALL)
_TAG = re.compile(r"<[^<>]{0,2000}>")


def read_feed(
    raw: bytes,
    *,
    content_type: str | None,
    url: str,
    known: Sequence[str] = (),
    rules: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Read a feed; return it with those of its entries that are not `known`, ready to be kept.

    An entry is known by the beginning of its guid's SHA-256. What is no feed gives `code` and `message`, and
    a web page the `feeds` that it names.
    """
    try:
        feed = parse(raw, content_type, url)
    except FeedError as error:
        links = find_feeds(raw, url) if error.code == "not_a_feed" else []
        return {"code": error.code, "message": error.message, "feeds": links}
    fresh = _fresh(feed, frozenset(known))
    shared = _shared_addresses(feed)
    judged = _Judge(rules)
    kept = [entry for entry in fresh if judged.keeps(entry)]
    taken = kept[:MAX_NEW_ENTRIES]
    prepared: list[tuple[Entry, dict[str, Any] | None]]
    prepared = [(entry, _prepared(entry, feed, shared, url)) for entry in taken]
    return {
        "title": feed.title,
        "site_url": feed.site_url,
        "image": feed.image,
        "kind": _kind_of_feed(feed),
        "entries": [{**found, "tags": judged.tags(entry)} for entry, found in prepared if found is not None],
        "waiting": len(kept) - len(taken),
        "dropped": len(fresh) - len(kept),
        "slow_rules": judged.too_slow,
    }


def digest(guid: str) -> str:
    """Return what stands for an entry among those a feed has shown."""
    return hashlib.sha256(guid.encode("utf-8", "replace")).hexdigest()


def _fresh(feed: Feed, known: frozenset[str]) -> list[Entry]:
    """Return the entries that are not known, each guid once, in the order of the feed."""
    found: dict[str, Entry] = {}
    for entry in feed.entries:
        found.setdefault(digest(entry.guid)[:KNOWN_CHARS], entry)
    return [entry for key, entry in found.items() if key not in known]


class _Judge:
    """Applies the rules; when they take too long, entries come in without them."""

    def __init__(self, given: Sequence[Mapping[str, str]]) -> None:
        self._rules = given
        self._verdicts: dict[str, Verdict] = {}
        self.too_slow = False

    def keeps(self, entry: Entry) -> bool:
        if not self._rules or self.too_slow:
            return True
        texts = {"title": entry.title, "url": entry.url, "author": entry.byline}
        texts["content"] = _TAG.sub(" ", (entry.html or "")[: 2 * MAX_TEXT_CHARS])
        try:
            verdict = judge(self._rules, {name: text or "" for name, text in texts.items()})
        except RulesTooSlowError:
            self.too_slow = True
            return True
        self._verdicts[entry.guid] = verdict
        return verdict.keep

    def tags(self, entry: Entry) -> tuple[str, ...]:
        verdict = self._verdicts.get(entry.guid)
        return verdict.tags if verdict else ()


def _shared_addresses(feed: Feed) -> frozenset[str]:
    """Find addresses that stand for no entry: several have them, or they are the site's own."""
    seen: dict[str, int] = {}
    for entry in feed.entries:
        if entry.url:
            seen[entry.url] = seen.get(entry.url, 0) + 1
    shared = {url for url, times in seen.items() if times > 1}
    return frozenset(shared | ({feed.site_url} if feed.site_url else set()))


def _prepared(entry: Entry, feed: Feed, shared: frozenset[str], feed_url: str) -> dict[str, Any] | None:
    """Make an entry ready to be kept; None when there is neither an address nor anything to read."""
    video = entry.media.get("video_id") or (video_id(entry.url) if entry.url else None)
    media = _media(entry, feed, video)
    kind = "video" if video else "podcast" if "audio" in media or "video" in media else "article"
    base = entry.url or feed.site_url or feed_url
    body = _body(entry.html or "", base)
    if body is None and entry.url is None and kind == "article":
        return None
    file = media.get("audio") or media.get("video")
    url = entry.url if entry.url not in shared or not file else file
    if (url := url or file) is not None and not _is_address(url):
        url = None
    if url is None and body is None:
        return None
    body = body or _Body("", "", 0)
    return {
        "digest": digest(entry.guid),
        "url": url,
        "title": entry.title,
        "byline": entry.byline,
        "published_at": entry.published_at and entry.published_at.isoformat(),
        "kind": kind,
        "media": media,
        "image": media.get("image"),
        "html": body.html,
        "text": body.text,
        "words": body.words,
        "excerpt": shortened(body.text),
        "whole": _is_whole(body),
        "raw": entry.html if body.html else None,
        "base": base,
    }


def read_entry(raw: bytes, digest: str) -> Page:
    """Read an entry again from what `bodies.keep` kept. Raises PageError."""
    try:
        found = json.loads(raw)[digest]
        body = _body(found["html"], found["base"])
        published = found["published_at"]
        published_at = dt.datetime.fromisoformat(published) if published else None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise PageError("damaged", "What was kept of the feed does not hold this entry.") from None
    if body is None:
        raise PageError("empty_page", "There is nothing to read in this entry.")
    return Page(
        title=found.get("title") or "",
        byline=found.get("byline"),
        site=found.get("site"),
        language=None,
        published_at=published_at,
        excerpt=shortened(body.text),
        html=body.html,
        text=body.text,
        word_count=body.words,
        image=found.get("image"),
    )


def _media(entry: Entry, feed: Feed, video: str | None) -> Media:
    media = entry.media.copy()
    if video:
        media["video_id"] = video
        media.setdefault("image", f"https://i.ytimg.com/vi/{video}/hqdefault.jpg")
        media.pop("video", None)  # a player that no longer exists
    elif feed.image and ("audio" in media or "video" in media):
        media.setdefault("image", feed.image)
    return media


def _is_address(url: str) -> bool:
    try:
        normalise(url)
    except InvalidUrl:
        return False
    return True


def _kind_of_feed(feed: Feed) -> str:
    """Say what a feed is by what most of its entries are."""
    videos = sum("video_id" in entry.media for entry in feed.entries)
    files = sum("audio" in entry.media or "video" in entry.media for entry in feed.entries)
    half = len(feed.entries) / 2
    return "video" if videos > half else "podcast" if files > half else "feed"


@dataclass(frozen=True, slots=True)
class _Body:
    html: str
    text: str
    words: int


def _body(markup: str, base_url: str) -> _Body | None:
    """Make a body safe; None when there is nothing in it, or nothing that could be made safe."""
    if is_blank(markup) or len(markup) > _LONGEST_BODY:
        return None
    try:
        tree = body_of(parse_html(f"<html><body>{markup}"))
    except PageError:
        return None
    tree.tag = "div"
    etree.strip_elements(tree, *_UNREAD, with_tail=False)
    text = plain_text(tree)
    html = to_html(tree, base_url)
    return _Body(html, text, count_words(text)) if html else None


def _is_whole(body: _Body) -> bool:
    """Guess whether a body is all there is, rather than a summary or a beginning."""
    text = _BELOW.sub("", body.text[-1000:]).rstrip()
    return body.words >= WHOLE_WORDS and not _CUT_SHORT.search(text[-60:])
