"""Reading a feed: RSS, RDF, Atom or JSON Feed in whatever shape it comes, as titles, addresses and bodies.

Bodies stay as the feed has them: they are made safe where they are read, not here.
"""

import hashlib
import html
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

from atlas.media import Media, TranscriptLink
from atlas.sources import formats, xml
from atlas.sources.charset import decode

_MAX_URL_CHARS = 2048
_MAX_TITLE_CHARS = 500
_MAX_TAG_CHARS = 300
_TAG = re.compile(
    rf"</?(?:a|abbr|b|big|br|cite|code|em|font|h[1-6]|i|img|mark|p|q|s|small|span|strong|sub|sup|tt|u|wbr)"
    rf"(?:\s[^<>]{{0,{_MAX_TAG_CHARS}}})?/?>",
    re.IGNORECASE,
)
_C1 = re.compile("[\x80-\x9f]")
#: What steers a terminal and no database takes; blanks of all kinds are seen to by `split`.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
_WINDOWS = {code: bytes([code]).decode("cp1252", "replace") for code in range(0x80, 0xA0)}
_NAME_AND_ADDRESS = re.compile(r"\S+@\S+ \((?P<after>.+)\)|(?P<before>.+) [(<]\S+@\S+[)>]")


class FeedError(Exception):
    """What was fetched cannot be read as a feed: `code` is `empty`, `not_a_feed` or `broken`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)  # both, so that it can travel between processes
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `url` is absolute and http(s), or None; `html` is as it came; texts are plain."""

    guid: str
    url: str | None
    title: str | None
    byline: str | None
    published_at: datetime | None
    html: str | None
    media: Media = field(default_factory=Media)


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed, with its entries in its own order."""

    title: str | None
    site_url: str | None
    entries: tuple[Entry, ...]
    image: str | None = None


def parse(raw: bytes, content_type: str | None, url: str) -> Feed:
    """Read a feed that came from `url` with this Content-Type header. Raises FeedError."""
    text, _ = decode(raw, content_type)
    text = text.lstrip("\ufeff \t\r\n")
    if not text:
        raise FeedError("empty", "The feed is empty.")
    found = _read_json(text) if text.startswith("{") else _read_xml(text)
    site_url = _absolute(found.base or url, found.link)
    base = found.base or (site_url if found.links_follow_site else None) or url
    base = _absolute(url, base) or url
    entries = [_entry(entry, base) for entry in found.entries]
    image = _absolute(base, found.image)
    return Feed(_plain(found.title), site_url, tuple(_with_own_guids(entries)), image)


def _read_json(text: str) -> formats.Found:
    found = formats.read_json(text)
    if found is None:
        raise FeedError("not_a_feed", "This is not a feed.")
    return found


def _read_xml(text: str) -> formats.Found:
    text = xml.tidy(text)
    root = xml.root_name(text)
    if not root:
        raise FeedError("empty" if not text else "not_a_feed", "There is no feed in this file.")
    if root == "html":
        raise FeedError("not_a_feed", "This is a web page, not a feed.")
    if root not in xml.FEEDS:
        raise FeedError("not_a_feed", f"This is not a feed, but a file of another kind ({root}).")
    found = formats.read_fast(text)
    if found is None or not found.entries:
        found = formats.read_tolerant(text) or found
    if found is None:
        raise FeedError("broken", "The feed is damaged too badly to be read.")
    return found


def _entry(found: formats.FoundEntry, base: str) -> Entry:
    guid = found.guid.strip()
    # Without a link, an id that is an address is the best there is (and in RDF the same thing).
    url = _absolute(base, found.link) or (_absolute(guid, guid) if guid else None)
    body = _repaired(found.html).strip() or None
    title = _plain(found.title)
    if not guid or guid == found.link.strip():  # some readers give the link for a missing id
        guid = url or guid
    guid = guid or hashlib.sha256(f"{title}\n{body}".encode()).hexdigest()
    return Entry(
        guid=guid,
        url=url,
        title=title,
        byline=_byline(found.author),
        published_at=_sane(found.published_at),
        html=body,
        media=_media(found.media, base),
    )


def _media(found: Media, base: str) -> Media:
    """Make the addresses in it whole; those that cannot be are left out."""
    media = found.copy()
    for name in ("audio", "video", "image", "chapters"):
        address = _absolute(base, media.pop(name, ""))  # type: ignore[misc]
        if address:
            media[name] = address
    links = [(link, _absolute(base, link["url"])) for link in media.pop("transcripts", [])]
    whole: list[TranscriptLink] = [{**link, "url": address} for link, address in links if address]
    if whole:
        media["transcripts"] = whole
    return media


def _with_own_guids(entries: list[Entry]) -> list[Entry]:
    """Tell entries apart by address where a feed gives several the same guid."""
    seen: dict[str, int] = {}
    for entry in entries:
        seen[entry.guid] = seen.get(entry.guid, 0) + 1
    return [
        replace(entry, guid=f"{entry.guid} {entry.url or entry.title}") if seen[entry.guid] > 1 else entry
        for entry in entries
    ]


def _absolute(base: str, link: str) -> str | None:
    """Resolve a link as found in a feed to an http(s) address; None when that cannot be."""
    link = "".join(link.split("\n")).strip().replace(" ", "%20")
    try:
        url = urljoin(base, link) if link else ""
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc or len(url) > _MAX_URL_CHARS:
        return None
    return url


def _plain(text: str) -> str | None:
    """Turn a title into plain text: many feeds put HTML there, escaped once or twice."""
    text = _TAG.sub("", _repaired(text))
    if "&" in text:
        text = _TAG.sub("", html.unescape(text))
    return " ".join(_CONTROL.sub("", text).split())[:_MAX_TITLE_CHARS] or None


def _byline(author: str) -> str | None:
    name = _plain(author)
    match = name and _NAME_AND_ADDRESS.fullmatch(name)
    return match["after"] or match["before"] if match else name


def _repaired(text: str) -> str:
    """Undo two old mistakes: UTF-8 taken for Latin-1, and Windows-1252 taken for Latin-1."""
    if not _C1.search(text):
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text.translate(_WINDOWS)


def _sane(moment: datetime | None) -> datetime | None:
    """Give a time in UTC; none for a year nobody published a feed in."""
    if moment is None or not 1970 < moment.year < 2200:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
