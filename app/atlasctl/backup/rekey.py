"""Another password for all repositories: added and tried before it is ours; then no other opens them.

Whenever this is killed, the file holds one that opens them all; that others may do so, too, is written down.
"""

from pathlib import Path

from atlasctl.backup.restic import Restic
from atlasctl.backup.settings import BackupSettings, Repository
from atlasctl.files import write
from atlasctl.trouble import Trouble


def is_ours(settings: BackupSettings, password: str) -> bool:
    """Whether it is the password that is in use already, and no other is any more."""
    return _is_in_use(settings, password) and not is_unfinished(settings)


def is_unfinished(settings: BackupSettings) -> bool:
    """Whether passwords that are not ours are left to be removed."""
    return _left(settings).exists()


def rekey(settings: BackupSettings, password: str) -> int:
    """Let `password` open all repositories, and the old one none. Raises Trouble when one cannot be asked."""
    if len(password) < 16:
        raise Trouble(
            "The new password must have 16 characters or more; it is all that keeps backups secret."
        )
    if not settings.password_file.exists():
        write(settings.password_file, password + "\n", mode=0o600)
        print("The password is kept.")
        return 0
    if is_ours(settings, password):
        print("That is the password already.")
        return 0
    if not _is_in_use(settings, password):
        _add(settings, password)
    finish(settings)
    print("The new password is the machine's. Print a new emergency sheet.")
    return 0


def finish(settings: BackupSettings) -> None:
    """Let no other password than ours open a repository."""
    for one in _made(settings):
        if one.prune:
            Restic(settings, one).remove_other_keys()
            print(f"{one.name}: it is opened by the machine's password, and by no other.")
        else:
            print(
                f"{one.name}: it is opened by the machine's password. This machine removes nothing there: "
                "the old one is removed by somebody else (restic key list, restic key remove ID)."
            )
    _left(settings).unlink(missing_ok=True)


def _add(settings: BackupSettings, password: str) -> None:
    """Let another password open all, and be ours when it does. Raises Trouble, and ours stays as it is."""
    write(_left(settings), "A password that is not ours may open repositories.\n", mode=0o600)
    fresh = settings.password_file.with_name("password.new")
    write(fresh, password + "\n", mode=0o600)
    changed = settings._replace(password_file=fresh)
    try:
        for repository in _made(settings):
            Restic(settings, repository).add_key(fresh)
            Restic(changed, repository).keys()
    except Trouble:
        fresh.unlink()
        raise
    fresh.replace(settings.password_file)


def _made(settings: BackupSettings) -> list[Repository]:
    return [one for one in settings.repositories if Restic(settings, one).is_there()]


def _is_in_use(settings: BackupSettings, password: str) -> bool:
    file = settings.password_file
    return file.exists() and password == file.read_text(encoding="utf-8").strip()


def _left(settings: BackupSettings) -> Path:
    return settings.password_file.with_name("others")
