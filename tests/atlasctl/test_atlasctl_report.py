"""The weekly mail of the machine: each part from what is on the disk, and what is sent on the worst days."""

import email
import email.policy
import gzip
import json
import os
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from atlasctl import cli
from atlasctl.paths import Paths
from atlasctl.report import command, letter, parts, prometheus
from atlasctl.report.prometheus import Fired, NoAnswerError, fired, runs
from atlasctl.words import stamp

NOW = datetime(2026, 11, 29, 7, 0, tzinfo=UTC)
SINCE = NOW - timedelta(days=7)
PAGE = (Path(letter.__file__).parents[2] / "atlas/report/templates/weekly.html").read_text()


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def rows(part):
    return {row.name: row.words for row in part.rows}


def bad(part):
    return {row.name for row in part.rows if not row.well}


def change(days, title, to):
    at = stamp(NOW - timedelta(days=days))
    return {"at": at, "name": "x", "title": title, "from": "HEALTHY", "to": to, "message": "m"}


def restart(days, unit):
    at = stamp(NOW - timedelta(days=days))
    return {"at": at, "unit": unit, "check": "c", "reason": "r", "worked": True, "said": ""}


# --- health


def test_a_good_week_says_so():
    memory = {"verdict": {"state": "HEALTHY", "since": stamp(SINCE)}, "changes": [change(8, "Disk", "DOWN")]}
    part = parts.health(memory, SINCE)
    assert rows(part)["This week"] == "nothing was not well, nothing was restarted"
    assert (part.todo, bad(part)) == ([], set())


def test_what_was_not_well_is_counted_by_its_name_and_what_was_restarted_too():
    memory = {
        "verdict": {"state": "DOWN", "since": stamp(NOW)},
        "changes": [
            change(1, "Disk", "CRITICAL"),
            change(2, "Disk", "HEALTHY"),
            change(3, "Disk", "DEGRADED"),
        ],
        "events": [restart(day, "atlas-api.service") for day in (1, 2, 3)] + [restart(9, "nginx.service")],
    }
    part = parts.health(memory, SINCE)
    assert rows(part)["Disk"] == "not well twice"
    assert rows(part)["atlas-api.service"] == "restarted 3 times"
    assert "nginx.service" not in rows(part)
    assert len(part.todo) == 2
    assert "`atlasctl logs atlas-api`" in part.todo[1]


@pytest.mark.parametrize("memory", [{}, {"verdict": 3}, {"verdict": {"state": "odd"}, "changes": "x"}])
def test_a_torn_memory_is_told(memory):
    part = parts.health(memory, SINCE)
    assert bad(part) == {"Now"}
    assert part.todo


# --- alerts


