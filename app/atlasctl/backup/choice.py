"""Which snapshot to bring back, asked of whoever sits there."""

from collections.abc import Callable
from datetime import datetime, timedelta

from atlasctl.backup.restic import Snapshot
from atlasctl.trouble import Trouble
from atlasctl.words import stamp, utc_now

SHOWN = 15
#: What was made later than this from now was made by a clock that was wrong, or is read by one.
AHEAD = timedelta(hours=1)


def choose(found: list[Snapshot], ask: Callable[[str], str] = input) -> Snapshot:
    """Show the newest numbered, and return the one that is chosen; Enter is the newest.

    `found` has them by repository, the nearest first: of a run that several have, that one's is shown.
    """
    runs = {(one.time, one.kind): one for one in reversed(found)}
    shown = sorted(runs.values(), key=_age, reverse=True)[:SHOWN]
    for number, one in enumerate(shown, 1):
        print(f"{number:3}  {one.id}  {stamp(moment(one))}  {one.kind:10} {one.repository}")
    while True:
        try:
            said = ask(f"Which? [1-{len(shown)}, Enter: 1] ").strip() or "1"
        except EOFError:
            raise Trouble("Nothing was chosen, and nothing changed.") from None
        if said.isascii() and said.isdigit() and 1 <= int(said) <= len(shown):
            return shown[int(said) - 1]


def newest(found: list[Snapshot]) -> Snapshot:
    """Return the newest, the first of several of one moment.

    One of a moment that has not come yet is taken only where there is no other.
    """
    return max(found, key=_age)


def _age(snapshot: Snapshot) -> tuple[bool, datetime]:
    return moment(snapshot) <= utc_now() + AHEAD, moment(snapshot)


def moment(snapshot: Snapshot) -> datetime:
    """Return when it was made: restic runs by UTC, and writes more digits than Python reads."""
    return datetime.fromisoformat(f"{snapshot.time[:19]}+00:00")
