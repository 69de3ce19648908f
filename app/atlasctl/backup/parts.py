"""What there is to back up: one file of `backup.d` a system, dropped there by its role.

    {"title": "Database", "part": "database", "tool": "/usr/local/lib/atlas-backup/postgresql"}
    {"title": "Originals", "part": "originals", "paths": ["/var/lib/atlas"], "exclude": ["*.tmp"],
     "units": ["atlas-api.service"], "reload": [], "proof": ["/usr/local/lib/atlas-backup/atlas"]}

A tool is a program that knows a database. It is run in a directory of the set, with one of these verbs:

    dump            write the set there, with facts.json: what a restored copy must agree with
    verify          read all of it; exit code 0 only when it is whole
    load NAME       make the scratch copy NAME of it, and compare it with the facts
    swap NEW OLD    let the scratch copy NEW be the live one, and call that OLD
    exists NAME     exit code 0 when there is such a copy, 3 when there is none
    adopt           let the app in with the secrets that are here
    url NAME        print how the app reaches it
    newest [NAME]   print when it was changed last, in seconds since 1970, and its items: 1795725630.7|812
    drop NAME       remove it
"""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from atlasctl.files import take
from atlasctl.run import NOT_FOUND, Result, run
from atlasctl.trouble import Trouble

#: For whatever takes longer the more there is: dumps, loads, transfers.
LONG_SECONDS = 6 * 3600
#: So long a tool that nobody waits for any more is waited for.
PATIENCE_SECONDS = 600
#: A tool's exit code for what there is not.
THERE_IS_NONE = 3
#: What can be restored alone. What is for reading only is restored to a directory, never in place.
KINDS = ("database", "originals", "config", "reading")
KNOWN = frozenset({"title", "part", "paths", "exclude", "tool", "units", "reload", "proof"})


class Part(NamedTuple):
    """What one role has to back up."""

    name: str
    title: str
    kind: str
    paths: tuple[Path, ...]
    exclude: tuple[str, ...]
    tool: str | None
    #: Stopped while this part is exchanged.
    units: tuple[str, ...]
    #: Told to read their files again afterwards.
    reload: tuple[str, ...]
    #: Program that shows that a restored copy works: PROGRAM DATABASE_URL DATA_DIRECTORY.
    proof: tuple[str, ...]


def read(directory: Path) -> list[Part]:
    """Read all of `backup.d`. Raises Trouble for a file that is not as it must be: half a backup is none."""
    found = [_part(path) for path in sorted(directory.glob("*.json"))]
    if not found:
        raise Trouble(f"Nothing to back up is named in {directory}. The roles put it there: run site.yml.")
    return found


def call(part: Part, verb: str, *names: str, cwd: Path = Path("/")) -> str:
    """Let a part's tool do something, and return what it prints. Raises Trouble when it cannot."""
    done = _run(part, verb, *names, timeout=LONG_SECONDS, cwd=cwd)
    if done.code != 0:
        raise Trouble(f"{part.title}: {verb} failed: {done.words}")
    return done.out.strip()


def has(part: Part, name: str) -> bool:
    """Whether there is a scratch copy of that name. Raises Trouble when nobody can say: that is no no."""
    done = _run(part, "exists", name, timeout=60)
    if done.code not in (0, THERE_IS_NONE):
        raise Trouble(f"{part.title}: exists failed: {done.words}")
    return done.code == 0


def _run(part: Part, *words: str, timeout: float, cwd: Path = Path("/")) -> Result:
    """Run a part's tool, one at a time: it goes on when who started it is killed, and the next one waits."""
    try:
        with Path(str(part.tool)).open("rb") as file:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not take(file):
                if time.monotonic() > deadline:
                    raise Trouble(f"{part.title}: {part.tool} is still at work for somebody who was killed.")
                time.sleep(0.1)
            # The lock is the tool's as well, and ends with the last of them.
            return run([str(part.tool), *words], timeout=timeout, cwd=cwd, keep=(file.fileno(),))
    except FileNotFoundError:
        return Result(NOT_FOUND, "", f"{part.tool}: not found")


def _part(path: Path) -> Part:
    try:
        known = json.loads(path.read_bytes())
        _refuse(known)
        return Part(
            name=path.stem,
            title=known["title"],
            kind=known["part"],
            paths=tuple(Path(one) for one in known.get("paths", ())),
            exclude=tuple(known.get("exclude", ())),
            tool=known.get("tool"),
            units=tuple(known.get("units", ())),
            reload=tuple(known.get("reload", ())),
            proof=tuple(known.get("proof", ())),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        words = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise Trouble(f"{path} cannot be used: {words}. Its role writes it: run site.yml.") from None


def _refuse(known: dict[str, Any]) -> None:
    """Raise ValueError for what is in a file and should not be, or is not and should."""
    unknown = set(known) - KNOWN
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    if known["part"] not in KINDS:
        raise ValueError(f"part is none of {', '.join(KINDS)}")
    if not known.get("paths") and not known.get("tool"):
        raise ValueError("names neither paths nor a tool")
