"""What role mail says: where mail goes, and what may wait."""

from pathlib import Path
from typing import NamedTuple

from atlasctl.files import read_object
from atlasctl.paths import Paths
from atlasctl.trouble import Trouble


class MailSettings(NamedTuple):
    """`/etc/atlas/mail.json`; no secret is in it."""

    server: str
    owner: str
    spool: Path
    textfile_directory: Path
    retry_seconds: int
    warn_minutes: int
    keep_days: int
    max_messages: int
    max_bytes: int

    @property
    def is_on(self) -> bool:
        """Whether there is a server to send by."""
        return self.server != ""


def read(paths: Paths) -> MailSettings:
    """Return the settings; raises Trouble where role mail has not been."""
    known = read_object(paths.mail_settings)
    try:
        return MailSettings(
            server=str(known["server"]),
            owner=str(known["owner"]),
            spool=paths.below_root(Path(known["spool"])),
            textfile_directory=paths.below_root(Path(known["textfile_directory"])),
            retry_seconds=int(known["retry_seconds"]),
            warn_minutes=int(known["warn_minutes"]),
            keep_days=int(known["keep_days"]),
            max_messages=int(known["max_messages"]),
            max_bytes=int(known["max_bytes"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Trouble(
            f"{paths.mail_settings} is missing or damaged ({error}). Run the playbook: role mail."
        ) from None
