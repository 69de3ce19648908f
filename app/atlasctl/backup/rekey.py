"""Another password for all repositories: the new one is added and tried before the old one is removed."""

from atlasctl.backup.restic import Restic
from atlasctl.backup.settings import BackupSettings
from atlasctl.files import write
from atlasctl.trouble import Trouble


def is_ours(settings: BackupSettings, password: str) -> bool:
    """Whether it is the password that is in use already."""
    file = settings.password_file
    return file.exists() and password == file.read_text(encoding="utf-8").strip()


def rekey(settings: BackupSettings, password: str) -> int:
    """Let `password` open all repositories, and the old one none. Raises Trouble, and changes nothing."""
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
    fresh = settings.password_file.with_name("password.new")
    write(fresh, password + "\n", mode=0o600)
    changed = settings._replace(password_file=fresh)
    try:
        for repository in settings.repositories:
            Restic(settings, repository).add_key(fresh)
            Restic(changed, repository).keys()
    except Trouble:
        fresh.unlink()
        raise
    fresh.replace(settings.password_file)
    for repository in settings.repositories:
        Restic(settings, repository).remove_other_keys()
    names = ", ".join(one.name for one in settings.repositories)
    print(f"The new password opens {names}; the old one does not any more. Print a new emergency sheet.")
    return 0
