"""restic, which encrypts, compresses, deduplicates and keeps; here only how it is called and understood."""

import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from atlasctl.backup import state as memory
from atlasctl.backup.parts import LONG_SECONDS
from atlasctl.backup.settings import BackupSettings, Repository
from atlasctl.run import TIMED_OUT, Result, run
from atlasctl.trouble import Trouble

CACHE = "/var/cache/atlas-backup"
#: All snapshots of ours carry it.
TAG = "atlas"
#: What only reads waits for no lock: one is left of a run that was killed; our own keeps two apart.
READING = frozenset({"cat", "snapshots", "stats", "restore", "find", "check", "ls"})
#: restic's exit code when it could not read all it was told to.
INCOMPLETE = 3
#: Names of damaged packs, and of the snapshots that need them, in what restic says.
PACK = re.compile(r"\b(?:pack|want) ([0-9a-f]{8,64})\b")
IN_SNAPSHOT = re.compile(r"snapshot ([0-9a-f]{8})\b")
DAMAGED = "what is stored is damaged. `atlasctl drill` says which snapshots are affected"
#: What restic says, and what it means to whoever has to do something about it.
MEANINGS = (
    ("wrong password", "the password in {password} does not open it. The emergency sheet has the right one"),
    ("no key found", "the password in {password} does not open it. The emergency sheet has the right one"),
    ("invalid data returned", DAMAGED),
    ("ciphertext verification failed", DAMAGED),
    ("connection refused", "nobody answers there"),
    ("no such host", "its name is not known"),
    ("i/o timeout", "it does not answer"),
    ("access denied", "the key of the storage service is refused there"),
    ("AccessDenied", "the key of the storage service is refused there"),
    ("InvalidAccessKeyId", "the storage service does not know our key"),
    ("SignatureDoesNotMatch", "the secret of the storage service's key is wrong"),
    ("QuotaExceeded", "the storage is full: its quota is used up"),
    ("no space left", "the disk is full"),
    ("TooManyRequests", "the storage service wants fewer requests"),
    ("SlowDown", "the storage service wants fewer requests"),
    ("InternalError", "the storage service has an error of its own"),
)  # fmt: skip


class Snapshot(NamedTuple):
    """A backup in a repository."""

    id: str
    time: str
    tags: tuple[str, ...]
    paths: tuple[str, ...]
    repository: str

    @property
    def kind(self) -> str:
        """What it holds: full, database, ..."""
        return next((tag for tag in self.tags if tag != TAG), "full")


