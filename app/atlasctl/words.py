"""Times and lengths of time, as a person says them."""

from datetime import UTC, datetime

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def utc_now() -> datetime:
    """Return the time, in UTC and whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def exact_now() -> str:
    """Return a stamp that sorts after every earlier one of the same second."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def stamp(moment: datetime) -> str:
    """Return `2026-11-22T04:05:06Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: object) -> datetime | None:
    """Return the moment a stamp names, or None for anything else."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def ago(seconds: float) -> str:
    """Return a length of time in words: `45 seconds`, `3 minutes`, `2 hours`, `5 days`."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size or (seconds >= size and word == "minute"):
            count = int(seconds // size)
            return f"{count} {word}{'' if count == 1 else 's'}"
    count = max(0, int(seconds))
    return f"{count} second{'' if count == 1 else 's'}"


def size(count: float) -> str:
    """Return bytes in words: `512 bytes`, `34 kB`, `120 MB`, `1.3 GB`."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def clock(moment: datetime) -> str:
    """Return `04:05 UTC on 22 November`: short enough for a phone."""
    return f"{moment:%H:%M} UTC on {day(moment)}"


def day(moment: datetime) -> str:
    """Return `22 November`."""
    return f"{moment.day} {MONTHS[moment.month - 1]}"


def shorten(text: str, length: int) -> str:
    """Return `text` on one line, cut to `length` with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