class Asked:
    """A Prometheus that answers with what it is given."""

    def __init__(self):
        self.series, self.status, self.query = [], 200, ""
        asked = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                asked.query = self.rfile.read(int(self.headers["Content-Length"])).decode()
                said = {"status": "success", "data": {"result": asked.series}}
                body = json.dumps(said).encode() if asked.status == 200 else b"oops"
                self.send_response(asked.status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/prometheus"

    def fires(self, name, severity, *spans):
        moments = [SINCE.timestamp() + 60 * minute for begin, end in spans for minute in range(begin, end)]
        metric = {"alertname": name, "severity": severity}
        self.series.append({"metric": metric, "values": [[at, "1"] for at in moments]})


@pytest.fixture
def asked():
    made = Asked()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_runs_end_where_a_look_is_missing():
    assert runs([]) == []
    assert runs([60.0]) == [60.0]
    assert runs([0.0, 60.0, 120.0, 600.0, 660.0]) == [180.0, 120.0]


def test_alerts_are_counted_with_the_longest(asked):
    asked.fires("DiskFull", "warning", (0, 10), (100, 160))
    asked.fires("Down", "critical", (5, 35))
    asked.fires("Down", "critical", (40, 41))  # of another instance
    assert fired(SINCE, NOW, asked.address) == [
        Fired("DiskFull", "warning", 2, 3600.0, 4200.0),
        Fired("Down", "critical", 2, 1800.0, 1860.0),
    ]
    part = parts.alerts(SINCE, NOW, asked.address)
    assert rows(part)["This week"] == "4, the longest DiskFull for 60 minutes"
    assert rows(part)["Down"] == "twice, 31 minutes in all"
    assert bad(part) == {"This week", "Down"}
    assert "query=ALERTS" in asked.query


def test_no_alert_is_good_news(asked):
    assert rows(parts.alerts(SINCE, NOW, asked.address)) == {"This week": "none"}


def test_a_prometheus_that_is_away_or_talks_nonsense_is_told(asked):
    with pytest.raises(NoAnswerError, match="refused"):
        fired(SINCE, NOW, "http://127.0.0.1:9/prometheus")
    asked.status = 500
    part = parts.alerts(SINCE, NOW, asked.address)
    assert "does not say" in rows(part)["This week"]
    assert part.todo
    asked.status, asked.series = 200, [{"nothing": 1}]
    with pytest.raises(NoAnswerError, match="not what Prometheus says"):
        fired(SINCE, NOW, asked.address)


# --- backups


def backed_up(root, *names, **state):
    """Return the part of a machine with these repositories, and what was remembered of them."""
    settings = {
        "repositories": [{"name": name, "url": f"/{name}"} for name in names],
        "directory": "/var/lib/atlas-backup", "password_file": "/p", "textfile_directory": "/t", "keep": {},
        "upload_kib": 0, "warn_hours": 26, "drill_days": 8, "read_in": 8, "patience": 20,
        "undo_days": 14, "mail": [],
    }  # fmt: skip
    put(root / "etc/atlas-backup/settings.json", json.dumps(settings))
    put(root / "var/lib/atlas-backup/state.json", json.dumps(state))
    return parts.backups(Paths(root), NOW)


def before(days):
    return NOW.timestamp() - days * 86400


def test_no_backup_is_said_plainly(tmp_path):
    part = parts.backups(Paths(tmp_path), NOW)
    assert rows(part) == {"Last backup": "none that is known"}
    assert part.todo == ["Backups are not set up on this machine. Role backup does it: run site.yml."]
    part = backed_up(tmp_path, "local")
    assert (rows(part), bad(part)) == ({"local": "no backup yet"}, {"local"})
    assert part.todo == ["See why there is no backup in local."]


def test_each_repository_is_told_with_its_age_size_and_proof(tmp_path):
    well = {"success_at": before(0.1), "first_at": before(90), "stored": 2.5e9}
    part = backed_up(
        tmp_path, "local", "bucket", "new",
        repositories={
            "local": {**well, "drill_at": before(3), "drill_seconds": 130},
            "bucket": {"success_at": before(3), "first_at": before(90), "drill_at": before(20)},
            "new": {"success_at": before(1), "first_at": before(5)},
        },
    )  # fmt: skip
    assert rows(part) == {
        "local": "last backup 2 hours ago, 2.5 GB in all",
        "local, on trial": "restored and served 3 days ago, in 2 minutes",
        "bucket": "last backup 3 days ago",
        "bucket, on trial": "restored and served 20 days ago",
        "new": "last backup 24 hours ago",
        "new, on trial": "not yet",
    }
    assert bad(part) == {"bucket", "bucket, on trial"}
    assert part.todo == [
        "See why the last backup in bucket is 3 days old.",
        "Nobody knows whether the backup in bucket can be restored: `atlasctl drill`.",
    ]


def test_what_failed_this_week_is_told_with_its_reason(tmp_path):
    well = {"words": None}
    part = backed_up(
        tmp_path, "local", "bucket",
        repositories={
            "local": {"success_at": before(0.1), "drill_words": "pack 1234 is damaged"},
            "bucket": {"success_at": before(0.1), "first_at": before(9)},
        },
        runs=[
            {"at": before(8), "words": "long ago", "repositories": {}},
            {"at": before(5), "words": "the dump failed", "repositories": {}},
            {"at": before(4), "words": None, "repositories": {"bucket": {"words": "it is full"}}},
            {"at": before(3), "words": None, "repositories": {"local": well, "bucket": well}},
        ],
        drills=[
            {"at": before(2), "repository": "local", "words": "pack 1234 is damaged"},
            {"at": before(8), "repository": "bucket", "words": "long ago"},
        ],
    )  # fmt: skip
    assert rows(part) == {
        "local": "last backup 2 hours ago",
        "local, failed backups": "1 of 2, the last 5 days ago: the dump failed",
        "local, on trial": "NOT PROVEN: pack 1234 is damaged",
        "local, failed trials": "1 of 1, the last 2 days ago: pack 1234 is damaged",
        "bucket": "last backup 2 hours ago",
        "bucket, failed backups": "2 of 3, the last 4 days ago: it is full",
        "bucket, on trial": "not yet",
    }
    assert len(part.todo) == 2
    assert part.todo[0] == "The backup in local is not proven: `atlasctl backup check`."
    assert "bucket can be restored" in part.todo[1], "nine days after the first"


# --- updates

HISTORY = """
Start-Date: 2026-11-10  06:00:00
Upgrade: old:amd64 (1, 2)
End-Date: 2026-11-10  06:00:09

Start-Date: 2026-11-27  06:12:01
Commandline: /usr/bin/unattended-upgrade
Upgrade: libssl3:amd64 (3.0.11-1~deb12u2, 3.0.13-1~deb12u1), openssl:amd64 (3.0.11, 3.0.13, automatic)
End-Date: 2026-11-27  06:12:30
"""
LOG = """2026-11-20 06:10:00,000 ERROR long ago
2026-11-28 06:10:00,123 INFO Starting unattended upgrades script
2026-11-28 06:10:05,123 ERROR dpkg was interrupted
"""


def test_updates_are_told_by_name_and_failures_with_the_words(tmp_path):
    put(tmp_path / "var/log/apt/history.log", HISTORY)
    put(tmp_path / "var/log/unattended-upgrades/unattended-upgrades.log", LOG)
    put(tmp_path / "run/reboot-required", "")
    four_days = (NOW - timedelta(days=4)).timestamp()
    os.utime(tmp_path / "run/reboot-required", (four_days, four_days))
    part = parts.updates(tmp_path, SINCE, NOW)
    assert rows(part) == {
        "Updated": "2 packages: libssl3, openssl",
        "Failed": "once: dpkg was interrupted",
        "Restart": "wanted for 4 days",
    }
    assert bad(part) == {"Failed", "Restart"}
    assert len(part.todo) == 2


def test_what_was_rotated_away_counts_too(tmp_path):
    path = tmp_path / "var/log/apt/history.log.1.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(HISTORY.encode()))
    put(tmp_path / "var/log/apt/history.log", HISTORY.replace("openssl:", "curl:"))
    assert rows(parts.updates(tmp_path, SINCE, NOW))["Updated"] == "3 packages: curl, libssl3, openssl"
    path.write_bytes(b"\x1f\x8b torn")
    assert rows(parts.updates(tmp_path, SINCE, NOW))["Updated"] == "2 packages: curl, libssl3"


def test_nobody_looking_for_updates_is_told(tmp_path):
    part = parts.updates(tmp_path, SINCE, NOW)
    assert rows(part) == {"Updated": "nothing", "Looked for": "never"}
    put(tmp_path / "var/log/unattended-upgrades/unattended-upgrades.log", LOG)
    part = parts.updates(tmp_path, SINCE + timedelta(days=9), NOW + timedelta(days=9))
    assert rows(part)["Looked for"] == "10 days ago"
    assert "apt-daily-upgrade.timer" in part.todo[0]


# --- disks


def disk(monkeypatch, used):
    usage = type("Usage", (), {"total": 100_000_000_000, "free": 100_000_000_000 - used})
    monkeypatch.setattr(parts.shutil, "disk_usage", lambda _: usage)


def test_a_disk_is_told_with_its_trend(tmp_path, monkeypatch):
    disk(monkeypatch, 40_000_000_000)
    assert rows(parts.disks(tmp_path, {}, NOW)) == {"/": "40% of 100.0 GB used"}
    before = {"/": {"used": 39_000_000_000, "at": stamp(SINCE)}}
    part = parts.disks(tmp_path, before, NOW)
    assert rows(part) == {"/": "40% of 100.0 GB used, +1.0 GB in 7 days"}
    assert part.todo == []


def test_a_disk_that_will_be_full_or_is_nearly_is_to_be_cleared(tmp_path, monkeypatch):
    disk(monkeypatch, 70_000_000_000)
    part = parts.disks(tmp_path, {"/": {"used": 60_000_000_000, "at": stamp(SINCE)}}, NOW)
    assert rows(part)["/"].endswith("+10.0 GB in 7 days, full in about 21 days")
    assert len(part.todo) == 1
    disk(monkeypatch, 85_000_000_000)
    part = parts.disks(tmp_path, {"/": {"used": 86_000_000_000, "at": stamp(SINCE)}}, NOW)
    assert (bad(part), part.todo) == ({"/"}, ["Make room on /: 85% is used."])


def test_what_is_remembered_of_a_disk_may_be_torn(tmp_path, monkeypatch):
    disk(monkeypatch, 40_000_000_000)
    for torn in ({"/": 3}, {"/": {"at": "?"}}, {"/": {"used": 1, "at": stamp(NOW)}}):
        assert rows(parts.disks(tmp_path, torn, NOW)) == {"/": "40% of 100.0 GB used"}


def test_free_limits_never_read_are_told():
    assert bad(parts.free_tier({})) == {"Oracle Cloud"}


# --- the mail


@pytest.fixture
def post(machine, tmp_path, monkeypatch):
    """A machine whose sendmail keeps what it is given, with an app that answers as `app` says."""
    limits = {"retry_seconds": 60, "warn_minutes": 15, "keep_days": 7, "max_messages": 9, "max_bytes": 9}
    mail = {"server": "mail.example.org", "owner": "me@example.org", "spool": "/spool", **limits}
    put(tmp_path / "etc/atlas/mail.json", json.dumps(mail | {"textfile_directory": "/metrics"}))
    put(tmp_path / "etc/atlas/alerts.json", "{}")
    put(tmp_path / "etc/atlas/atlas.env", 'ATLAS_PUBLIC_URL="https://atlas.example.org/"\n')
    program(tmp_path / "usr/sbin/sendmail", f'[ "$*" = "-t -i" ] && cat > {tmp_path}/sent')
    monkeypatch.setattr(prometheus, "ADDRESS", "http://127.0.0.1:9/prometheus")
    return tmp_path


def program(path, script):
    put(path, f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def app(root, **said):
    put(root / "app.json", json.dumps(said))
    program(root / "usr/local/bin/atlas", f'[ "$*" = "report --weekly --json" ] && cat {root}/app.json')


def sent(root):
    return email.message_from_bytes((root / "sent").read_bytes(), policy=email.policy.default)


def bodies(message):
    return [message.get_body((kind,)).get_content() for kind in ("plain", "html")]


def test_one_mail_has_what_app_and_machine_have_to_say(post, capsys):
    app(post, subject="Atlas: 12 new", text="TWELVE CAME IN", html=PAGE)
    assert cli.main(["report", "--weekly", "--send"]) == 0
    message = sent(post)
    assert message["To"] == "me@example.org"
    assert message["Subject"].startswith("Atlas: 12 new; ")
    assert message["Subject"].endswith("to do on the machine")
    text, html = bodies(message)
    assert text.startswith("TWELVE CAME IN")
    for words in (
        "THE MACHINE (atlas.example.org): WHAT TO DO",
        "MACHINE HEALTH",
        "ALERTS",
        "BACKUPS",
        "UPDATES",
        "DISK",
    ):
        assert words in text
    assert "1. Health has not run yet" in text
    assert (
        html.index("what to do</h2>") < html.index("<h2>What came in</h2>") < html.index("<h2>Backups</h2>")
    )
    assert html.count("<html") == html.count("</html>") == 1
    assert message["Subject"] in capsys.readouterr().out


def test_where_nothing_is_measured_nobody_asks_why_prometheus_is_silent(post, capsys):
    app(post, subject="Atlas: 12 new", text="TWELVE CAME IN", html=PAGE)
    assert cli.main(["report"]) == 0
    assert "Prometheus does not say" in capsys.readouterr().out
    (post / "etc/atlas/alerts.json").unlink()
    assert cli.main(["report"]) == 0
    said = capsys.readouterr().out
    assert "MACHINE HEALTH" in said
    assert "ALERTS" not in said
    assert "Prometheus" not in said


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'no database' >&2; exit 1", "no database"),
        ("echo '[]'", "[]"),
        ("echo torn '{'", "torn {"),
        (None, "it is not installed on this machine"),
    ],
)
def test_it_goes_out_when_the_app_does_not_answer(post, script, why):
    if script:
        program(post / "usr/local/bin/atlas", script)
    assert cli.main(["report", "--send"]) == 0
    message = sent(post)
    assert message["Subject"].startswith("Atlas: the app did not answer; ")
    for body in bodies(message):
        assert f"The app did not answer, so this is about the machine alone: {why}" in body
        assert "Backups are not set up on this machine" in " ".join(body.split())
    assert "viewport" in bodies(message)[1], "it is read on a phone"