class Restic:
    """One repository, opened with our password."""

    def __init__(self, settings: BackupSettings, repository: Repository) -> None:
        """Remember whose it is; nothing is asked yet."""
        self._settings = settings
        self.repository = repository

    def prepare(self, *, is_known: bool) -> None:
        """Make the repository if there is none, and forget locks of processes that are gone.

        Raises Trouble for one that `is_known` and is gone: what was in it is missed, and not begun anew.
        """
        patience = self._settings.patience
        if not self.is_there():
            if is_known:
                name = self.repository.name
                raise Trouble(
                    f"The repository {name} was there before and is gone ({self.repository.url}). "
                    f"Bring it back, or begin it anew: atlasctl backup --anew {name}"
                )
            self.must("cannot be made", "init", "--repository-version=2", timeout=patience)
        self.must("cannot be unlocked", "unlock", timeout=patience)
        # restic tries for 15 minutes to write what is refused; this writes no more than a lock.
        self.must("cannot be written to", "key", "list", timeout=patience)

    def backup(self, kind: str, at: float, paths: list[Path], exclude: list[str]) -> dict[str, Any]:
        """Store `paths` as the snapshot of a moment (seconds since 1970); return restic's summary.

        Raises Trouble also when something could not be read; then there is no such snapshot.
        """
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
        argv = ["backup", "--json", f"--tag={TAG},{kind}", f"--time={moment}", "--host=atlas"]
        argv += [f"--limit-upload={self._settings.upload_kib}"] if self._settings.upload_kib else []
        argv += [f"--exclude={one}" for one in exclude]
        done = self._call(*argv, *map(str, paths), timeout=LONG_SECONDS)
        summary = _last(done.out, "summary")
        if done.code == INCOMPLETE:
            if half := summary.get("snapshot_id"):  # it would be taken for the newest
                # Where our key may not delete it stays, and nobody can see what it is.
                memory.remember_half(self._settings, half[:8])
                self._call("forget", half, timeout=LONG_SECONDS)
            raise self._trouble("did not get all there is", done)
        if done.code != 0:
            raise self._trouble("was not written", done)
        return summary

    def snapshots(self) -> list[Snapshot]:
        """List our snapshots, the oldest first, without such as did not get all there was.

        A repository that was not made yet has none.
        """
        done = self._call("snapshots", "--json", f"--tag={TAG}", timeout=LONG_SECONDS)
        if done.code != 0 and not _is_missing(done.err):
            raise self._trouble("does not say what it holds", done)
        said = done.out if done.code == 0 else "[]"
        half = memory.read(self._settings)["half"]
        found = [
            Snapshot(
                one["short_id"], one["time"], tuple(one.get("tags") or ()), tuple(one["paths"]),
                self.repository.name,
            )
            for one in json.loads(said or "[]") or []
            if one["short_id"] not in half
        ]  # fmt: skip
        return sorted(found, key=lambda one: one.time)

    def restore(self, snapshot: str, target: Path, include: list[Path]) -> None:
        """Write what a snapshot holds of `include` (all, if empty) below `target`."""
        argv = [
            "restore",
            snapshot,
            "--verify",
            f"--target={target}",
            *(f"--include={one}" for one in include),
        ]
        self.must("could not be restored from", *argv, timeout=LONG_SECONDS)

    def size(self, snapshot: str, paths: list[Path]) -> int:
        """Return how many bytes restoring `paths` (all, if empty) of a snapshot takes."""
        with tempfile.TemporaryFile(dir=self._settings.directory) as listed:  # a line for each file there is
            done = self._call("ls", "--json", snapshot, timeout=LONG_SECONDS, stdout=listed)
            if done.code != 0:
                raise self._trouble("does not say what a snapshot holds", done)
            listed.seek(0)
            nodes = (json.loads(line) for line in listed)
            return sum(
                int(one.get("size", 0))
                for one in nodes
                if one.get("type") == "file" and (not paths or _is_below(Path(one["path"]), paths))
            )

    def is_there(self) -> bool:
        """Whether the repository was made. Raises Trouble when nobody can say."""
        found = self._call("cat", "config", timeout=self._settings.patience)
        if found.code != 0 and not _is_missing(found.err):
            raise self._trouble("cannot be opened", found)
        return found.code == 0

    def stored(self) -> int:
        """Return the bytes the repository takes."""
        said = self.must("does not say how large it is", "stats", "--json", "--mode=raw-data")
        return int(json.loads(said)["total_size"])

    def forget(self) -> None:
        """Remove what is older than is kept, and the data only that had."""
        keep = [f"--keep-{name}={count}" for name, count in self._settings.keep.items() if count]
        if self.repository.directory:  # of the last day all: one of them is from just before the mistake
            keep.append("--keep-within=1d")
        # Half-empty packs are left alone: to write them anew costs more requests than the room is worth.
        argv = ["forget", f"--tag={TAG}", "--group-by=tags", *keep, "--prune", "--max-unused=10%"]
        self.must("could not be pruned", *argv, timeout=LONG_SECONDS)

    def keys(self) -> list[dict[str, Any]]:
        """List the keys that open the repository; the one in use is marked `current`."""
        found: list[dict[str, Any]] = json.loads(
            self.must("does not say who opens it", "key", "list", "--json")
        )
        return found

    def add_key(self, password_file: Path) -> None:
        """Let another password open the repository, too; nothing happens when it does already."""
        if not self._is_opened_by(password_file):
            self.must("takes no other password", "key", "add", f"--new-password-file={password_file}")

    def remove_other_keys(self) -> None:
        """Let only our password open the repository."""
        for key in self.keys():
            if not key["current"]:
                self.must("keeps an old password", "key", "remove", key["id"])

    def check(self, part: int, parts: int) -> None:
        """Read the repository's structure, and one of `parts` of its data.

        Raises Trouble naming the snapshots that need what is damaged.
        """
        done = self._call("check", f"--read-data-subset={part}/{parts}", timeout=LONG_SECONDS)
        if done.code == 0:
            return
        packs = sorted(set(PACK.findall(done.out + done.err)))
        affected: set[str] = set()
        if packs:
            found = self._call("find", "--pack", *packs, timeout=LONG_SECONDS)
            affected = set(IN_SNAPSHOT.findall(found.out))
        lost = f" Damaged snapshots: {', '.join(sorted(affected))}" if affected else ""
        raise Trouble(f"{self._trouble('is damaged', done)}{lost}")

    def _is_opened_by(self, password_file: Path) -> bool:
        other = Restic(self._settings._replace(password_file=password_file), self.repository)
        return other._call("cat", "config", timeout=self._settings.patience).code == 0

    def must(self, what: str, *argv: str, timeout: float = 1800) -> str:
        """Run restic and return what it printed. Raises Trouble saying that the repository `what`."""
        done = self._call(*argv, timeout=timeout)
        if done.code != 0:
            raise self._trouble(what, done)
        return done.out

    def _call(self, *argv: str, timeout: float, stdout: BinaryIO | None = None) -> Result:
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": "/root",
            "TZ": "UTC",
            "TMPDIR": str(self._settings.directory),
            "GOGC": "40",  # slower by a little, and half the memory
            "RESTIC_CACHE_DIR": CACHE,
            "RESTIC_PASSWORD_FILE": str(self._settings.password_file),
            "RESTIC_REPOSITORY": self.repository.url,
            **self.repository.environment,
        }
        reading = ["--no-lock"] if argv[0] in READING else []
        return run(["restic", *argv, *reading], timeout=timeout, env=environment, stdout=stdout)

    def _trouble(self, what: str, done: Result) -> Trouble:
        said = " ".join(map(_plain, done.err.splitlines())).strip() or done.words
        meaning = next((text for sign, text in MEANINGS if sign.lower() in said.lower()), None)
        if done.code == TIMED_OUT and meaning is None:
            meaning = "it took too long"
        words = (meaning or "restic says").format(password=self._settings.password_file)
        return Trouble(f"The repository {self.repository.name} {what}: {words}. ({said[-300:]})")


def _plain(line: str) -> str:
    """Return a line restic says as words; asked for JSON, newer ones complain in it, too."""
    try:
        return " ".join(str(json.loads(line)["message"]).split())
    except (ValueError, KeyError, TypeError):
        return line.strip()


def _is_below(path: Path, tops: list[Path]) -> bool:
    return any(path.is_relative_to(top) for top in tops)


def _is_missing(said: str) -> bool:
    """Whether there is no repository yet; anything else that is wrong must not make a new one."""
    signs = ("config: no such file or directory", "key does not exist", "bucket does not exist")
    return any(sign in said for sign in signs)


def _last(lines: str, kind: str) -> dict[str, Any]:
    found = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    return next((one for one in reversed(found) if one.get("message_type") == kind), {})
