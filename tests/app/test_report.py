"""The weekly letter: what it tells, and that it arrives once a week whatever the mail server does."""

import datetime as dt
import email
import email.policy
import re
import socket
import threading
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
import test_cli
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from lxml import html as lxml_html
from pydantic import SecretStr

from atlas import items
from atlas.chores import CHORES, Clerk
from atlas.database.engine import read
from atlas.database.tables import breakers, errors, feeds, marks, transitions, workers
from atlas.database.tables import items as items_table
from atlas.items import ItemError, New
from atlas.patience import Patience
from atlas.report import post
from atlas.report.letter import Letter, write
from atlas.report.week import gather
from atlas.settings import SettingsError, load_settings
from atlas.stages.context import Context
from atlas.stages.table import Stage
from atlas.telemetry import tally

atlas, logging_as_before = test_cli.atlas, test_cli.logging_as_before  # fixtures

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@dataclass
class Mailbox:
    """A mail server on loopback that keeps what it gets, as `letters`, or refuses when told."""

    port: int = 0
    refuse: str = ""
    letters: list = field(default_factory=list)
    logins: list = field(default_factory=list)

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        if self.refuse:
            return self.refuse
        self.letters.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 kept"

    def check(self, server, session, envelope, mechanism, data):
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"right", handled=False)


@pytest.fixture
def mailbox():
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        box.port = free.getsockname()[1]
    controller = Controller(
        box, hostname="127.0.0.1", port=box.port, authenticator=box.check, auth_require_tls=False
    )
    controller.start()
    yield box
    controller.stop()


@pytest.fixture
def mailing(settings, mailbox):
    return settings.model_copy(
        update={
            "smtp_host": "127.0.0.1",
            "smtp_port": mailbox.port,
            "smtp_security": "none",
            "smtp_user": "atlas",
            "smtp_password": SecretStr("right"),
            "report_to": "me@example.org",
            "public_url": "https://atlas.example",
        }
    )


def add(conn, clock, number, stage=None, code="", **values):
    """Add items, and bring them to a stage."""
    base = values.pop("name", "item")
    news = [
        New(f"https://example.org/{base}/{stage or 0}{code}/{clock.now:%s}/{one}", "c", **values)
        for one in range(number)
    ]
    added = [one.id for one in items.add_many(conn, news, now=clock.now)]
    if stage:
        error = (
            ItemError(code, "It did not work.", Stage.FETCH_ATTEMPTING).stored(clock.now) if code else None
        )
        change = items_table.update().where(items_table.c.id.in_(added))
        conn.execute(change.values(stage=stage, due_at=None, error=error, updated_at=clock.now))
        step = {"at": clock.now, "stage": stage, "reason": "test", "correlation_id": "c"}
        if added:
            conn.execute(transitions.insert(), [{**step, "item_id": one} for one in added])
    return added


