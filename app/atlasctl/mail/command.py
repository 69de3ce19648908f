"""`atlasctl mail`: what waits and why; a test mail; what health and the metrics say of it."""

import argparse
import json
import socket
import time
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any

from atlasctl.files import write
from atlasctl.mail import spool
from atlasctl.mail.deliver import deliver, read_state
from atlasctl.mail.settings import MailSettings, read
from atlasctl.paths import Paths
from atlasctl.run import run
from atlasctl.trouble import Trouble
from atlasctl.words import ago, clock, utc_now

UNIT = "atlas-mail.service"
FILE = "atlas_mail.prom"
TEST_SECONDS = 120


def mail(paths: Paths, asked: argparse.Namespace) -> int:
    """Run the verb; 0 when mail is delivered (or off)."""
    settings = read(paths)
    match asked.verb:
        case "test":
            return _test(settings, asked.to)
        case "flush":
            return _flush(settings)
        case "deliver":
            return deliver(settings, at_once=(settings.spool / "flush").exists())
        case "metrics":
            write(settings.textfile_directory / FILE, metrics(settings, read_state(settings)))
            return 0
        case "check":
            code, words = judge(settings, read_state(settings))
            print(words)
            return code
        case _:
            return _status(settings, as_json=asked.json)


def judge(settings: MailSettings, state: dict[str, Any]) -> tuple[int, str]:
    """Return how it is for health.d: 0, or 1 when mail does not get out, and that in words."""
    queue = [*spool.waiting(settings.spool / "queue"), *spool.waiting(settings.spool / "incoming")]
    count = f"{len(queue)} message{'' if len(queue) == 1 else 's'}"
    if not settings.is_on:
        kept = f", {count} kept" if queue else ""
        return 0, f"off: no mail server is set (atlas_mail_server){kept}"
    waited = max((time.time() - one.at for one in queue), default=0)
    if waited > settings.warn_minutes * 60:
        troubles = [one["trouble"] for one in state["mails"].values() if one.get("trouble")]
        why = state["trouble"] or next(
            iter(troubles), f"is atlas-mail.timer running? systemctl status {UNIT}"
        )
        return 1, f"{count} not delivered, the oldest for {ago(waited)}: {why}"
    last = state["last_success"]
    return 0, f"last delivered {ago(time.time() - last)} ago" if last else "nothing was sent yet"


def metrics(settings: MailSettings, state: dict[str, Any]) -> str:
    """Return the text of the metrics file."""
    queue = [*spool.waiting(settings.spool / "queue"), *spool.waiting(settings.spool / "incoming")]
    oldest = min((one.at for one in queue), default=None)
    rows = [
        ("configured", "gauge", "Whether there is a mail server to send by.", int(settings.is_on)),
        ("queue_length", "gauge", "Messages that wait to be sent.", len(queue)),
        ("queue_bytes", "gauge", "How large they are.", sum(one.size for one in queue)),
        ("queue_oldest_timestamp_seconds", "gauge", "When the one that waits longest came.", oldest),
        ("last_success_timestamp_seconds", "gauge", "When a message was sent last.", state["last_success"]),
        ("run_timestamp_seconds", "gauge", "When the queue was looked at last.", state["run_at"]),
        ("failing", "gauge", "Whether the server took nothing when asked last.", int(bool(state["trouble"]))),
        ("sent_total", "counter", "Messages that were sent.", state["sent"]),
        ("dropped_total", "counter", "Messages lost, as the queue was full.", state["dropped"]),
        ("given_up_total", "counter", "Messages that could not be sent for too long.", state["given_up"]),
    ]
    lines = []
    for name, kind, words, value in rows:
        if value is not None:
            lines += [f"# HELP atlas_mail_{name} {words}", f"# TYPE atlas_mail_{name} {kind}"]
            lines.append(f"atlas_mail_{name} {value}")
    return "\n".join(lines) + "\n"


def _status(settings: MailSettings, *, as_json: bool) -> int:
    state = read_state(settings)
    code, words = judge(settings, state)
    queue = spool.waiting(settings.spool / "queue")
    if as_json:
        told = {key: state[key] for key in ("sent", "dropped", "given_up", "last_success", "trouble")}
        print(
            json.dumps(
                {"on": settings.is_on, "well": code == 0, "said": words, "waiting": len(queue), **told}
            )
        )
        return code
    print(f"{'server':12} {settings.server or 'none: mail is kept here'}")
    print(f"{'owner':12} {settings.owner or 'nobody is named (atlas_mail_to)'}")
    print(f"{'mail':12} {words}")
    print(f"{'sent':12} {state['sent']} (lost {state['dropped']}, given up {state['given_up']})")
    now = time.time()
    for one in queue:
        why = (state["mails"].get(one.name) or {}).get("trouble") or "waits"
        print(f"  {ago(now - one.at):12} {one.size:9,} bytes  {why}")
    return code


def _test(settings: MailSettings, to: str | None) -> int:
    """Send a mail the way programs do, and wait until it is gone."""
    if not settings.is_on:
        raise Trouble("Mail is off: set atlas_mail_server and atlas_mail_to, and run the playbook.")
    message = EmailMessage()
    message["To"] = to or "root"
    message["Subject"] = f"Test from {socket.gethostname()}: mail works"
    message["Date"] = formatdate(localtime=False)
    message.set_content(f"Sent by atlasctl mail test, {clock(utc_now())}. Nothing is to be done.\n")
    envelope = {"to": [to or "root"], "read_recipients": False}
    mark = spool.hand_in(settings.spool, envelope, message.as_bytes()).rpartition("-")[2]
    _flush(settings)
    left = [one for one in spool.waiting(settings.spool / "queue") if one.name.endswith(mark)]
    if not left:
        print(f"Delivered to {settings.server} for {to or settings.owner}. Whether it arrives you see there.")
        return 0
    known = read_state(settings)["mails"].get(left[0].name) or {}
    raise Trouble(f"Not delivered yet, and kept: {known.get('trouble') or 'it still waits'}")


def _flush(settings: MailSettings) -> int:
    """Have everything tried now, whatever it waits for."""
    try:
        (settings.spool / "flush").touch()
        done = run(["systemctl", "start", UNIT], timeout=TEST_SECONDS)
    finally:
        (settings.spool / "flush").unlink(missing_ok=True)
    if done.code != 0:
        raise Trouble(f"{UNIT} failed: {done.words}. Look: atlasctl logs atlas-mail")
    return judge(settings, read_state(settings))[0]
