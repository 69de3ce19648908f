"""Bring a set of paths into a wanted state as one transaction: all of them, or none.

Standard library only: `install_tree` carries this file to the machine, the tests import it as it is.

Everything is built on two functions: `look` says what a path is now, `put` makes it so. A change is a path
with the state before and the state after; applying is `put(after)`, taking back is `put(before)` in reverse
order, and the journal on disk is the list of the states before, so that a run killed half way is taken back
by the next one.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import grp
import json
import os
import pwd
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOCK_SECONDS = 60
VALIDATE_SECONDS = 60
DIFF_LIMIT = 100_000
BYTECODE = "__pycache__"


class TreeError(Exception):
    """Something stands in the way; the message is for the operator."""


@dataclass(frozen=True)
class State:
    """What a path is: `absent`, `file`, `link`, `directory` or `special` (a device, a socket, a pipe).

    An owner, group or mode of None is not known yet, which only happens in check mode.
    """

    kind: str
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None
    content: bytes = b""
    target: str = ""
    mtime_ns: int | None = None

    def same(self, other: State) -> bool:
        """Compare all but the time of the last change."""
        mine = (self.kind, self.uid, self.gid, self.mode, self.content, self.target)
        return mine == (other.kind, other.uid, other.gid, other.mode, other.content, other.target)


ABSENT = State("absent")


@dataclass(frozen=True)
class Change:
    """A path that is not as wanted."""

    path: str
    before: State
    after: State
    secret: bool = False


@dataclass(frozen=True)
class Wanted:
    """A file or directory of the tree; owner and group are names or numbers, None is who runs this."""

    path: str
    mode: int
    owner: str | None = None
    group: str | None = None
    content: bytes = b""
    secret: bool = False


@dataclass(frozen=True)
class Tree:
    """What a machine should have. Paths are absolute and normalised; all lie below `dest`."""

    dest: str
    files: Sequence[Wanted] = ()
    directories: Sequence[Wanted] = ()
    absent: Sequence[str] = ()
    exclusive: Sequence[str] = ()
    directory_mode: int = 0o755
    owner: str | None = None
    group: str | None = None


@dataclass
class Result:
    """What `install` did, or in check mode would do."""

    changes: list[Change] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)


# --- one path --------------------------------------------------------------------------------------------


def look(path: str) -> State:
    """Say what `path` is now, without following a symbolic link."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return State("link", status.st_uid, status.st_gid, target=os.readlink(path))
    if stat.S_ISDIR(status.st_mode):
        return State("directory", status.st_uid, status.st_gid, mode)
    if stat.S_ISREG(status.st_mode):
        content = Path(path).read_bytes()
        return State("file", status.st_uid, status.st_gid, mode, content, mtime_ns=status.st_mtime_ns)
    return State("special", status.st_uid, status.st_gid, mode)


def put(path: str, state: State) -> None:
    """Make `path` be `state`; a file or link appears whole or not at all."""
    if state.kind == "absent":
        _remove(path)
    elif state.kind == "directory":
        _put_directory(path, state)
    else:
        spare = _spare(path)
        _remove(spare)
        if state.kind == "link":
            os.symlink(state.target, spare)
            _own(spare, state)
        else:
            _write(spare, state)
        if look(path).kind == "directory":
            Path(path).rmdir()
        os.replace(spare, path)


def _spare(path: str) -> str:
    # In the same directory, so that the rename is atomic; hidden and without a suffix anybody includes.
    head, tail = os.path.split(path)
    return os.path.join(head, f".{tail}.install_tree~")