def busy_weeks(engine, clock):
    """Four weeks of a library in use, with some of everything that goes wrong. Ends at clock.now."""
    end = clock.now
    with engine.begin() as conn:
        names = ("The Quiet Reader", HOSTILE, "Ein Blog über Öffentlichkeitsarbeit und Verkehrspolitik")
        for number, name in enumerate(names, 1):
            url = f"https://feed{number}.example/feed.xml"
            failing = number == 2
            conn.execute(
                feeds.insert().values(
                    url=url,
                    url_key=url,
                    title=name,
                    interval_seconds=3600,
                    due_at=end,
                    added_at=end,
                    failures=9 if failing else 0,
                    error={"message": "The site's name is not known.", "code": "dns_failure"}
                    if failing
                    else None,
                    succeeded_at=end - dt.timedelta(days=12),
                )
            )
        for day in range(27, -1, -1):
            clock.now = end - dt.timedelta(days=day, hours=2)
            much = (day * 7) % 11 + 4
            done = add(conn, clock, much, 590, kind="article", source="feed", feed_id=1 + day % 3)
            add(conn, clock, much // 4, 590, kind="podcast", source="feed", name="pod")
            add(conn, clock, day % 3, 590, source="web", name="web")
            if day % 5 == 1:
                add(conn, clock, day % 4 + 1, 777, "http_404", source="web")
                add(conn, clock, 1, 777, "login_wall", source="api", title=HOSTILE)
            conn.execute(
                items_table.update()
                .where(items_table.c.id == done[0])
                .values(read_at=clock.now, starred_at=end)
            )
        add(conn, clock, 2, 590, kind="mail", source="mail", name="mail")
        items.add(conn, f"https://example.org/mail/590/{clock.now:%s}/0", now=clock.now, correlation_id="c")
        clock.now = end
        conn.execute(
            breakers.insert(),
            [
                {
                    "name": name,
                    "state": state,
                    "failures": 5,
                    "opened_at": end,
                    "reason": "timed out",
                    "updated_at": end,
                }
                for name, state in (
                    ("provider:searxng", "open"),
                    ("host:slow.example", "half_open"),
                    ("host:well.example", "closed"),
                )
            ],
        )
        for number, days in (("ab12", 2), ("cd34", 20)):
            at = end - dt.timedelta(days=days)
            conn.execute(errors.insert().values(id=number, at=at, code="ValueError", message="", place="x"))
        conn.execute(workers.insert().values(name="w", started_at=end, seen_at=end))


def letter_of(engine, settings, clock) -> Letter:
    return post.compose(engine, settings, until=clock.now, since=clock.now - post.WEEK)


def test_the_letter_tells_the_week(engine, settings, clock):
    busy_weeks(engine, clock)
    with read(engine) as conn:
        week = gather(conn, settings, until=clock.now, since=clock.now - post.WEEK)
    assert week.came["article", "feed"] == sum((day * 7) % 11 + 4 for day in range(7))
    assert week.came["mail", "mail"] == 2
    assert week.known == 1
    assert week.given_up == 7
    assert [(one.count, one.advice.reason) for one in week.failures] == [
        (5, "The page is gone (HTTP 404)"),
        (2, "The site wants a login"),
    ]
    assert sum(week.added_by_day[-7:]) == pytest.approx(week.new, abs=week.added_by_day[-8] + 3)
    assert week.failed_by_day[-2] == 3
    assert week.best_feeds[0]["read"] == 3
    assert (week.errors_count, week.error_ids) == (1, ["ab12"])
    assert [one["name"] for one in week.open_breakers] == ["host:slow.example", "provider:searxng"]

    letter = write(week, "https://atlas.example")
    for part in (
        "1. Look at what broke inside Atlas (once): `atlas error ab12` explains it.",
        "2. Decide about",
        "3. Check searxng: it does not answer (timed out).",
        "4. Mend, pause or remove a feed that does not answer any more.",
        "The page is gone (HTTP 404)",
        "https://atlas.example/items/",
        "The Quiet Reader: ",
        "Last read on 2026-11-10.",
        "slow.example",
    ):
        assert part in letter.text
    assert re.search(r"[▁-█]{3}", letter.text)
    page = lxml_html.document_fromstring(letter.html)
    assert [" ".join(one.text_content().split()) for one in page.findall(".//ol/li")] == [
        line.partition(". ")[2].replace("`", "")
        for line in letter.text.splitlines()
        if re.match(r"\d\. ", line)
    ]
    assert len(page.findall(".//table[@class='chart']")) == 2
    assert all(len(chart.findall(".//td")) == 28 for chart in page.findall(".//table[@class='chart']"))
    assert letter.subject == f"Atlas: {week.new} new, 4 to do"


def test_the_html_is_only_html(engine, settings, clock):
    """No scripts, no forms, nothing that is fetched when it is opened; what feeds are called stays text."""
    busy_weeks(engine, clock)
    page = lxml_html.document_fromstring(letter_of(engine, settings, clock).html)
    elements = [element for element in page.iter() if isinstance(element.tag, str)]
    tags = {element.tag for element in elements}
    assert tags <= {
        "html", "head", "meta", "title", "style", "body", "div", "p", "h1", "h2", "ol", "ul", "li", "table",
        "tr", "td", "span", "a", "code",
    }  # fmt: skip
    for element in elements:
        assert not [name for name in element.attrib if name.startswith("on") or name in ("src", "background")]
        assert element.get("href", "https://").startswith(("https://", settings.public_url))
        assert "url(" not in element.get("style", "")
    assert "url(" not in page.findtext(".//style")
    assert "<script>alert" in page.text_content()


def test_a_quiet_week_of_an_empty_library(engine, settings, clock):
    with engine.begin() as conn:
        conn.execute(workers.insert().values(name="w", started_at=clock.now, seen_at=clock.now))
    letter = letter_of(engine, settings, clock)
    assert "0 items came in, and none was given up." in letter.text
    assert "Nothing. All is well." in letter.text
    assert letter.subject == "Atlas: 0 new, all is well"


def test_what_is_wrong_comes_first(engine, settings, clock):
    letter = letter_of(engine, settings, clock)
    assert "1. Start the worker" in letter.text
    assert "!! Worker: none runs" in letter.text


def test_imports_with_old_dates_count_when_they_came(engine, settings, clock):
    old = {"added_at": clock.now - dt.timedelta(days=3000)}
    with engine.begin() as conn:
        news = [New("https://example.org/1", "c", source="import", fields=old, waits=True)]
        items.add_many(conn, news, now=clock.now)
        items.admit(conn, now=clock.now, room=5)
    clock.advance(60)
    with read(engine) as conn:
        week = gather(conn, settings, until=clock.now, since=clock.now - post.WEEK)
    assert week.came == {("article", "import"): 1}
    assert sum(week.added_by_day) == 1


# By mail


@pytest.fixture
def ctx(mailing, engine, clock):
    return Context(mailing, engine, None, None, clock, Patience(threading.Event()))


def go_round(ctx):
    Clerk(ctx, [chore for chore in CHORES if chore.name == "weekly report"]).go_round()


def test_it_comes_every_week_once(ctx, mailbox, clock):
    """The clock starts on a Sunday at 8; letters are due on Mondays at 6."""
    go_round(ctx)
    arrived = []
    for _ in range(24 * 14):
        clock.advance(3600)
        before = len(mailbox.letters)
        go_round(ctx)
        arrived += [f"{clock.now:%a %d %H}"] * (len(mailbox.letters) - before)
    assert arrived == ["Mon 23 06", "Mon 30 06"]
    mail = mailbox.letters[0]
    assert (mail["To"], mail["From"]) == ("me@example.org", "atlas@atlas.example")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime == dt.datetime(2026, 11, 23, 6, tzinfo=dt.UTC)
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    assert mailbox.logins[0] == ("atlas", "right")
    assert all(len(line) <= 998 for line in mail.as_bytes().splitlines())


def test_a_mail_server_that_is_down_stops_nothing_and_gets_it_later(ctx, mailbox, clock, engine):
    go_round(ctx)
    mailbox.refuse = "451 the spool is full"
    clock.advance(86_400)
    for _ in range(3):
        go_round(ctx)
        clock.advance(900)
    assert mailbox.letters == []
    tally.save(engine)
    with read(engine) as conn:
        assert tally.read_sums(conn).counts["reports"] == {("failed",): 3}
    mailbox.refuse = ""
    go_round(ctx)
    clock.advance(900)
    go_round(ctx)
    assert len(mailbox.letters) == 1


def test_nobody_wants_it(ctx, settings, engine, clock):
    go_round(Context(settings, engine, None, None, clock, ctx.patience))
    with read(engine) as conn:
        assert conn.execute(sa.select(marks.c.name).where(marks.c.name == post._MARK)).all() == []


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"smtp_password": SecretStr("wrong-secret")}, "535"),
        ({"smtp_port": 1}, "refused"),
        ({"smtp_security": "starttls"}, "STARTTLS"),
        ({"smtp_security": "tls"}, "SSL"),
    ],
)
def test_why_it_was_not_sent_is_told_without_the_password(mailing, clock, changes, part):
    letter = Letter("subject", "text", "<p>html")
    with pytest.raises(post.SendError) as error:
        post.send(letter, mailing.model_copy(update=changes), clock.now)
    assert part in str(error.value)
    assert "wrong-secret" not in str(error.value)


