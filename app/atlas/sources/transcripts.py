"""Reading transcripts: WebVTT, SubRip, JSON, HTML and plain text, whatever they are declared to be.

A transcript is a list of segments `[start, end, speaker, text]`: seconds and speaker as far as known, else
None. Pure, and without a parser of markup: see `reading.read_transcript` for HTML.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

Segment = list[Any]

MAX_SEGMENTS = 50_000
MAX_TEXT_CHARS = 20_000
MAX_SPEAKER_CHARS = 80
#: Fewer words than these are no transcript.
FEWEST_WORDS = 4
#: Pieces of one speaker are joined until a sentence ends, or there are so many characters.
_LONG = 240
_GAP_SECONDS = 3.0

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{2})(?:[.,](\d{1,3}))?"
_CUE = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
_VOICE = re.compile(r"<v(?:\.[^\s<>]{0,80})?\s+([^<>]{1,200})>", re.IGNORECASE)
_TAG = re.compile(r"</?[^<>]{0,200}>")
_SPEAKER = re.compile(r"(?:>>\s*)?([A-Z\u00c0-\u00de0-9][\w.'\u2019 -]{0,50}?)\s*:\s+(?=\S)")
_ALONE = re.compile(
    r"(?:\[?\(?(?P<before>(?:\d{1,2}:)?\d{1,2}:\d{2})(?:[.,]\d+)?\)?\]?\s*[-\u2013]?\s*)?"
    r"(?P<name>[A-Z\u00c0-\u00de][\w.'\u2019 -]{0,50}?)?\s*:?\s*"
    r"(?:\[?\(?(?P<after>(?:\d{1,2}:)?\d{1,2}:\d{2})(?:[.,]\d+)?\)?\]?)?\s*:?"
)
_STAMP = re.compile(r"[\[(]?((?:\d{1,2}:)?\d{1,2}:\d{2})(?:[.,]\d+)?[\])]?\s*[-\u2013:]?\s+(?=\S)")
_SENTENCE_END = re.compile(r"[.?!\u2026\u3002][\"'\u201d\u2019)]*$")
_MARKUP = re.compile(
    r"<(?:!doctype|html|head|body|p|div|cite|time|span|article|section|br|h[1-6])\b", re.IGNORECASE
)


class TranscriptError(ValueError):
    """What was handed in is no transcript; the message says so, to a person."""


def form_of(text: str) -> str:
    """Tell by its looks what a transcript is written in: vtt, srt, json, html or text."""
    start = text.lstrip("\ufeff \t\r\n")[:4000]
    if start.startswith("WEBVTT"):
        return "vtt"
    if start.startswith(("{", "[{", "[\n", "[ ")) and start.rstrip("\x00 \n") and _is_json(text):
        return "json"
    if _CUE.search(start):
        return "srt"
    if start.startswith("<") and _MARKUP.search(start):
        return "html"
    return "text"


def parse(text: str) -> list[Segment]:
    """Read a transcript that is not HTML. Raises TranscriptError when there is none in it."""
    form = form_of(text)
    if form == "html":
        raise TranscriptError("This is a web page, not a transcript.")
    readers = {"vtt": _cues, "srt": _cues, "json": _json, "text": plain}
    return checked(readers[form](text))


def checked(segments: Iterable[Segment]) -> list[Segment]:
    """Return segments as they are kept, joined to sentences. Raises TranscriptError when there are none."""
    found = _joined(_clean(segments))
    if sum(len(segment[3].split()) for segment in found) < FEWEST_WORDS:
        raise TranscriptError("There is no transcript in this.")
    return found[:MAX_SEGMENTS]


def text_of(segments: Iterable[Segment]) -> str:
    """Return a transcript as it is searched and read: a paragraph a segment, speakers where they change."""
    parts, last = [], None
    for _, _, speaker, text in segments:
        parts.append(f"{speaker}: {text}" if speaker and speaker != last else text)
        last = speaker
    return "\n\n".join(parts)


def _clean(segments: Iterable[Segment]) -> Iterable[Segment]:
    for start, end, speaker, text in segments:
        words = " ".join(text.split())[:MAX_TEXT_CHARS]
        name = " ".join((speaker or "").split())[:MAX_SPEAKER_CHARS] or None
        if words:
            yield [_seconds(start), _seconds(end), name, words]


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1_000_000:
        return None
    return round(float(value), 2)


def _joined(segments: Iterable[Segment]) -> list[Segment]:
    """Join captions, which break anywhere, to sentences, and leave out those that say the same again."""
    found: list[Segment] = []
    for segment in segments:
        last = found[-1] if found else None
        if last is not None and last[2] == segment[2] and last[0] is not None and segment[0] is not None:
            if last[3] == segment[3]:
                last[1] = segment[1]
                continue
            ended = last[1] if last[1] is not None else last[0]
            is_next = segment[0] - ended <= _GAP_SECONDS and len(last[3]) < _LONG
            if is_next and not _SENTENCE_END.search(last[3]):
                last[1], last[3] = segment[1], f"{last[3]} {segment[3]}"
                continue
        found.append(segment)
    return found


def _cues(text: str) -> Iterable[Segment]:
    """Read WebVTT and SubRip."""
    speaker: str | None = None
    is_vtt = text.lstrip("\ufeff \t\r\n").startswith("WEBVTT")
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.split("\n")
        number = next((place for place, line in enumerate(lines[:3]) if _CUE.match(line)), None)
        if number is None:
            continue
        times = _CUE.match(lines[number])
        assert times is not None  # noqa: S101 - it was found above
        start, end = _clock(times.groups()[:4]), _clock(times.groups()[4:])
        for voice, said in _voices(" ".join(lines[number + 1 :])):
            words, named = html.unescape(_TAG.sub("", said)).strip(), voice
            if voice is None and (match := _SPEAKER.match(words)) and _is_name(match[1]):
                named, words = match[1], words[match.end() :]
            speaker = named if is_vtt else named or speaker  # SubRip says it when it changes
            yield [start, end, speaker, words]


def _voices(payload: str) -> Iterable[tuple[str | None, str]]:
    """Split what a cue says by who says it."""
    parts = _VOICE.split(payload)
    if parts[0].strip():
        yield None, parts[0]
    for name, said in zip(parts[1::2], parts[2::2], strict=True):
        yield html.unescape(name).strip(), said


def _clock(parts: Iterable[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole + (int(fraction) / 10 ** len(fraction) if fraction else 0)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _json(text: str) -> Iterable[Segment]:
    """Read the JSON of the podcast namespace, and what Whisper and its like write."""
    found = json.loads(text)
    rows = found.get("segments") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise TranscriptError("There is no transcript in this JSON: it has no “segments”.")
    for row in rows:
        if isinstance(row, Mapping):
            said = row.get("body", row.get("text"))
            speaker = row.get("speaker")
            start, end = row.get("startTime", row.get("start")), row.get("endTime", row.get("end"))
            if isinstance(said, str):
                yield [start, end, speaker if isinstance(speaker, str) else None, said]


def plain(text: str) -> Iterable[Segment]:
    """Read prose: paragraphs, perhaps with "Name:" or a time before them, or on a line of their own."""
    speaker, start = None, None
    for paragraph in re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = [line.strip() for line in paragraph.split("\n") if line.strip()]
        while lines and (head := _head(lines[0])) is not None:
            name, at = head
            speaker, start = name or speaker, at if at is not None else start
            lines = lines[1:]
        said = " ".join(lines)
        if (stamp := _STAMP.match(said)) is not None:
            start, said = _stamp(stamp[1]), said[stamp.end() :]
        if (named := _SPEAKER.match(said)) is not None and _is_name(named[1]):
            speaker, said = named[1], said[named.end() :]
        if said:
            yield [start, None, speaker, said]
            start = None


def _head(line: str) -> tuple[str | None, float | None] | None:
    """Read a line that only says who speaks and when; None for one that says something."""
    match = _ALONE.fullmatch(line) if len(line) <= MAX_SPEAKER_CHARS else None
    if match is None:
        return None
    name, at = match["name"], match["before"] or match["after"]
    if name and not at and (not line.endswith(":") or not _is_name(name)):
        return None
    if not name and not at:
        return None
    return name, _stamp(at) if at else None


def _stamp(text: str) -> float:
    seconds = 0
    for part in text.split(":"):
        seconds = seconds * 60 + int(part)
    return float(seconds)


def _is_name(text: str) -> bool:
    """Tell a speaker from the beginning of a sentence that has a colon in it."""
    words = text.split()
    return 1 <= len(words) <= 4 and all(word[0].isupper() or word[0].isdigit() for word in words)
