"""How Atlas talks: stages, ages and reading times in plain words. Pure functions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from atlas.stages.table import DONE, Stage

#: How fast people read prose, in words a minute.
WORDS_A_MINUTE = 230

_URL_IN_TEXT = re.compile(r"https?://[^\s<>\"“”]+", re.IGNORECASE)
_BARE_ADDRESS = re.compile(r"[\w-]+(\.[\w-]+)*\.[a-z]{2,24}(:\d{1,5})?([/?#]\S*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class State:
    """What the library shows together: `key` as in `/?state=key`, the words for it, the stages it holds."""

    key: str
    label: str
    stages: frozenset[Stage] | None


STATES: Mapping[str, State] = MappingProxyType(
    {
        state.key: state
        for state in (
            State("", "All", None),
            State("ready", "Ready", DONE),
            State(
                "waiting",
                "On the way",
                frozenset(Stage) - DONE - {Stage.DUPLICATE, Stage.PERMANENT_ERROR},
            ),
            State("failed", "Failed", frozenset({Stage.PERMANENT_ERROR})),
            State("duplicate", "Already here", frozenset({Stage.DUPLICATE})),
        )
    }
)

#: What an item is, for whoever chooses among them.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "article": "Article",
        "podcast": "Podcast",
        "video": "Video",
        "note": "Note",
        "mail": "Mail",
        "file": "File",
    }
)

#: How it came in.
SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "web": "These pages",
        "feed": "A feed",
        "import": "An import",
        "api": "The API",
        "client": "Another app",
        "mail": "Mail",
        "file": "A file",
        "cli": "The command line",
    }
)

#: The steps a reader sees while waiting, and the stage at which each is done.
STEPS = (
    ("Saved", Stage.CONTENT_QUEUED),
    ("Fetch", Stage.ACQUISITION_COMPLETE),
    ("Check", Stage.VALIDATION_COMPLETE),
    ("Read", Stage.PROCESSING_COMPLETE),
    ("File", Stage.COMPLETE),
)

_STAGE_WORDS: Mapping[int, str] = MappingProxyType(
    {
        Stage.BATCH_RECEIVED: "Waiting for its turn in an import",
        Stage.QUEUE_PENDING: "Waiting for its turn",
        Stage.CONTENT_QUEUED: "Waiting to be fetched",
        Stage.FETCH_ATTEMPTING: "Being fetched",
        Stage.FETCH_FAILED: "Fetching failed",
        Stage.FALLBACK_ATTEMPTING: "Being looked for elsewhere",
        Stage.CONTENT_RETRIEVED: "Fetched",
        Stage.CONTENT_ARCHIVED: "Found in an archive",
        Stage.ACQUISITION_COMPLETE: "Fetched",
        Stage.VALIDATION_STARTED: "Being checked",
        Stage.VALIDATION_FAILED: "Did not pass the checks",
        Stage.VALIDATION_COMPLETE: "Checked",
        Stage.PROCESSING_STARTED: "Being read",
        Stage.PROCESSING_COMPLETE: "Read",
        Stage.FINALISATION_STARTED: "Being filed",
        Stage.CONTENT_INDEXED: "Searchable",
        Stage.COMPLETE: "Ready to read",
        Stage.ARCHIVED_FINAL: "Archived",
        Stage.DUPLICATE: "Already here",
        Stage.RATE_LIMITED: "The site asked us to slow down",
        Stage.PERMANENT_ERROR: "Could not be saved",
        Stage.SYSTEM_ERROR: "Will be tried again",
    }
)


def state_of(stage: int) -> str:
    """Return the key of the state a stage belongs to."""
    return next(key for key, state in STATES.items() if state.stages is not None and stage in state.stages)


def stage_words(stage: int) -> str:
    """Say where an item stands."""
    known = _STAGE_WORDS.get(stage)
    return known or Stage(stage).name.replace("_", " ").capitalize()


def reason_words(code: str) -> str:
    """Say what a code of an error means, for a list of reasons: "login_wall" is "Login wall"."""
    return f"HTTP {code[5:]}" if code.startswith("http_") else code.replace("_", " ").capitalize()


def progress(stage: int) -> list[tuple[str, str]]:
    """Return each of STEPS with "done", "now" or ""; an item that waits to be tried again is fetched next."""
    reached = stage if stage <= Stage.DUPLICATE else Stage.CONTENT_QUEUED
    current = next((name for name, end in STEPS if reached < end), "")
    return [(name, "done" if reached >= end else "now" if name == current else "") for name, end in STEPS]


def ago(then: datetime, now: datetime) -> str:
    """Say how long ago `then` was, as short as a list wants it; a date when it is longer than a week."""
    seconds = (now - then).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 86_400:
        return f"{int(seconds // 3600)} h ago"
    days = (now.date() - then.date()).days
    if days <= 1:
        return "yesterday"
    return f"{days} days ago" if days < 7 else day(then, now)


def until(then: datetime, now: datetime) -> str:
    """Say how soon `then` is."""
    seconds = (then - now).total_seconds()
    if seconds < 10:
        return "now"
    if seconds < 90:
        return f"in {int(seconds)} seconds"
    if seconds < 5400:
        return f"in {round(seconds / 60)} minutes"
    return f"in {round(seconds / 3600)} hours" if seconds < 129_600 else f"on {day(then, now)}"


def day(then: datetime, now: datetime) -> str:
    """Return a date, without the year while it is the present one."""
    text = f"{then.day} {then:%b}"
    return text if then.year == now.year else f"{text} {then.year}"


def iso(then: datetime | str) -> str:
    """Return a time as HTML's `datetime` attribute wants it."""
    return then if isinstance(then, str) else then.astimezone(UTC).isoformat(timespec="seconds")