def test_the_command_prints_and_sends(atlas, mailing, mailbox, monkeypatch):
    assert "WHAT TO DO" in atlas("report", "--weekly").out
    assert atlas("report", "--html").out.startswith("<!doctype html>")
    assert set(atlas("report", "--json").json) == {"subject", "text", "html"}
    assert "ATLAS_REPORT_TO" in atlas("report", "--send").err
    for name in ("smtp_host", "smtp_port", "smtp_security", "report_to"):
        monkeypatch.setenv(f"ATLAS_{name.upper()}", str(getattr(mailing, name)))
    assert atlas("report", "--send").out == "Sent to me@example.org.\n"
    assert len(mailbox.letters) == 1
    mailbox.refuse = "550 go away"
    assert "550 go away" in atlas("report", "--send").err


@pytest.mark.parametrize(("since", "part"), [("tomorrow", "a date"), ("2999-01-01", "past")])
def test_since_must_be_a_past_day(atlas, since, part):
    assert part in atlas("report", "--since", since).err


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (
            {"REPORT_TO": "me@example.org"},
            "ATLAS_REPORT_TO needs a mail server that takes it: set ATLAS_SMTP_HOST",
        ),
        ({"REPORT_TO": "me", "SMTP_HOST": "x"}, "ATLAS_REPORT_TO must be one mail address"),
        ({"REPORT_FROM": "a@b\nBcc: all@example.org"}, "ATLAS_REPORT_FROM must be one mail address"),
        ({"REPORT_WEEKDAY": "someday"}, "ATLAS_REPORT_WEEKDAY must be 'monday'"),
    ],
)
def test_wrong_options_are_named(monkeypatch, tmp_path, options, part):
    monkeypatch.chdir(tmp_path)
    for name, value in options.items():
        monkeypatch.setenv(f"ATLAS_{name}", value)
    with pytest.raises(SettingsError, match=re.escape(part)):
        load_settings()


