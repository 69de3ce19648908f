"""Where backups go and how long they stay, as role backup wrote it down."""

from pathlib import Path
from typing import Any, NamedTuple

from atlasctl.files import read_object
from atlasctl.paths import Paths
from atlasctl.trouble import Trouble


class Repository(NamedTuple):
    """A restic repository."""

    name: str
    url: str
    #: What restic needs to know besides: keys of a storage service.
    environment: dict[str, str]
    #: Whether this machine removes old snapshots there; if not, somebody with another key does.
    prune: bool
    #: Bytes it may take; 0 for as many as there are.
    budget: int

    @property
    def directory(self) -> Path | None:
        """Where it stands when it is on this machine."""
        return Path(self.url) if self.url.startswith("/") else None


class BackupSettings(NamedTuple):
    """What role backup decided; sizes in bytes, rates in KiB a second."""

    repositories: tuple[Repository, ...]
    password_file: Path
    #: Holds the set being made, scratch places, and what is remembered.
    directory: Path
    parts_directory: Path
    textfile_directory: Path
    #: Options of `restic forget`: {"daily": 30, ...}.
    keep: dict[str, int]
    upload_kib: int
    #: Hours after which a backup, and days after which a proof of one, is too old.
    warn_hours: int
    drill_days: int
    #: The data of a repository is read once in so many drills.
    read_in: int
    #: Seconds after which a storage that does not let itself be opened is given up for this time.
    patience: int
    #: Days for which the state a restore replaced is kept.
    undo_days: int
    #: How jobs end of which a mail tells: success, failure.
    mail: tuple[str, ...]

    @property
    def state(self) -> Path:
        """What is remembered from run to run."""
        return self.directory / "state.json"

    @property
    def staging(self) -> Path:
        """The set that is being made; on disk, so that nothing is uploaded that was not read back whole."""
        return self.directory / "set"

    @property
    def lock(self) -> Path:
        """Held by whoever makes, restores, removes or tries backups."""
        return self.directory / "lock"

    def repository(self, name: str) -> Repository:
        """Return the repository of that name. Raises Trouble naming those there are."""
        for one in self.repositories:
            if one.name == name:
                return one
        names = ", ".join(one.name for one in self.repositories)
        raise Trouble(f"There is no repository {name!r}; there are: {names}.")


def read(paths: Paths) -> BackupSettings:
    """Read the settings. Raises Trouble when there are none, or we may not see them."""
    try:
        paths.backup_settings.read_bytes()
    except PermissionError:
        raise Trouble("Backups are root's. Run this with sudo.") from None
    except FileNotFoundError:
        raise Trouble("Backups are not set up on this machine. Role backup does it: run site.yml.") from None
    try:
        return _settings(paths, read_object(paths.backup_settings))
    except KeyError as error:
        words = f"{paths.backup_settings} lacks {error}. Role backup writes it: run site.yml."
        raise Trouble(words) from None


def _settings(paths: Paths, known: dict[str, Any]) -> BackupSettings:
    return BackupSettings(
        repositories=tuple(
            Repository(
                one["name"],
                one["url"],
                one.get("environment", {}),
                one.get("prune", True),
                one.get("budget_gb", 0) * 10**9,
            )
            for one in known["repositories"]
        ),
        password_file=paths.below_root(Path(known["password_file"])),
        directory=paths.below_root(Path(known["directory"])),
        parts_directory=paths.root / "etc/atlas/backup.d",
        textfile_directory=paths.below_root(Path(known["textfile_directory"])),
        keep=known["keep"],
        upload_kib=known["upload_kib"],
        warn_hours=known["warn_hours"],
        drill_days=known["drill_days"],
        read_in=known["read_in"],
        patience=known["patience"],
        undo_days=known["undo_days"],
        mail=tuple(known["mail"]),
    )