def _remove(path: str) -> None:
    if stat.S_ISDIR(_mode_of(path)):
        os.rmdir(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _mode_of(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0


def _put_directory(path: str, state: State) -> None:
    if not stat.S_ISDIR(_mode_of(path)):
        _remove(path)
        os.mkdir(path, 0o700)
    _own(path, state)
    os.chmod(path, state.mode if state.mode is not None else 0o755)


def _write(path: str, state: State) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(state.content)
        _own(descriptor, state)
        os.fchmod(descriptor, state.mode if state.mode is not None else 0o644)
        if state.mtime_ns is not None:
            stream.flush()
            os.utime(descriptor, ns=(state.mtime_ns, state.mtime_ns))
        stream.flush()
        os.fsync(descriptor)


def _own(target: str | int, state: State) -> None:
    uid = -1 if state.uid is None else state.uid
    gid = -1 if state.gid is None else state.gid
    if isinstance(target, int):
        os.fchown(target, uid, gid)
    else:
        os.chown(target, uid, gid, follow_symlinks=False)


# --- the plan --------------------------------------------------------------------------------------------


class _Planner:
    """Collects changes in the order they can be made: directories before what is in them, removals last."""

    def __init__(self, tree: Tree, *, check: bool) -> None:
        self.tree = tree
        self.check = check
        self.changes: dict[str, Change] = {}
        self.replaced: set[str] = set()

    def look(self, path: str) -> State:
        """Look at `path`, but not through what is about to become a directory."""
        if any(path.startswith(f"{parent}/") for parent in self.replaced):
            return ABSENT
        return look(path)

    def want(self, path: str, after: State, *, secret: bool = False) -> None:
        before = self.look(path)
        if before.kind == "special":
            raise TreeError(f"{path} is a device, socket or pipe; remove it by hand if it is not needed")
        if before.kind == "directory" and after.kind == "file":
            if not self.exclusive(path):
                raise TreeError(f"{path} is a directory, but the tree has a file there; move it away")
            self.empty(path)
        if before.kind == "file" and after.kind == "directory" and not self.exclusive(path):
            raise TreeError(f"{path} is a file, but the tree has a directory there; move it away")
        if before.same(after):
            return
        if after.kind == "directory" and before.kind != "directory":
            self.replaced.add(path)
        self.changes[path] = Change(path, before, after, secret)

    def owner(self, wanted: Wanted) -> tuple[int | None, int | None]:
        return (
            _id("user", wanted.owner or self.tree.owner, check=self.check),
            _id("group", wanted.group or self.tree.group, check=self.check),
        )

    def directory(self, wanted: Wanted) -> None:
        self.parents(wanted.path)
        self.want(wanted.path, State("directory", *self.owner(wanted), wanted.mode))

    def file(self, wanted: Wanted) -> None:
        self.parents(wanted.path)
        after = State("file", *self.owner(wanted), wanted.mode, wanted.content)
        self.want(wanted.path, after, secret=wanted.secret)

    def parents(self, path: str) -> None:
        """Make the directories above `path` that are not there yet."""
        missing = []
        parent = os.path.dirname(path)
        while parent not in self.changes and parent != os.path.dirname(parent):
            if os.path.isdir(parent) and self.look(parent).kind != "absent":
                break
            if self.look(parent).kind != "absent":
                raise TreeError(f"{parent} is in the way: it is not a directory, but {path} belongs into it")
            missing.append(parent)
            parent = os.path.dirname(parent)
        for parent in reversed(missing):
            default = Wanted(parent, self.tree.directory_mode)
            self.changes[parent] = Change(
                parent, ABSENT, State("directory", *self.owner(default), self.tree.directory_mode)
            )

    def remove(self, path: str) -> None:
        before = self.look(path)
        if before.kind == "absent":
            return
        if before.kind == "special":
            raise TreeError(f"{path} is a device, socket or pipe; remove it by hand")
        if before.kind == "directory":
            self.empty(path)
        self.changes[path] = Change(path, before, ABSENT, secret=True)  # whose it was is not known

    def empty(self, directory: str) -> None:
        for name in sorted(os.listdir(directory)):
            self.remove(os.path.join(directory, name))

    def exclusive(self, path: str) -> bool:
        """Say whether the tree alone says what is there."""
        return any(path.startswith(f"{directory}/") for directory in self.tree.exclusive)

    def strangers(self, directory: str, known: set[str]) -> None:
        """Remove what lies in an exclusive directory and is not of the tree."""
        if self.look(directory).kind != "directory":
            return
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if path not in known:
                if name != BYTECODE:
                    self.remove(path)
            elif self.look(path).kind == "directory":
                self.strangers(path, known)


def plan(tree: Tree, *, check: bool = False) -> list[Change]:
    """List what differs between the machine and `tree`, in the order in which it can be put right.

    Raises TreeError when a path lies outside `tree.dest`, something that is not a file is in the way, or (not
    in check mode) an owner is not known to the machine.
    """
    planner = _Planner(tree, check=check)
    known: set[str] = set()
    for path in [
        *(wanted.path for wanted in (*tree.directories, *tree.files)),
        *tree.absent,
        *tree.exclusive,
    ]:
        _inside(tree.dest, path)
    for wanted in sorted(tree.directories, key=lambda wanted: wanted.path):
        planner.directory(wanted)
    for wanted in tree.files:
        planner.file(wanted)
    for wanted in (*tree.directories, *tree.files):
        path = wanted.path
        while path not in known and path != os.path.dirname(path):
            known.add(path)
            path = os.path.dirname(path)
    for directory in tree.exclusive:
        planner.strangers(directory, known)
    for path in tree.absent:
        planner.remove(path)
    return list(planner.changes.values())


def _inside(dest: str, path: str) -> None:
    if os.path.normpath(path) != path or not path.startswith(dest.rstrip("/") + "/"):
        raise TreeError(f"{path} is not below {dest}; a tree only touches what is below its dest")


def _id(kind: str, name: str | None, *, check: bool) -> int | None:
    if name is None:
        return os.geteuid() if kind == "user" else os.getegid()
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        if check:  # the task that would have made it was not run
            return None
        raise TreeError(f"there is no {kind} {name!r} on this machine; make it before its files") from None


# --- the transaction -------------------------------------------------------------------------------------


def install(
    tree: Tree, *, journal: str, validate: Sequence[Sequence[str]] = (), check: bool = False
) -> Result:
    """Bring the machine to `tree`, or leave it exactly as it was.

    `journal` is a directory only the caller's user may enter; it holds what was there before for as long as
    the transaction is open. An open transaction found there is one that was killed: it is taken back first.
    In check mode nothing is written or run.

    Raises TreeError: see `plan`; also when a command of `validate` fails, with its words, after everything
    was put back.
    """
    if check:
        return Result(plan(tree, check=True), journalled(journal))
    with locked(journal):
        result = Result(recovered=recover(journal))
        result.changes = plan(tree)
        if result.changes:
            begin(journal, result.changes)
            try:
                apply(result.changes, validate)
            except BaseException:
                recover(journal)
                raise
            close(journal)
        return result


def recover(journal: str) -> list[str]:
    """Take back the transaction that is open, if there is one; returns its paths.

    Raises TreeError when a path cannot be put back; the journal is kept then.
    """
    changes = _read(journal)
    for path, before in reversed(changes):
        try:
            _remove(_spare(path))
            put(path, before)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                continue  # a new directory that somebody has used meanwhile: not ours to empty
            raise TreeError(
                f"{path} could not be put back as it was: {error}. The next run tries again;"
                f" {_file(journal)} holds what was there before. Delete it to give that up."
            ) from error
    if changes:
        close(journal)
    return [path for path, _ in changes]


def apply(changes: Sequence[Change], validate: Sequence[Sequence[str]]) -> None:
    """Make the changes. Raises TreeError when a command of `validate` fails; taking back is the caller's."""
    for change in changes:
        put(change.path, change.after)
    for directory in sorted({os.path.dirname(change.path) for change in changes}):
        _sync(directory)
    for command in validate:
        _validate(command)


def _validate(command: Sequence[str]) -> None:
    words = " ".join(command)
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=VALIDATE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TreeError(f"`{words}` could not be run, so every file was put back: {error}") from error
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").strip() or f"exit code {done.returncode}, without a word"
        raise TreeError(f"`{words}` refused the new files, so every file was put back. It said:\n{said}")


# --- the journal -----------------------------------------------------------------------------------------


def _file(journal: str) -> str:
    return os.path.join(journal, "open.json")


@contextlib.contextmanager
def locked(journal: str) -> Iterator[None]:
    """Have the journal for oneself. Raises TreeError when another keeps it for too long."""
    os.makedirs(journal, mode=0o700, exist_ok=True)
    os.chmod(journal, 0o700)
    with Path(journal, "lock").open("w") as lock:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TreeError(
                        f"another play has been installing files for {LOCK_SECONDS} s; try again"
                    ) from None
                time.sleep(0.2)
        yield


def begin(journal: str, changes: Sequence[Change]) -> None:
    """Open a transaction: from here on `recover` takes the changes back."""
    entries = [
        {
            "path": change.path,
            **vars(change.before),
            "content": base64.b64encode(change.before.content).decode(),
        }
        for change in changes
    ]
    _write(_ready(_spare(_file(journal))), State("file", mode=0o600, content=json.dumps(entries).encode()))
    os.replace(_spare(_file(journal)), _file(journal))
    _sync(journal)


def _ready(path: str) -> str:
    _remove(path)
    return path


def _read(journal: str) -> list[tuple[str, State]]:
    try:
        entries = json.loads(Path(_file(journal)).read_bytes())
    except FileNotFoundError:
        return []
    changes = []
    for entry in entries:
        path = entry.pop("path")
        changes.append((path, State(**{**entry, "content": base64.b64decode(entry["content"])})))
    return changes


def journalled(journal: str) -> list[str]:
    """Name the paths of the transaction that is open, as far as this user may know."""
    try:
        return [path for path, _ in _read(journal)]
    except PermissionError:
        return []


def close(journal: str) -> None:
    """End the open transaction: what was changed stays."""
    os.unlink(_file(journal))
    _sync(journal)


def _sync(directory: str) -> None:
    if os.path.isdir(directory):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# --- what to show ----------------------------------------------------------------------------------------


def diffs(changes: Sequence[Change]) -> list[dict[str, str]]:
    """Ansible's `diff` of the changes: content unless it is secret, and what else differs."""
    return [
        {
            "before_header": change.path,
            "after_header": change.path,
            "before": _shown(change.before, change),
            "after": _shown(change.after, change),
        }
        for change in changes
    ]


def _shown(state: State, change: Change) -> str:
    if state.kind == "absent":
        return ""
    lines = []
    if not _same_attributes(change):
        mode = "?" if state.mode is None else f"{state.mode:04o}"
        lines.append(f"{state.kind} {_name('user', state.uid)}:{_name('group', state.gid)} {mode}\n")
    if state.kind == "link":
        lines.append(f"-> {state.target}\n")
    elif state.kind == "file" and change.before.content != change.after.content:
        lines.append(_content(state, change))
    return "".join(lines)


def _same_attributes(change: Change) -> bool:
    before, after = change.before, change.after
    return (before.kind, before.uid, before.gid, before.mode) == (
        after.kind,
        after.uid,
        after.gid,
        after.mode,
    )


def _content(state: State, change: Change) -> str:
    if change.secret:
        return "(old content, not shown)\n" if state is change.before else "(new content, not shown)\n"
    try:
        text = state.content.decode()
    except UnicodeDecodeError:
        return f"({len(state.content)} bytes that are not text)\n"
    return text if len(text) <= DIFF_LIMIT else f"({len(text)} characters, too long to show)\n"


def _name(kind: str, number: int | None) -> str:
    if number is None:
        return "?"
    try:
        return pwd.getpwuid(number).pw_name if kind == "user" else grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
