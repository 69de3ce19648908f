"""What the parsers of feeds leave out: sound and film, transcripts, durations and pictures.

From RSS and Atom with the namespaces of podcasts (podcastindex.org), iTunes, Media RSS and YouTube.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from atlas.media import Media, TranscriptLink

#: Most transcripts and enclosures of an entry that are looked at.
_MOST = 20
#: Without any of these in it, a feed has nothing for us here.
_SIGNS = ("enclosure", "itunes:", "podcast:", "media:", "yt:", "<image", ":image", "<logo", "<icon")
_SPACES = (
    ("podcastindex.org", "podcast"),
    ("podcast-namespace", "podcast"),
    ("itunes.com/dtds/podcast", "itunes"),
    ("search.yahoo.com/mrss", "media"),
    ("youtube.com/xml", "yt"),
    ("purl.org/rss/1.0/modules/content", "content"),
)
_OURS = frozenset({"podcast", "itunes", "media", "yt"})
_AUDIO_NAME = re.compile(r"\.(?:mp3|m4a|m4b|aac|ogg|oga|opus|flac|wav)(?:[?#]|$)", re.IGNORECASE)
_VIDEO_NAME = re.compile(r"\.(?:mp4|m4v|mov|webm|mkv)(?:[?#]|$)", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,7})(?:[.,]\d*)?")
_MARKUP = re.compile(r"</?(?:p|br|a|div|ul|ol|li|em|strong|b|i|h[1-6])\b[^<>]*>", re.IGNORECASE)
_VIDEO_ID = re.compile(r"[\w-]{11}")


@dataclass(slots=True)
class Extra:
    """Of an entry: what belongs to it, and a body (HTML) for one that has no other.

    Addresses are as they stand there.
    """

    media: Media = field(default_factory=Media)
    notes: str = ""


@dataclass(slots=True)
class Extras:
    """Of a feed, its entries in their order."""

    image: str = ""
    entries: list[Extra] = field(default_factory=list)


def read_extras(text: str) -> Extras:
    """Read a tidy document. Never raises: what cannot be read is not there."""
    if not any(sign in text for sign in _SIGNS):
        return Extras()
    parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, ValueError):
        return Extras()
    if root is None:
        return Extras()
    name = "entry" if _name(root)[1] == "feed" else "item"
    found = [_entry(element) for element in root.iter("{*}" + name, name) if _name(element)[0] == ""]
    return Extras(_image(root), found)


def enclosure(url: str, kind: str, size: object = None) -> Media:
    """Say what a file that belongs to an entry is: sound, film, or nothing for us."""
    kind = kind.strip().lower().partition(";")[0]
    if kind.startswith("audio/") or (not kind.startswith("video/") and _AUDIO_NAME.search(url)):
        media = Media(audio=url)
    elif kind.startswith("video/") or _VIDEO_NAME.search(url):
        media = Media(video=url)
    else:
        return Media()
    if "/" in kind:
        media["type"] = kind[:100]
    if (count := _number(size)) and count > 1:
        media["bytes"] = int(count)
    return media


def seconds(text: str) -> float | None:
    """Read a duration: seconds, MM:SS or HH:MM:SS."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, rest = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + rest
    return float(total) if 0 < total < 10_000_000 else None


def _entry(element: etree._Element) -> Extra:
    extra = Extra()
    media = extra.media
    files: list[Media] = []
    transcripts: list[TranscriptLink] = []
    for (space, name), child in _children(element):
        if (name == "enclosure" and not space) or (name == "link" and child.get("rel") == "enclosure"):
            address = (child.get("url") or child.get("href") or "").strip()
            files.append(enclosure(address, child.get("type") or "", child.get("length")))
        elif (space, name) == ("media", "content"):
            files.append(_media_content(child, media))
        elif (space, name) == ("podcast", "transcript"):
            transcripts += _transcript(child)
        elif (take := _TAKEN.get((space, name))) is not None:
            take(child, media, extra)
    for file in files[:_MOST]:
        if ("audio" in file or "video" in file) and not ("audio" in media or "video" in media):
            media.update(file)
    if transcripts:
        media["transcripts"] = transcripts[:_MOST]
    return extra


def _children(element: etree._Element) -> Iterator[tuple[tuple[str, str], etree._Element]]:
    """Give what stands in an entry, and in its groups of media."""
    for child in element:
        name = _name(child)
        yield name, child
        if name == ("media", "group"):
            yield from ((_name(inner), inner) for inner in child)


