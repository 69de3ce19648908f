"""What `/usr/sbin/sendmail` does: take a message and keep it. It needs no right, no network, no settings."""

import sys
from pathlib import Path

from atlasctl.mail.spool import MAX_BYTES, hand_in
from atlasctl.trouble import Trouble

SPOOL = Path("/var/spool/atlas-mail")
#: sysexits.h: what cron and others expect of sendmail.
USAGE, CANNOT_KEEP = 64, 75
#: Options that have a value of their own, here or in the next word.
WITH_VALUE = "BCFfhLNOopRrVX"


def main(words: list[str], spool: Path = SPOOL) -> int:
    """Take the message on standard input; return 0 once it is safe on disk."""
    try:
        recipients, read_recipients = arguments(words)
    except ValueError as error:
        print(f"sendmail: {error}", file=sys.stderr)
        return USAGE
    message = sys.stdin.buffer.read(MAX_BYTES + 1)
    if not recipients and not read_recipients:
        print("sendmail: no recipient is named; -t takes those in the message", file=sys.stderr)
        return USAGE
    try:
        hand_in(spool, {"to": recipients, "read_recipients": read_recipients}, message)
    except Trouble as error:
        print(f"sendmail: {error}", file=sys.stderr)
        return CANNOT_KEEP
    return 0


def arguments(words: list[str]) -> tuple[list[str], bool]:
    """Return the recipients, and whether those of the message's head are meant; raises ValueError."""
    recipients: list[str] = []
    read_recipients = False
    rest = iter(words)
    for word in rest:
        if word == "--":
            recipients += rest
        elif not word.startswith("-") or word == "-":
            recipients.append(word)
        elif word == "-t":
            read_recipients = True
        elif word.startswith("-b") and word != "-bm":
            raise ValueError(f"{word} is not done here: atlasctl mail tells what waits")
        elif len(word) == 2 and word[1] in WITH_VALUE and next(rest, None) is None:
            raise ValueError(f"{word} needs a value")
    return recipients, read_recipients
