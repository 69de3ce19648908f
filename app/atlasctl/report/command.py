"""`atlasctl report`: print the week, or hand it to the machine's mail, which keeps it until it is sent."""

import json
import socket
from datetime import datetime
from typing import Any

from atlasctl.files import read_object, write, write_json
from atlasctl.mail import settings as mail_settings
from atlasctl.mail.settings import MailSettings
from atlasctl.paths import Paths
from atlasctl.report.letter import Letter, compose
from atlasctl.report.parts import gather, remember
from atlasctl.run import run
from atlasctl.settings import read_settings
from atlasctl.trouble import Trouble
from atlasctl.words import parse, shorten, stamp, utc_now

FILE = "atlas_report.prom"
APP_SECONDS = 180
SENDMAIL = "usr/sbin/sendmail"
APP = "usr/local/bin/atlas"


def report(paths: Paths, *, as_html: bool, send: bool, metrics: bool) -> int:
    """Run the command; 0 when the mail is safe with the machine's mail, or there is none to send by."""
    now = utc_now()
    state = read_object(paths.report_state)
    if metrics:
        settings = mail_settings.read(paths)
        state.setdefault("since", stamp(now))
        _keep(paths, settings, state)
        return 0
    mail = _mail(paths)
    if send and (mail is None or not mail.is_on):
        print("Mail is off (atlas_mail_server), so the weekly mail was not sent.")
        return 0
    app, why = ask_app(paths)
    disks = state.get("disks")
    parts = gather(paths, disks if isinstance(disks, dict) else {}, now)
    message = compose(Letter(parts, app, why, _name(paths), now), mail.owner if mail else "root")
    if not send or mail is None:
        body = message.get_body(("html",) if as_html else ("plain",))
        print(body.get_content() if body else "", end="")
        return 0
    done = run([str(paths.root / SENDMAIL), "-t", "-i"], timeout=60, stdin=message.as_string())
    if done.code != 0:
        raise Trouble(f"The weekly mail could not be handed in: {done.words}")
    state |= {"sent_at": stamp(now), "app_answered": bool(app), "disks": remember(paths.root, now)}
    _keep(paths, mail, state)
    print(f"Handed in: {message['Subject']}")
    return 0


def ask_app(paths: Paths) -> tuple[dict[str, Any], str]:
    """Return the app's letter, or nothing and why there is none."""
    program = paths.root / APP
    if not program.exists():
        return {}, "it is not installed on this machine"
    done = run([str(program), "report", "--weekly", "--json"], timeout=APP_SECONDS)
    try:
        letter = json.loads(done.out) if done.code == 0 else None
    except ValueError:
        letter = None
    if not isinstance(letter, dict) or not {"subject", "text", "html"} <= letter.keys():
        return {}, shorten(done.words, 200)
    return letter, ""


def _mail(paths: Paths) -> MailSettings | None:
    try:
        return mail_settings.read(paths)
    except Trouble:
        return None


def _name(paths: Paths) -> str:
    """Return how people call the machine: the host of its address, else its own name."""
    address = read_settings(paths.settings).get("ATLAS_PUBLIC_URL", "")
    return address.partition("://")[2].partition("/")[0] or socket.gethostname()


def _keep(paths: Paths, mail: MailSettings, state: dict[str, Any]) -> None:
    write_json(paths.report_state, state)
    write(mail.textfile_directory / FILE, _metrics(state))


def _metrics(state: dict[str, Any]) -> str:
    """Return the text of the metrics file; before the first mail its time is when it was set up."""
    at = parse(state.get("sent_at")) or parse(state.get("since"))
    rows = [
        ("timestamp_seconds", "When the weekly mail was handed in last, or set up.", _seconds(at)),
        ("app_answered", "Whether the app had its part in it.", int(bool(state.get("app_answered", True)))),
    ]
    return "".join(
        f"# HELP atlas_weekly_report_{name} {words}\n# TYPE atlas_weekly_report_{name} gauge\n"
        f"atlas_weekly_report_{name} {value}\n"
        for name, words, value in rows
    )


def _seconds(moment: datetime | None) -> int:
    return int(moment.timestamp()) if moment else 0
