"""`atlasctl health` as a whole: from files in health.d to the page, the journal and the healed machine."""

import fcntl
import html.parser
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standins import Machine, Site

from atlasctl.cli import main
from atlasctl.files import locked
from atlasctl.health import command
from atlasctl.health.command import examine
from atlasctl.health.page import full, public
from atlasctl.release.store import lock_file

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
FAILED = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}


def page(machine: Machine, name: str = "index.html") -> str:
    return (machine.paths.status_dir / name).read_text()


@pytest.fixture
def atlas(machine: Machine, site: Site) -> Machine:
    """Return a machine with an app that is well."""
    machine.unit("atlas-api.service")
    site.answers["/ready"] = (200, "ok")
    machine.check("api", check="unit", title="Web and API", unit="atlas-api.service", restart=True)
    machine.check(
        "answers", check="http", title="Pages", url=site.url("/ready"), after=["api"], alert="PageDown"
    )
    return machine


def test_a_machine_that_is_well(atlas: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("HEALTHY since")
    assert "HEALTHY   Web and API: active (running)" in said.out
    assert said.err == ""
    assert '<p class="word HEALTHY">Yes.</p>' in page(atlas)
    assert json.loads(page(atlas, "public.json"))["ok"] is True


def test_what_is_down_is_told_once_healed_and_told_again_when_well(
    atlas: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    examine(atlas.paths, NOW, may_heal=True)
    atlas.unit("atlas-api.service", **FAILED)
    report = examine(atlas.paths, NOW + timedelta(seconds=30), may_heal=True)
    assert report["state"] == "DOWN"
    assert [event["unit"] for event in report["restarts"]] == ["atlas-api.service"]
    assert capsys.readouterr().err.splitlines() == [
        "<3>Web and API: DOWN. failed (exit-code)",
        "<4>restarted atlas-api.service: failed (exit-code)",
    ]
    assert "atlas-api.service</b> failed (exit-code)" in page(atlas)
    report = examine(atlas.paths, NOW + timedelta(seconds=60), may_heal=True)
    assert (report["state"], report["since"]) == ("HEALTHY", "2026-11-22T04:01:00Z")
    assert capsys.readouterr().err == "<5>Web and API: HEALTHY. active (running)\n"
    assert len(report["restarts"]) == 1, "the event is kept, and told once"
    examine(atlas.paths, NOW + timedelta(seconds=90), may_heal=True)
    assert capsys.readouterr().err == ""


def test_a_pattern_stands_for_every_unit_that_is_enabled(atlas: Machine) -> None:
    atlas.check("timers", check="unit", units=["atlas-*.timer", "other.timer"], restart=True)
    for name in ("atlas-new.timer", "other.timer"):
        atlas.unit(name, SubState="waiting")
    atlas.unit("atlas-stopped.timer", ActiveState="inactive", SubState="dead")
    report = examine(atlas.paths, NOW, may_heal=True)
    assert [event["unit"] for event in report["restarts"]] == ["atlas-stopped.timer"]
    (found,) = [check["message"] for check in report["checks"] if check["name"] == "timers"]
    assert found == "atlas-stopped.timer: inactive (dead)"
    assert any("--state=enabled atlas-*.timer" in call for call in atlas.calls("list-unit-files"))


def test_a_restart_that_fails_is_an_error_in_the_journal(
    atlas: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    atlas.unit("atlas-api.service", **FAILED, on_restart=FAILED, exit_code=1)
    report = examine(atlas.paths, NOW, may_heal=True)
    assert "<3>could not restart atlas-api.service (failed (exit-code)): Job for" in capsys.readouterr().err
    assert "it failed: Job for atlas-api.service" in page(atlas)
    report = examine(atlas.paths, NOW + timedelta(seconds=20), may_heal=True)
    assert report["notes"] == [
        "atlas-api.service: 1 restart did not help; next try 04:00 UTC on 22 November, in 10 seconds"
    ]
    assert "1 restart did not help" in page(atlas)


def test_nothing_is_healed_without_leave_or_while_a_release_is_put_in_place(atlas: Machine) -> None:
    atlas.unit("atlas-api.service", **FAILED)
    examine(atlas.paths, NOW, may_heal=False)
    with locked(lock_file(atlas.paths.app_root), "a test", "now"):
        report = examine(atlas.paths, NOW, may_heal=True)
    assert atlas.calls("restart ") == []
    assert report["notes"] == ["a release is being put in place: nothing is restarted meanwhile"]


def test_one_slow_answer_is_seen_but_does_not_count(atlas: Machine, site: Site) -> None:
    examine(atlas.paths, NOW, may_heal=True)
    site.answers["/ready"] = (500, "oops")
    report = examine(atlas.paths, NOW + timedelta(seconds=30), may_heal=True)
    assert report["state"] == "HEALTHY"
    assert "seen once, does not count yet: http://127.0.0.1" in page(atlas)
    assert "Pages (just now CRITICAL)" in command.in_words(report)
    report = examine(atlas.paths, NOW + timedelta(seconds=60), may_heal=True)
    assert report["state"] == "CRITICAL"


def test_a_file_that_is_no_check_is_degraded_and_names_itself(
    atlas: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    atlas.file("etc/atlas/health.d/disk.json", '{"check": "disk", "pth": "/"}')
    assert main(["health", "--json"]) == 1
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert report["state"] == "DEGRADED"
    bad = next(check for check in report["checks"] if check["state"] == "DEGRADED")
    assert bad["title"] == "Check file disk.json"
    assert bad["message"].startswith("unknown key 'pth' in a disk check")
    assert "<4>Check file disk.json: DEGRADED" in said.err
    assert '<p class="word DEGRADED">Yes.</p>' in page(atlas)
    assert "OK" in page(atlas, "public.html")


def test_no_checks_at_all_is_not_healthy(machine: Machine) -> None:
    report = examine(machine.paths, NOW, may_heal=True)
    assert report["state"] == "DEGRADED"
    assert "site.yml" in report["notes"][0]
    assert "No check is defined" in page(machine)


def test_the_timer_says_nothing_when_nothing_changed(
    atlas: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    atlas.unit("atlas-api.service", LoadState="masked", UnitFileState="masked")
    assert main(["health", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "<3>Web and API: DOWN. masked\n")
    assert main(["health", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["health"]) == 2


@pytest.mark.parametrize(
    "torn", [b"", b"{", b"\x00" * 100, b"[1, 2]", b'{"checks": 5, "attempts": 5, "changes": {}}']
)
def test_a_torn_memory_is_a_new_one(atlas: Machine, torn: bytes) -> None:
    examine(atlas.paths, NOW, may_heal=True)
    atlas.paths.health_state.write_bytes(torn)
    assert examine(atlas.paths, NOW, may_heal=True)["state"] == "HEALTHY"
    assert json.loads(atlas.paths.health_state.read_text())["verdict"]["state"] == "HEALTHY"


def test_files_are_readable_for_nginx_and_never_half_written(atlas: Machine) -> None:
    examine(atlas.paths, NOW, may_heal=True)
    files = {path.name: oct(path.stat().st_mode & 0o777) for path in atlas.paths.status_dir.iterdir()}
    assert files == dict.fromkeys(
        ["index.html", "public.html", "public.json", "status.css", "status.json"], "0o644"
    )
    over = threading.Event()
    torn: list[str] = []

    def read() -> None:
        while not over.is_set():
            if not page(atlas).endswith("</html>\n"):
                torn.append(page(atlas))
            json.loads(page(atlas, "status.json"))

    reader = threading.Thread(target=read)
    reader.start()
    for second in range(20):
        examine(atlas.paths, NOW + timedelta(seconds=second), may_heal=False)
    over.set()
    reader.join()
    assert torn == []


def test_two_runs_take_turns(
    atlas: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = atlas.paths.health_state.with_suffix(".lock")
    lock.parent.mkdir(parents=True)
    monkeypatch.setattr(command, "PATIENCE_SECONDS", 0.1)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["health"]) == 1
        assert "Another run of the checks does not end" in capsys.readouterr().err
        threading.Timer(0.1, lambda: fcntl.flock(held, fcntl.LOCK_UN)).start()
        monkeypatch.setattr(command, "PATIENCE_SECONDS", 5)
        started = time.monotonic()
        assert main(["health"]) == 0
        assert time.monotonic() - started >= 0.1


def test_where_nothing_can_be_written_it_says_sudo(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.file("var/lib/atlasctl", "a file where the directory should be")
    assert main(["health"]) == 1
    assert "Run this with sudo" in capsys.readouterr().err


class Reader(html.parser.HTMLParser):
    """Collects tags and attributes, and whether all that opens also closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def big_report(state: str = "DOWN") -> dict[str, Any]:
    """Return a report of a machine where everything is wrong, at length and with hostile words."""
    words = "<script>alert(1)</script> " + "wrong & broken " * 40
    at = "2026-11-22T03:00:00Z"
    check = {
        "check": "http",
        "state": state,
        "observed": state,
        "since": at,
        "message": words,
        "title": words,
    }
    fine = check | {"state": "HEALTHY"}
    event = {"at": at, "unit": words, "check": "x", "reason": words, "worked": False, "said": words}
    change = {"at": at, "name": "x", "title": words, "from": "HEALTHY", "to": "DOWN", "message": words}
    return {
        "state": state,
        "ok": False,
        "since": at,
        "checked_at": "2026-11-22T04:00:00Z",
        "checks": [check] * 60 + [fine] * 60,
        "notes": [words] * 20,
        "restarts": [event] * 20,
        "changes": [change] * 20,
    }


@pytest.mark.parametrize("make", [full, public])
def test_the_page_is_small_whole_and_needs_no_script(make: Any) -> None:
    text = make(big_report())
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert not {"script", "style", "img", "iframe"} & set(reader.tags)
    assert not [name for name in reader.attributes if name == "style" or name.startswith("on")]
    assert len(text.encode()) < 15_000
    assert text.count("http") <= text.count("http-equiv"), "nothing is loaded from elsewhere"


def test_the_page_says_how_old_it_is_and_how_to_tell() -> None:
    text = full(big_report())
    assert '<meta http-equiv="refresh" content="30">' in text
    assert "04:00:00 UTC</time> on 22 November" in text
    assert "Is it later than 04:03 UTC now? Then this page is old" in text
    assert "and 50 more: <code>atlasctl status</code>" in text
    assert "For 60 minutes, since <time" in text
    assert "60 minutes ago, at <time" in text


def test_everybody_learns_only_ok_or_not_ok() -> None:
    text = public(big_report())
    assert "Not OK" in text
    assert "wrong" not in text


def test_what_was_found_is_told_to_prometheus(atlas: Machine, tmp_path: Path) -> None:
    def told() -> dict[str, float]:
        lines = (tmp_path / "atlas_health.prom").read_text().splitlines()
        return {
            key: float(value)
            for key, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
        }

    examine(atlas.paths, NOW, may_heal=True, metrics=tmp_path)
    assert told() == {
        'atlas_health_state{check="answers",title="Pages",alert="PageDown"}': 0,
        'atlas_health_state{check="api",title="Web and API",alert=""}': 0,
        # From the beginning on: Prometheus sees an increase only of what was there.
        'atlas_health_restarts_total{unit="atlas-api.service"}': 0,
        "atlas_health_run_timestamp_seconds": NOW.timestamp(),
    }
    atlas.unit("atlas-api.service", **FAILED)
    examine(atlas.paths, NOW + timedelta(seconds=30), may_heal=True, metrics=tmp_path)
    assert told()['atlas_health_state{check="api",title="Web and API",alert=""}'] == 3
    assert told()['atlas_health_restarts_total{unit="atlas-api.service"}'] == 1


def test_what_cannot_be_told_to_prometheus_keeps_nobody_from_healing(
    atlas: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    atlas.unit("atlas-api.service", **FAILED)
    report = examine(atlas.paths, NOW, may_heal=True, metrics=tmp_path / "file")
    assert [event["unit"] for event in report["restarts"]] == ["atlas-api.service"]
    assert "no metrics" in capsys.readouterr().err
