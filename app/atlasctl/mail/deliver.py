"""Sending what waits. Started when something is handed in and every minute; msmtp does the talking.

What a server refuses to take from us at all (it is away, the password is wrong, its certificate does not
fit) stops the run: the next message would fare the same. The whole queue is then tried again after a while
that grows, up to ten minutes. What it refuses to take of one message holds up that message alone. Nothing is
given up before `keep_days`, and what is given up is moved to `refused` and told, not deleted.
"""

import sys
import time
from typing import Any

from atlasctl.files import locked, read_object, write_json
from atlasctl.mail import spool
from atlasctl.mail.settings import MailSettings
from atlasctl.run import run
from atlasctl.words import shorten, stamp, utc_now

LONGEST_WAIT_SECONDS = 600
#: A message of ten megabytes over a slow line.
SEND_SECONDS = 300
#: What msmtp ends with when it is this message or its recipients that are refused (sysexits.h).
OWN_FAULT = frozenset({65, 67, 69})
GIVEN_UP_KEPT = 100

State = dict[str, Any]


def deliver(settings: MailSettings, *, at_once: bool) -> int:
    """Send what is due; return 0 also when a server would not, as that is told by health and metrics."""
    with locked(settings.spool / "lock", "atlasctl mail", stamp(utc_now())):
        state = read_state(settings)
        for odd in spool.take_in(settings.spool):
            _say(4, odd)
        _keep_bounds(settings, state)
        if settings.is_on:
            _send_due(settings, state, at_once=at_once)
        state["run_at"] = time.time()
        write_json(settings.spool / "state.json", state)
    return 0


def read_state(settings: MailSettings) -> State:
    """Return what is remembered from run to run, whatever of it is there."""
    known = read_object(settings.spool / "state.json")
    fresh: State = {
        "sent": 0,
        "dropped": 0,
        "given_up": 0,
        "failures": 0,
        "next_at": 0.0,
        "last_success": None,
        "trouble": None,
        "trouble_since": None,
        "run_at": None,
        "mails": {},
    }
    return fresh | {key: value for key, value in known.items() if key in fresh}


def _keep_bounds(settings: MailSettings, state: State) -> None:
    """Hold the spool to its size, and give up what waited too long."""
    queue = settings.spool / "queue"
    dropped = spool.bound(queue, settings.max_messages, settings.max_bytes)
    if dropped:
        state["dropped"] += dropped
        _say(3, f"the queue is full: the {dropped} oldest messages are gone")
    for mail in spool.waiting(queue):
        if time.time() - mail.at > settings.keep_days * 86400:
            mail.path.rename(settings.spool / "refused" / mail.name)
            if settings.is_on:
                state["given_up"] += 1
                _say(3, f"given up after {settings.keep_days} days, kept in refused: {mail.name}")
    spool.bound(settings.spool / "refused", GIVEN_UP_KEPT, settings.max_bytes)
    names = {mail.name for mail in spool.waiting(queue)}
    state["mails"] = {name: known for name, known in state["mails"].items() if name in names}


def _send_due(settings: MailSettings, state: State, *, at_once: bool) -> None:
    now = time.time()
    if not spool.waiting(settings.spool / "queue"):
        # Nothing waits, so there is nothing to hold against a server any more.
        state.update(failures=0, next_at=0.0, trouble=None, trouble_since=None)
        return
    if not at_once and now < state["next_at"]:
        return
    # Who failed least goes first, so that one that always fails holds up nobody.
    due = sorted(
        spool.waiting(settings.spool / "queue"),
        key=lambda mail: (_known(state, mail.name)["failures"], mail.at),
    )
    for mail in due:
        if not at_once and now < _known(state, mail.name)["next_at"]:
            continue
        if not _send(settings, state, mail):
            return


def _send(settings: MailSettings, state: State, mail: spool.Mail) -> bool:
    """Send one message; return whether the server is there for the next one."""
    try:
        content = mail.path.read_bytes()
        envelope, message = spool.parse(content)
    except (OSError, ValueError) as error:
        mail.path.rename(settings.spool / "refused" / mail.name)
        _say(3, f"cannot be read, kept in refused: {mail.name}: {error}")
        return True
    argv = ["msmtp", *(["--read-recipients"] if envelope.get("read_recipients") else [])]
    with mail.path.open("rb", buffering=0) as file:
        file.seek(len(content) - len(message))
        done = run([*argv, "--", *envelope["to"]], timeout=SEND_SECONDS, stdin=file)
    if done.code == 0:
        mail.path.unlink()
        state["mails"].pop(mail.name, None)
        if state["trouble"]:
            _say(5, "mail is delivered again")
        state.update(sent=state["sent"] + 1, last_success=time.time(), failures=0, next_at=0.0)
        state.update(trouble=None, trouble_since=None)
        return True
    words = shorten(_reason(done.err or done.words), 300)
    known = _known(state, mail.name)
    known["failures"] += 1
    known["trouble"] = words
    state["mails"][mail.name] = known
    if done.code in OWN_FAULT and "server message: 4" not in done.err:
        known["next_at"] = time.time() + _wait(settings, known["failures"])
        _say(4, f"refused by the server, tried again later: {mail.name}: {words}")
        return True
    if state["trouble"] != words:
        _say(4, f"not delivered, tried again later: {words}")
    state["failures"] += 1
    state.update(next_at=time.time() + _wait(settings, state["failures"]), trouble=words)
    state["trouble_since"] = state["trouble_since"] or time.time()
    return False


def _known(state: State, name: str) -> dict[str, Any]:
    return state["mails"].get(name) or {"failures": 0, "next_at": 0.0, "trouble": None}


def _wait(settings: MailSettings, failures: int) -> float:
    # A little less than the timer's step, which is not exact to the second.
    return float(min(settings.retry_seconds * 2 ** min(failures - 1, 10), LONGEST_WAIT_SECONDS)) - 1


def _reason(said: str) -> str:
    """Return what msmtp says in one line: its own words and the server's, without its last, empty ones."""
    lines = [line.removeprefix("msmtp: ").strip() for line in said.splitlines()]
    return "; ".join(line for line in lines if line and not line.startswith("could not send mail"))


def _say(priority: int, text: str) -> None:
    print(f"<{priority}>{text}", file=sys.stderr, flush=True)