def test_a_stranger_in_a_name_is_no_html(post):
    program(post / "usr/local/bin/atlas", "echo '<script>&' >&2; exit 1")
    cli.main(["report", "--send"])
    assert "<script>" not in bodies(sent(post))[1]
    assert "&lt;script&gt;&amp;" in bodies(sent(post))[1]


def test_it_is_noted_when_it_was_handed_in_and_only_then(post, capsys):
    metrics = post / "metrics/atlas_report.prom"
    assert cli.main(["report", "--metrics"]) == 0
    first = metrics.read_text()
    assert "atlas_weekly_report_timestamp_seconds 1" in first, "so that the first is missed, too"
    program(post / "usr/sbin/sendmail", "echo 'no space left' >&2; exit 75")
    assert cli.main(["report", "--send"]) == 1, "systemd tries again"
    assert "could not be handed in: no space left" in capsys.readouterr().err
    assert metrics.read_text() == first
    program(post / "usr/sbin/sendmail", f"cat > {post}/sent")
    state = post / "var/lib/atlasctl/report.json"
    put(state, json.dumps({"since": "2026-01-01T00:00:00Z"}))
    assert cli.main(["report", "--send"]) == 0
    assert json.loads(state.read_text())["disks"]["/"]["used"] > 0
    assert "atlas_weekly_report_app_answered 0" in metrics.read_text()


