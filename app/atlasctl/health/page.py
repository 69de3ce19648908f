"""The status page: static files that need no script, no app and no database."""

import html
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from atlasctl.files import write
from atlasctl.health.state import State
from atlasctl.words import ago, clock, day, parse, shorten, stamp

STALE_SECONDS = 180
#: More than a phone shows; with these limits the page stays below 15 KB whatever the checks say.
SHOWN_BAD = 10
SHOWN_GOOD = 24
SHOWN_NEWS = 4

WORDS = {
    State.HEALTHY: ("Yes", "Everything works."),
    State.DEGRADED: ("Yes", "It works, but something wants your attention."),
    State.CRITICAL: ("No", "Something is broken."),
    State.DOWN: ("No", "Something is down."),
}

STYLE = Path(__file__).with_name("status.css")


def publish(directory: Path, report: dict[str, Any]) -> None:
    """Write the page for the owner, the page for everybody, both as JSON, and their style sheet."""
    said = {key: report[key] for key in ("ok", "checked_at")}
    files = {
        "status.css": STYLE.read_text(encoding="utf-8"),
        "index.html": full(report),
        "public.html": public(report),
        "status.json": json.dumps(report, indent=1, ensure_ascii=False) + "\n",
        "public.json": json.dumps(said) + "\n",
    }
    for name, text in files.items():
        write(directory / name, text, durable=False)  # written again in 30 s: not worth the wait for the disk


def full(report: dict[str, Any]) -> str:
    """Return the owner's page."""
    now = _moment(report["checked_at"])
    state = State[report["state"]]
    word, lead = WORDS[state]
    bad = [check for check in report["checks"] if check["state"] != "HEALTHY"]
    good = [check for check in report["checks"] if check["state"] == "HEALTHY"]
    bad.sort(key=lambda check: -State[check["state"]])
    parts = [
        f'<h1>Is Atlas all right?</h1>\n<p class="word {state.name}">{word}.</p>\n<p class="lead">{lead}',
        f"<small>{_since(report['since'], now)}.</small></p>",
        _freshness(now),
        section("What is wrong", [_bad(check, now) for check in bad], SHOWN_BAD),
        section("On hold", [f"<li>{_text(note, 120)}</li>" for note in report["notes"]], SHOWN_NEWS),
        section("What is fine", [_good(check) for check in good], SHOWN_GOOD),
        section("Restarted", [_event(event, now) for event in reversed(report["restarts"])], SHOWN_NEWS),
        section("What changed", [_change(change, now) for change in reversed(report["changes"])], SHOWN_NEWS),
    ]
    return _page(f"Atlas: {word.lower()}", "\n".join(part for part in parts if part))


def public(report: dict[str, Any]) -> str:
    """Return the page for everybody: OK or not OK, and when that was seen."""
    state = State.HEALTHY if report["ok"] else State.DOWN
    word = "OK" if report["ok"] else "Not OK"
    size = "word" if report["ok"] else "word long"
    body = f'<h1>Atlas</h1>\n<p class="{size} {state.name}">{word}</p>\n'
    body += _freshness(_moment(report["checked_at"]))
    return _page(f"Atlas: {word}", body)


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="refresh" content="30">\n<meta name="robots" content="noindex">\n'
        f'<title>{title}</title>\n<link rel="stylesheet" href="status.css">\n</head>\n'
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _freshness(now: datetime) -> str:
    """Say when the checks ran: a static page cannot know its own age, its reader can."""
    limit = datetime.fromtimestamp(now.timestamp() + STALE_SECONDS, now.tzinfo)
    return (
        f'<p class="old">Checked at <time datetime="{stamp(now)}">{now:%H:%M:%S} UTC</time> on {day(now)}, '
        f"and again every 30 seconds. Is it later than {limit:%H:%M} UTC now? "
        "Then this page is old: the checks have stopped, do not believe it.</p>"
    )


def section(title: str, items: list[str], most: int, command: str = "atlasctl status") -> str:
    """Return a list under a heading, or nothing; of more than `most` items, `command` shows the rest."""
    if not items:
        return ""
    left = len(items) - most
    more = [f"<li>and {left} more: <code>{command}</code></li>"] if left > 0 else []
    return f"<h2>{title}</h2>\n<ul>\n" + "\n".join(items[:most] + more) + "\n</ul>"


def _bad(check: dict[str, Any], now: datetime) -> str:
    return (
        f'<li><b class="{check["state"]}">{_text(check["title"], 40)}: {check["state"].lower()}</b> '
        f"{_text(check['message'], 200)}<small>{_since(check['since'], now)}</small></li>"
    )


def _good(check: dict[str, Any]) -> str:
    once = "" if check["observed"] == "HEALTHY" else "seen once, does not count yet: "
    return f"<li><b>{_text(check['title'], 40)}</b> {_text(once + check['message'], 70)}</li>"


def _event(event: dict[str, Any], now: datetime) -> str:
    reason = event["reason"] if event["worked"] else f"{event['reason']}; it failed: {event['said']}"
    return (
        f"<li><b>{_text(event['unit'], 60)}</b> {_text(reason, 120)}"
        f"<small>{_ago(event['at'], now)}</small></li>"
    )


def _change(change: dict[str, Any], now: datetime) -> str:
    return (
        f"<li><b>{_text(change['title'], 40)}: "
        f'<span class="{change["to"]}">{change["to"].lower()}</span></b> '
        f"{_text(change['message'], 90)}<small>{_ago(change['at'], now)}</small></li>"
    )


def _moment(text: str) -> datetime:
    moment = parse(text)
    if moment is None:
        raise ValueError(text)
    return moment


def _since(text: str, now: datetime) -> str:
    moment = _moment(text)
    return f"For {ago((now - moment).total_seconds())}, since {_time(moment)}"


def _ago(text: str, now: datetime) -> str:
    moment = _moment(text)
    return f"{ago((now - moment).total_seconds())} ago, at {_time(moment)}"


def _time(moment: datetime) -> str:
    return f'<time datetime="{stamp(moment)}">{clock(moment)}</time>'


def _text(text: str, length: int) -> str:
    return html.escape(shorten(text, length))
