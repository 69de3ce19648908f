"""The weekly letter, as text and as HTML: no scripts, nothing fetched, charts of letters and boxes."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jinja2
from markupsafe import Markup

from atlas.report.week import Week

_BLOCKS = "▁▂▃▄▅▆▇█"

#: Singular and plural.
_KINDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "article": ("article", "articles"),
        "podcast": ("episode", "episodes"),
        "video": ("video", "videos"),
        "note": ("note", "notes"),
        "mail": ("mail", "mails"),
        "file": ("file", "files"),
    }
)
_SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "api": "by API",
        "web": "saved on the web page",
        "cli": "at the command line",
        "client": "by other apps",
        "feed": "from feeds",
        "import": "from imports",
        "mail": "from the mailbox",
        "file": "from files",
    }
)

#: The oldest wait beyond which the queue is worth a word, in seconds.
LONG_WAIT = 3600


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent."""

    subject: str
    text: str
    html: str


def write(week: Week, public_url: str) -> Letter:
    """Put a week into words."""
    todo = todos(week)
    facts = {
        "week": week,
        "url": public_url,
        "todo": todo,
        "headline": headline(week),
        "compared": compared(week),
        "kinds": [
            (kind_words(kind, count), share(count, week.new)) for kind, count in week.by_kind().items()
        ],
        "sources": [
            (f"{number(count)} {_SOURCES.get(source, source)}", share(count, week.new))
            for source, count in week.by_source().items()
        ],
        "health": health(week),
        "period": period(week),
        "charts": [
            ("Came in, by day", bars(week.days, week.added_by_day, week.since), "good"),
            ("Given up, by day", bars(week.days, week.failed_by_day, week.since), "bad"),
        ],
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("atlas.report"),
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(
        number=number, ago=ago, size=size, spark=spark, plain=plain, breaker=breaker, coded=coded
    )
    subject = f"Atlas: {number(week.new)} new" + (f", {len(todo)} to do" if todo else ", all is well")
    text = environment.get_template("weekly.txt").render(facts)
    return Letter(subject, text, environment.get_template("weekly.html").render(facts))


def headline(week: Week) -> str:
    """Say the week in one sentence."""
    came = f"{number(week.new)} {'item' if week.new == 1 else 'items'} came in"
    if week.given_up == 0:
        return f"{came}, and none was given up."
    return f"{came}; {number(week.given_up)} could not be saved."


def compared(week: Week) -> str:
    """Say how the week was beside those before it; "" when there were none."""
    usual = week.usual()
    if usual is None or usual < 1:
        return ""
    change = round((week.new - usual) / usual * 100)
    if abs(change) < 15:
        return f"About as many as in the weeks before ({number(round(usual))})."
    words = "more" if change > 0 else "fewer"
    return f"{abs(change)} % {words} than in the weeks before ({number(round(usual))})."


def todos(week: Week) -> list[str]:
    """Say what the owner should do, the most urgent first. Nothing here that would be well by itself."""
    found: list[str] = []
    if week.workers_alive == 0:
        found.append(
            "Start the worker: none runs, and what is added waits (`systemctl status atlas-worker`)."
        )
    if week.disk_low:
        found.append(
            f"Make room on the disk: only {size(week.disk_free)} of {size(week.disk_total)} are free."
        )
    if week.errors_count:
        commands = ", ".join(f"`atlas error {one}`" for one in week.error_ids)
        more = "explains it" if week.errors_count == 1 else "explain the last ones"
        found.append(f"Look at what broke inside Atlas ({times(week.errors_count)}): {commands} {more}.")
    if week.oldest_seconds > LONG_WAIT and week.workers_alive:
        found.append(
            f"See why the queue stands: {number(week.queue)} wait, the oldest for {ago(week.oldest_seconds)} "
            "(`atlas status`)."
        )
    if week.dead_letters_count:
        found.append(
            f"Decide about {number(week.dead_letters_count)} dead "
            f"{'letter' if week.dead_letters_count == 1 else 'letters'}: retry, ignore, or paste the content."
        )
    found += [
        f"Check {breaker(one['name'])}: it does not answer ({one['reason'] or 'no reason is known'})."
        for one in week.open_breakers
        if one["name"].startswith("provider:")
    ]
    if week.broken_feeds_count:
        some = (
            "a feed that does"
            if week.broken_feeds_count == 1
            else f"{number(week.broken_feeds_count)} feeds that do"
        )
        found.append(f"Mend, pause or remove {some} not answer any more.")
    return found


def health(week: Week) -> list[tuple[str, str, bool]]:
    """Return how each part is: its name, words, and whether it is well."""
    workers = {0: "none runs", 1: "one runs"}.get(week.workers_alive, f"{week.workers_alive} run")
    queue = f"{number(week.queue)} wait"
    if week.queue:
        queue += f", the oldest for {ago(week.oldest_seconds)}"
    disk = (
        "cannot be read"
        if week.disk_total is None
        else f"{size(week.disk_free)} of {size(week.disk_total)} free"
    )
    return [
        ("Worker", workers, week.workers_alive > 0),
        ("Queue", queue if week.queue else "empty", week.oldest_seconds <= LONG_WAIT),
        ("Retried later", number(week.retrying) if week.retrying else "nothing", True),
        (
            "Broke inside",
            times(week.errors_count) if week.errors_count else "nothing",
            not week.errors_count,
        ),
        ("Library", f"{number(week.readable)} readable, database {size(week.database_bytes)}", True),
        ("Disk", disk, week.disk_total is not None and not week.disk_low),
    ]


def bars(days: Sequence[dt.date], counts: Sequence[int], since: dt.datetime) -> list[dict[str, Any]]:
    """Return the bars of a chart: `day`, `count`, `height` in percent, `now` (of this week)."""
    top = max([*counts, 1])
    return [
        {
            "day": day,
            "count": count,
            "height": max(round(count / top * 100), 3 if count else 0),
            "now": day >= since.date(),
        }
        for day, count in zip(days, counts, strict=True)
    ]


def spark(chart: Sequence[Mapping[str, Any]]) -> str:
    """Return a chart as a line of letters."""
    return "".join("·" if not bar["count"] else _BLOCKS[min(bar["height"] * 8 // 101, 7)] for bar in chart)


def share(count: int, total: int) -> int:
    """Return a share in whole percent, at least one."""
    return max(1, round(count / total * 100)) if total else 0


def kind_words(kind: str, count: int) -> str:
    """Return "3 articles"."""
    one, many = _KINDS.get(kind, (kind, kind))
    return f"{number(count)} {one if count == 1 else many}"


def period(week: Week) -> str:
    """Return from when to when, as people write it."""
    last = week.until - dt.timedelta(seconds=1)
    return f"{week.since.day} {week.since:%b} to {last.day} {last:%b %Y}"


def breaker(name: str) -> str:
    """Return what a breaker guards."""
    return name.partition(":")[2] or name


def plain(url: str) -> str:
    """Return an address without its scheme, cut to what fits a phone."""
    short = url.partition("://")[2] or url
    return short if len(short) <= 60 else f"{short[:59]}…"


def coded(sentence: str) -> Markup:
    """Return a sentence as HTML, with what stands between backticks as code."""
    parts = sentence.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(parts)
    )


def times(count: int) -> str:
    """Return how often."""
    return "once" if count == 1 else f"{number(count)} times"


def number(count: int) -> str:
    """Return 12,345."""
    return f"{count:,}"


def ago(seconds: float) -> str:
    """Return how long, in the largest fitting unit."""
    for length, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= length * 2:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def size(count: int | None) -> str:
    """Return bytes as people say them."""
    amount = float(count or 0)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return (
                f"{amount:.0f} {unit}" if unit in ("bytes", "kB") or amount >= 10 else f"{amount:.1f} {unit}"
            )
        amount /= 1000
    return f"{amount:.1f} TB"