# Whether it would arrive


def test_connections_are_tried_without_showing_secrets(atlas, mailing, mailbox, monkeypatch):
    for name in ("smtp_host", "smtp_port", "smtp_security", "smtp_user", "report_to"):
        monkeypatch.setenv(f"ATLAS_{name.upper()}", str(getattr(mailing, name)))
    monkeypatch.setenv("ATLAS_SMTP_PASSWORD", "right")
    done = atlas("check-config", "--connect")
    assert done.status == 0
    assert re.search(r"ok +database: answers, at revision", done.out)
    assert re.search(r"ok +mail server: answers and lets us in", done.out)
    monkeypatch.setenv("ATLAS_SMTP_PASSWORD", "very-wrong")
    done = atlas("check-config", "--connect")
    assert done.status == 1
    assert "FAILED  mail server: 535" in done.out
    assert "very-wrong" not in done.out + done.err
    monkeypatch.setenv("ATLAS_IMAP_HOST", "127.0.0.1")
    monkeypatch.setenv("ATLAS_IMAP_PORT", "1")
    monkeypatch.setenv("ATLAS_LLM_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("ATLAS_LLM_MODEL", "small")
    out = atlas("check-config", "--connect").out
    assert "FAILED  mailbox: " in out
    assert "FAILED  language model: " in out
    assert atlas("check-config").status == 0


def test_a_database_that_is_away_is_told(atlas, monkeypatch):
    monkeypatch.setenv("ATLAS_DATABASE_URL", "postgresql+psycopg://me@127.0.0.1:1/none")
    monkeypatch.setenv("ATLAS_DATABASE_PASSWORD", "hunter2")
    done = atlas("check-config", "--connect", "--json")
    assert done.status == 1
    assert done.json["connections"][0]["ok"] is False
    assert "hunter2" not in done.out + done.err
