"""The page of alerts: what is wrong, buttons to keep it quiet, and what was wrong lately. No script."""

import html
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from atlasctl.alerts.history import DAYS, Episode
from atlasctl.alerts.sources import Alert, Silence, thing
from atlasctl.health import page as status_page
from atlasctl.words import ago, clock, shorten, stamp

#: So much of each is shown; a phone shows no more, and a storm stays a page.
SHOWN_ALERTS = 20
SHOWN_QUIET = 10
SHOWN_SILENCES = 10
SHOWN_EPISODES = 30
STYLES = (status_page.STYLE, Path(__file__).with_name("alerts.css"))
#: Severities as the status page's colours.
COLOURS = {"critical": "CRITICAL", "warning": "DEGRADED", "info": "INFO"}
#: What is said after a button was pressed, by the word in the address.
DONE = {
    "silenced": "It is kept quiet.",
    "ended": "The silence has ended.",
    "gone": "That alert is not there any more.",
    "stale": "Nothing was done: the page was too old. Try again.",
    "failed": "Nothing was done: Alertmanager did not answer as it should. Try again.",
}


class Look(NamedTuple):
    """What is known when the page is made; a trouble instead of what could not be learnt."""

    alerts: Sequence[Alert] = ()
    silences: Sequence[Silence] = ()
    trouble: str = ""
    episodes: Sequence[Episode] = ()
    history_trouble: str = ""


def style() -> str:
    """Return the style sheet: the status page's, and some."""
    return "".join(file.read_text(encoding="utf-8") for file in STYLES)


def render(look: Look, now: datetime, *, docs: str, token: str, done: str = "") -> str:
    """Return the page. `token` goes into each form; `done` is a word of DONE."""
    loud = [one for one in look.alerts if not one.quiet]
    quiet = [one for one in look.alerts if one.quiet]
    word, colour = _verdict(look, loud)
    said = f'<p class="done" role="status">{DONE[done]}</p>' if done in DONE else ""
    parts = [
        f'<h1>Alerts</h1>\n{said}\n<p class="say {colour}">{word}</p>',
        f'<p class="old">{html.escape(look.trouble)}. What is wrong now cannot be shown, and nobody is told. '
        'The <a href="/status/">status page</a> says more.</p>'
        if look.trouble
        else "",
        _section("Now", [_alert(one, now, docs, token) for one in loud], SHOWN_ALERTS),
        _section("Kept quiet", [_quiet(one, now) for one in quiet], SHOWN_QUIET),
        _section("Silences", [_silence(one, now, token) for one in look.silences], SHOWN_SILENCES),
        _section(f"The last {DAYS} days", [_episode(one, now) for one in look.episodes], SHOWN_EPISODES),
        _no_history(look),
        _foot(now),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex">\n'
        f"<title>Atlas: {html.escape(_title(look, loud))}</title>\n"
        '<link rel="stylesheet" href="/alerts/alerts.css">\n</head>\n<body>\n<main>\n'
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _title(look: Look, loud: list[Alert]) -> str:
    if look.trouble:
        return "alerts unknown"
    return f"{len(loud)} alert{'' if len(loud) == 1 else 's'}" if loud else "no alerts"


def _verdict(look: Look, loud: list[Alert]) -> tuple[str, str]:
    if look.trouble:
        return "Unknown.", "DOWN"
    if not loud:
        return "Nothing is wrong.", "HEALTHY"
    count = f"{len(loud)} alert{'' if len(loud) == 1 else 's'}."
    return count, COLOURS[loud[0].severity]


def _foot(now: datetime) -> str:
    return (
        '<p class="foot"><a href="/alerts/">Look again</a> <a href="/status/">Status</a> '
        f'<small>As of <time datetime="{stamp(now)}">{now:%H:%M:%S} UTC</time></small></p>'
    )


def _no_history(look: Look) -> str:
    if look.history_trouble:
        return f"<h2>The last {DAYS} days</h2>\n<p>{html.escape(look.history_trouble)}</p>"
    return "" if look.episodes else f"<h2>The last {DAYS} days</h2>\n<p>No alert.</p>"


def _section(title: str, items: list[str], most: int) -> str:
    return status_page.section(title, items, most, "atlasctl alerts")


def _alert(alert: Alert, now: datetime, docs: str, token: str) -> str:
    annotations = alert.annotations
    return (
        f'<li><b class="{COLOURS[alert.severity]}">{alert.severity.upper()}: '
        f"{_text(annotations.get('summary') or alert.name, 160)}</b>\n"
        f"<small>{_text(thing(alert.labels), 120)}, {_since(alert.since, now)}</small>\n"
        f"{_text(annotations.get('description', ''), 400)}\n"
        f"<p>{_runbook(annotations.get('runbook', ''), docs)} {_graph(alert.graph)}</p>\n"
        f'<form method="post" action="/alerts/silence"><input type="hidden" name="token" value="{token}">'
        f'<input type="hidden" name="alert" value="{_text(alert.id, 64)}">'
        '<button name="hours" value="1">Silence for 1 h</button> '
        '<button name="hours" value="24">Silence for 1 day</button></form></li>'
    )


def _quiet(alert: Alert, now: datetime) -> str:
    return (
        f"<li><b>{_text(alert.annotations.get('summary') or alert.name, 120)}</b> ({alert.why_quiet})"
        f"<small>{_text(thing(alert.labels), 120)}, {_since(alert.since, now)}</small></li>"
    )


def _silence(silence: Silence, now: datetime, token: str) -> str:
    left = ago(max(0.0, (silence.until - now).total_seconds()))
    return (
        f"<li><b>{_text(silence.what, 200)}</b><small>for {left} more, until {_time(silence.until)}, "
        f"by {_text(silence.by, 40)}</small>"
        f'<form method="post" action="/alerts/end"><input type="hidden" name="token" value="{token}">'
        f'<input type="hidden" name="silence" value="{_text(silence.id, 64)}">'
        "<button>End silence</button></form></li>"
    )


def _episode(episode: Episode, now: datetime) -> str:
    severity = COLOURS.get(episode.labels.get("severity", ""), "DEGRADED")
    if episode.end is None:
        length = f"for {ago((now - episode.start).total_seconds())}, still"
    else:
        length = f"for {ago((episode.end - episode.start).total_seconds())}, until {_time(episode.end)}"
    return (
        f'<li><b class="{severity}">{_text(thing(episode.labels), 120)}</b>'
        f"<small>{_time(episode.start)}, {length}</small></li>"
    )


def _runbook(runbook: str, docs: str) -> str:
    if not runbook:
        return ""
    if not docs:
        return f"What to do: <code>{_text(runbook, 120)}</code>"
    return f'<a href="{html.escape(docs)}/{html.escape(runbook)}">What to do</a>'


def _graph(url: str) -> str:
    """Return a link to the graph; Prometheus' own address, but whoever posts an alert may say another."""
    return f'<a href="{html.escape(url)}">Graph</a>' if re.match(r"https?://", url) else ""


def _since(moment: datetime, now: datetime) -> str:
    return f"for {ago((now - moment).total_seconds())}, since {_time(moment)}"


def _time(moment: datetime) -> str:
    return f'<time datetime="{stamp(moment)}">{clock(moment)}</time>'


def _text(text: str, length: int) -> str:
    return html.escape(shorten(text, length))
