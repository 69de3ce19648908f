"""What is remembered of an authority that did not sign: why, and when it may be asked again.

renewal.json, which is there only while something is in the way:

    trouble    a sentence for the owner (the health check shows it)
    failures   how often in a row the authority was asked in vain
    until      before this moment the timer does not ask again
    closed     before this one nobody does: the authority said so
    request    for what was asked; for something else, the memory does not count
"""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

FILE = "renewal.json"
MOMENTS = ("until", "closed")
FIRST_WAIT = timedelta(hours=1)
LONGEST_WAIT = timedelta(hours=24)


class Memory(NamedTuple):
    """What is remembered."""

    trouble: str
    failures: int
    until: datetime
    closed: datetime
    request: dict[str, Any]

    def waits(self, now: datetime, *, patient: bool) -> bool:
        """Say whether it is too early to ask again."""
        return now < self.closed or (patient and now < self.until)


def recall(home: Path, request: dict[str, Any], now: datetime) -> Memory:
    """Return what is remembered of this request; an empty memory when there is nothing."""
    try:
        kept = json.loads((home / FILE).read_text())
        moments = {name: datetime.fromisoformat(kept[name]) for name in MOMENTS}
        memory = Memory(**{**kept, **moments})
    except (OSError, ValueError, KeyError, TypeError):
        memory = None
    if memory is None or memory.request != request:
        return Memory("", 0, until=now, closed=now, request=request)
    return memory


def remember(home: Path, memory: Memory) -> None:
    """Keep what is in the way, for everybody to read."""
    aside = home / f".{FILE}"
    moments = {name: getattr(memory, name).isoformat() for name in MOMENTS}
    aside.write_text(json.dumps({**memory._asdict(), **moments}, indent=2) + "\n")
    aside.chmod(0o644)
    aside.replace(home / FILE)


def forget(home: Path) -> None:
    """All is well."""
    (home / FILE).unlink(missing_ok=True)


def wait(failures: int) -> timedelta:
    """Return how long to leave an authority alone after so many failures: twice as long each time."""
    return min(FIRST_WAIT * (1 << min(failures - 1, 10)), LONGEST_WAIT)