def reading_time(word_count: int | None) -> str:
    """Return the minutes a text takes to read; nothing when it has no words."""
    return f"{max(1, round(word_count / WORDS_A_MINUTE))} min" if word_count else ""


def clock(seconds: float) -> str:
    """Return a place in a recording as players show it: 4:05, 1:02:09."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def wait_words(seconds: float) -> str:
    """Say how long to wait, rounded up so that waiting that long is enough."""
    whole = -int(-seconds // 1)
    if whole < 90:
        return f"{whole} second{'s' if whole != 1 else ''}"
    return f"{-(-whole // 60)} minutes"


def size(count: int) -> str:
    """Return a count with thin separators: 12,345."""
    return f"{count:,}"


def find_url(*texts: str) -> str:
    """Return the address in what was typed or shared, looking through `texts` in order; "" if there is none.

    Phones share "Title https://example.org/x" as one text, and people type "example.org/x".
    """
    first = texts[0].strip() if texts else ""
    if _BARE_ADDRESS.fullmatch(first):
        return f"https://{first}"
    for text in texts:
        found = _URL_IN_TEXT.search(text)
        if found:
            return _without_tail(found.group())
    return first


def _without_tail(url: str) -> str:
    """Drop the punctuation of the sentence the address stands in, but not a bracket the address opened."""
    opened = {")": "(", "]": "["}
    while url:
        last = url[-1]
        if last not in ".,;:!?'…\u2019" and url.count(last) <= url.count(opened.get(last, last)):
            break
        url = url[:-1]
    return url


def soon(due_at: datetime | None, now: datetime) -> bool:
    """Tell whether watching an item for a while is worth it."""
    return due_at is not None and due_at - now < timedelta(minutes=1)


def device(agent: str) -> str:
    """Name a browser and system as its owner would, from a User-Agent."""
    browsers = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("FxiOS", "Firefox"),
                ("CriOS", "Chrome"), ("Chrome", "Chrome"), ("Safari", "Safari"))  # fmt: skip
    systems = (("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
               ("Mac OS", "Mac"), ("CrOS", "Chromebook"), ("Linux", "Linux"))  # fmt: skip
    browser = next((name for sign, name in browsers if f"{sign}/" in agent), "")
    system = next((name for sign, name in systems if sign in agent), "")
    return " on ".join(filter(None, (browser, system))) or "Unknown device"