def test_without_a_mail_server_nothing_is_sent_and_nothing_fails(post, capsys):
    settings = json.loads((post / "etc/atlas/mail.json").read_text())
    put(post / "etc/atlas/mail.json", json.dumps(settings | {"server": ""}))
    assert cli.main(["report", "--send"]) == 0
    assert not (post / "sent").exists()
    assert "Mail is off" in capsys.readouterr().out


def test_it_can_be_read_at_any_time_also_without_mail(post, capsys):
    (post / "etc/atlas/mail.json").unlink()
    assert cli.main(["report"]) == 0
    assert "THE MACHINE (atlas.example.org)" in capsys.readouterr().out
    assert cli.main(["report", "--html"]) == 0
    assert "<!doctype html>" in capsys.readouterr().out
    assert not (post / "var/lib/atlasctl/report.json").exists()


def test_the_apps_letter_says_where_the_machines_parts_belong():
    assert PAGE.count(letter.TODO_MARK) == PAGE.count(letter.PARTS_MARK) == 1


def test_a_letter_of_another_release_is_shown_as_text(post):
    app(post, subject="Atlas: 1 new", text="ONE <CAME> IN", html="<html>no marks</html>")
    cli.main(["report", "--send"])
    assert "ONE &lt;CAME&gt; IN" in bodies(sent(post))[1]
    assert command.SENDMAIL == "usr/sbin/sendmail"