def _name(element: etree._Element) -> tuple[str, str]:
    """Tell whose an element is ("" for the feed's own, "?" for a stranger's), and its name."""
    tag = element.tag
    if not isinstance(tag, str):  # a comment
        return "?", ""
    space, _, name = tag.rpartition("}")
    if not space:
        prefix, _, name = tag.rpartition(":")  # declared nowhere
        return (prefix if prefix in _OURS or not prefix else "?"), name
    if space.endswith(("w3.org/2005/Atom", "purl.org/rss/1.0/", "purl.org/atom/ns#")):
        return "", name
    return next((ours for part, ours in _SPACES if part in space.lower()), "?"), name


def _media_content(element: etree._Element, media: Media) -> Media:
    address = (element.get("url") or "").strip()
    if duration := seconds(element.get("duration") or ""):
        media.setdefault("duration", duration)
    kind = element.get("type") or ""
    if element.get("medium") == "image" or kind.startswith("image/"):
        if address:
            media.setdefault("image", address)
        return Media()
    return enclosure(address, kind, element.get("fileSize"))


def _transcript(element: etree._Element) -> list[TranscriptLink]:
    address = (element.get("url") or "").strip()
    if not address:
        return []
    link = TranscriptLink(url=address)
    if kind := (element.get("type") or "").strip().lower()[:100]:
        link["type"] = kind
    if language := (element.get("language") or "").strip()[:35]:
        link["language"] = language
    if rel := (element.get("rel") or "").strip().lower()[:30]:
        link["rel"] = rel
    return [link]


def _duration(element: etree._Element, media: Media, _extra: Extra) -> None:
    if duration := seconds(_text(element)):
        media["duration"] = duration


def _picture(element: etree._Element, media: Media, _extra: Extra) -> None:
    address = (element.get("href") or element.get("url") or _text(element)).strip()
    if address:
        media.setdefault("image", address)


def _chapters(element: etree._Element, media: Media, _extra: Extra) -> None:
    if address := (element.get("url") or "").strip():
        media["chapters"] = address


def _season(element: etree._Element, media: Media, _extra: Extra) -> None:
    if text := _text(element)[:20]:
        media.setdefault("season", text)


def _episode(element: etree._Element, media: Media, _extra: Extra) -> None:
    if text := _text(element)[:20]:
        media.setdefault("episode", text)


def _video_id(element: etree._Element, media: Media, _extra: Extra) -> None:
    if _VIDEO_ID.fullmatch(text := _text(element)):
        media["video_id"] = text


def _notes(element: etree._Element, _media: Media, extra: Extra) -> None:
    text = "".join(str(part) for part in element.itertext()).strip()
    is_plain = _name(element) == ("media", "description") and element.get("type") != "html"
    notes = text if _MARKUP.search(text) and not is_plain else paragraphs(text)
    extra.notes = max(extra.notes, notes, key=len)


def paragraphs(text: str) -> str:
    """Make HTML of plain text, its lines as they are."""
    parts = [html.escape(part, quote=False) for part in re.split(r"\n\s*\n", text.strip()) if part]
    return "".join(f"<p>{part.replace(chr(10), '<br>')}</p>" for part in parts)


_TAKEN = {
    ("itunes", "duration"): _duration,
    ("itunes", "image"): _picture,
    ("media", "thumbnail"): _picture,
    ("podcast", "chapters"): _chapters,
    ("podcast", "season"): _season,
    ("itunes", "season"): _season,
    ("podcast", "episode"): _episode,
    ("itunes", "episode"): _episode,
    ("yt", "videoId"): _video_id,
    ("media", "description"): _notes,
    ("itunes", "summary"): _notes,
}


def _image(root: etree._Element) -> str:
    """Find the picture of a whole feed."""
    holder = next((child for child in root if _name(child) == ("", "channel")), root)
    for child in holder:
        match _name(child):
            case ("itunes", "image"):
                address = child.get("href") or ""
            case ("", "image"):
                address = next((_text(inner) for inner in child if _name(inner) == ("", "url")), "")
            case ("", "logo" | "icon"):
                address = _text(child)
            case _:
                address = ""
        if address.strip():
            return address.strip()
    return ""


def _text(element: etree._Element) -> str:
    return " ".join((element.text or "").split())


def _number(value: Any) -> float | None:  # noqa: ANN401 - as it stands in a feed
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if 0 <= number < 1e15 else None
