"""What a tired person reads: status, logs, doctor, help."""

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standins import Machine, Site

from atlasctl import status as status_module
from atlasctl.cli import main
from atlasctl.doctor import EXAMINATIONS, examine
from atlasctl.health.command import examine as run_checks
from atlasctl.logs import render
from atlasctl.words import utc_now

FAILED = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}
APP = Path(__file__).parents[2] / "app"


@pytest.fixture
def well(machine: Machine, site: Site, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine where nothing is wrong."""
    for unit in ("atlas-api.service", "atlas-worker.service", "nginx.service"):
        machine.unit(unit)
    machine.unit("atlas-health.timer", SubState="waiting")
    machine.unit("atlas-health.service", UnitFileState="static", ActiveState="inactive", SubState="dead")
    for program in ("nginx", "timedatectl"):
        machine.program(program, "exit 0")
    machine.program("systemd-detect-virt", "exit 1")
    machine.check("api", check="unit", unit="atlas-api.service")
    port = site.port
    data = machine.root / "var/lib/atlas"
    machine.file("var/lib/atlas/atlas.db", "data")
    machine.file("etc/atlas/atlas.env", f"ATLAS_DATA_DIR=/var/lib/atlas\nATLAS_API_PORT={port}\n")
    machine.file("etc/atlas/secrets/owner_password", "secret", mode=0o640)
    machine.file("opt/atlas/releases/abc/FINISHED", {"at": "2026-11-22T03:00:00Z"})
    machine.file("opt/atlas/releases/abc/SERVED", {"at": "2026-11-22T03:00:00Z"})
    (machine.root / "opt/atlas/current").symlink_to("releases/abc")
    site.answers["/health"] = (200, '{"status": "ok", "checks": {}}')
    monkeypatch.setattr("atlasctl.doctor.NGINX_PORTS", [port])
    monkeypatch.setattr("atlasctl.doctor.ROOT", os.geteuid())
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert data.is_dir()
    run_checks(machine.paths, utc_now(), may_heal=False)
    return machine


class TestStatus:
    def test_at_a_glance(self, well: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["status"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("HEALTHY since")
        told = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[lines.index("") + 1 :]}
        assert told["atlas-worker"] == "active (running)"
        assert told["atlas-health.timer"] == "active (waiting)"
        assert told["release"] == "abc"
        assert told["app"] == "ok"
        assert told["checked"].endswith("ago")
        assert "atlas-health" not in told, "what a timer starts and what ends by itself is no news"

    def test_for_programs(self, well: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        well.unit("atlas-api.service", **FAILED)
        run_checks(well.paths, utc_now(), may_heal=False)
        assert main(["status", "--json"]) == 2
        look = json.loads(capsys.readouterr().out)
        assert (look["state"], look["release"], look["stale"]) == ("DOWN", "abc", False)
        assert look["units"]["atlas-api.service"] == "failed (exit-code)"

    def test_checks_that_stopped_are_not_healthy(
        self, well: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run_checks(well.paths, utc_now() - timedelta(minutes=4), may_heal=False)
        assert main(["status"]) == 2
        assert capsys.readouterr().out.startswith(
            "UNKNOWN: the checks stopped 4 minutes ago. Look: systemctl"
        )

    def test_a_machine_where_nothing_is_there_yet(
        self,
        machine: Machine,
        site: Site,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        machine.file("etc/atlas/atlas.env", "ATLAS_API_PORT=9\n")
        machine.program("systemctl", "exit 1")
        machine.file("var/lib/atlas-status/status.json", '{"checked_at": "nonsense"}')
        assert main(["status"]) == 2
        said = capsys.readouterr().out
        assert (
            "UNKNOWN: the checks never ran here. Start them: systemctl enable --now atlas-health.timer"
            in said
        )
        assert "release                none: atlasctl release list" in said
        assert "app                    does not say how it is: Connection refused" in said
        assert "systemd does not say" in said

    @pytest.mark.parametrize(
        ("body", "lines"),
        [
            (
                (
                    '{"status": "degraded", "checks": {"pipeline": {"status": "ok", "message": "3 wait."},'
                    ' "worker": {"status": "degraded", "message": "No worker runs."}, "odd": 5}}'
                ),
                ["app degraded", "queue 3 wait.", "worker No worker runs."],
            ),
            ('{"status": "ok", "checks": []}', ["app ok"]),
            ("{}", ["app answers"]),
            ("[]", ["app does not say how it is: answers 200"]),
            ("oops", ["app does not say how it is: answers 200"]),
        ],
    )
    def test_what_the_app_says_of_itself(
        self, well: Machine, site: Site, capsys: pytest.CaptureFixture[str], body: str, lines: list[str]
    ) -> None:
        site.answers["/health"] = (200, body)
        main(["status"])
        said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        start = next(number for number, line in enumerate(said) if line.startswith("app "))
        assert said[start:-1] == lines

    def test_watching_goes_on_until_ctrl_c(
        self, well: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = iter([None, KeyboardInterrupt()])

        def sleep(seconds: float) -> None:
            assert seconds == 5
            if interrupt := next(looks):
                raise interrupt

        monkeypatch.setattr(status_module, "pause", sleep)
        assert main(["status", "--watch"]) == 130
        assert capsys.readouterr().out.count("\x1b[2J\x1b[HHEALTHY") == 2


class TestLogs:
    def entry(self, message: Any, **more: Any) -> str:
        stamp = int(datetime(2026, 11, 22, 4, 5, 6, tzinfo=UTC).timestamp() * 1e6)
        fields = {
            "__REALTIME_TIMESTAMP": str(stamp),
            "_SYSTEMD_UNIT": "atlas-worker.service",
            "PRIORITY": "6",
        }
        return json.dumps({**fields, "MESSAGE": message, **more})

    @pytest.mark.parametrize(
        ("message", "more", "line"),
        [
            ("plain words", {}, "atlas-worker info   plain words"),
            ("it broke", {"PRIORITY": "3"}, "atlas-worker ERROR  it broke"),
            (
                '{"event": "item failed", "level": "warning", "timestamp": "x", "id": 7, "why": "a b"}',
                {},
                'atlas-worker warnin item failed id=7 why="a b"',
            ),
            (
                '{"event": "crash", "level": "error", "url": "https://a/b"}',
                {},
                "atlas-worker ERROR  crash url=https://a/b",
            ),
            ('{"no": "event"}', {}, 'atlas-worker info   {"no": "event"}'),
            ("{torn", {}, "atlas-worker info   {torn"),
            ([104, 105, 255], {}, "atlas-worker info   hi�"),
            (None, {}, "atlas-worker info   (too long to show)"),
            (
                "Started.",
                {"_SYSTEMD_UNIT": "init.scope", "UNIT": "nginx.service"},
                "nginx        info   Started.",
            ),
            (
                "hm",
                {"_SYSTEMD_UNIT": None, "SYSLOG_IDENTIFIER": "sudo", "PRIORITY": None},
                "sudo         info   hm",
            ),
        ],
    )
    def test_a_line_for_a_person(self, message: Any, more: dict[str, Any], line: str) -> None:
        assert render(self.entry(message, **more)) == f"11-22 04:05:06 {line}"

    @pytest.mark.parametrize(
        "line", ["-- No entries --\n", "{}", "[]", '{"__REALTIME_TIMESTAMP": "x"}', "null"]
    )
    def test_what_is_no_entry_comes_through(self, line: str) -> None:
        assert render(line) == line.rstrip("\n")

    @pytest.mark.parametrize(
        ("arguments", "asked"),
        [
            ([], "--unit=atlas-* --unit=nginx.service --unit=postgresql* --lines=100"),
            (["api", "cron.service", "-n", "5"], "--unit=atlas-api.service --unit=cron.service --lines=5"),
            (["database", "--since", "09:00"], "--unit=postgresql* --since=09:00"),
            (["worker", "-f"], "--unit=atlas-worker.service --lines=100 --follow"),
        ],
    )
    def test_what_is_asked_of_the_journal(
        self, machine: Machine, capsys: pytest.CaptureFixture[str], arguments: list[str], asked: str
    ) -> None:
        machine.file("journal", self.entry("one") + "\n" + self.entry("two") + "\n")
        assert main(["logs", *arguments]) == 0
        assert machine.calls() == [f"journalctl --no-pager --output=json {asked}"]
        assert capsys.readouterr().out.count("atlas-worker info") == 2

    def test_no_journal(
        self, machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine.program("journalctl", "exit 1")
        assert main(["logs"]) == 1
        monkeypatch.setenv("PATH", "/nowhere")
        assert main(["logs"]) == 1
        assert "journalctl is not there" in capsys.readouterr().err

    def test_a_reader_that_leaves_early_is_no_error(self, machine: Machine) -> None:
        machine.file("journal", (self.entry("x" * 200) + "\n") * 5000)
        command = f"{sys.executable} -m atlasctl logs | head -1"
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            env={**os.environ, "PYTHONPATH": str(APP)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert len(done.stdout.splitlines()) == 1


def found(machine: Machine) -> dict[str, str]:
    return {finding.what: finding.repair for finding in examine(machine.paths, utc_now())}


class TestDoctor:
    def test_nothing_to_find(self, well: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        assert found(well) == {}
        assert main(["doctor"]) == 0
        said = "Nothing found: all that doctor knows to look at is in order.\n"
        assert capsys.readouterr() == (said, "")

    @pytest.mark.parametrize(
        ("state", "what", "repair"),
        [
            ({"LoadState": "masked"}, "is masked", "systemctl unmask X && systemctl enable --now X"),
            (
                {"LoadState": "masked", "UnitFileState": "masked-runtime"},
                "is masked",
                "systemctl unmask X --runtime && systemctl enable --now X",
            ),
            ({"LoadState": "not-found"}, "is not there", "site.yml puts it back: run it again"),
            (
                {"LoadState": "bad-setting"},
                "(bad-setting)",
                "systemctl status X; site.yml puts it back: run it again",
            ),
            ({"UnitFileState": "disabled"}, "is disabled", "systemctl enable --now X"),
            (FAILED, "has failed (exit-code)", "atlasctl logs X -n 50; systemctl restart X"),
            ({"ActiveState": "inactive", "SubState": "dead"}, "is stopped", "systemctl start X"),
        ],
    )
    def test_units(self, well: Machine, state: dict[str, str], what: str, repair: str) -> None:
        name = "atlas-worker.service"
        well.unit(name, **state)
        ((said, command),) = found(well).items()
        assert said.startswith(name)
        assert what in said
        assert command == repair.replace("X", name)

    def test_a_timer_that_will_not_fire(self, well: Machine) -> None:
        well.unit("atlas-certificate.timer", SubState="elapsed")
        said = "atlas-certificate.timer has no next time: it will not fire again"
        assert found(well) == {said: "systemctl restart atlas-certificate.timer"}

    def test_the_current_release(self, well: Machine) -> None:
        current = well.paths.app_root / "current"
        current.unlink()
        assert list(found(well).values()) == ["atlasctl release rollback"]
        current.symlink_to("releases/gone")
        assert f"{current} points to gone, which is not there" in found(well)
        (well.paths.app_root / "releases/abc/FINISHED").unlink()
        assert "atlasctl release deploy" in found(well).values(), "nothing served: nothing to roll back to"
        assert found(well)["unfinished releases take up space: abc"] == "atlasctl release prune --count 3"
        current.unlink()
        current.symlink_to("releases/abc")
        assert "the current release abc is unfinished" in found(well)

    def test_secrets(self, well: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        secret = well.file("etc/atlas/secrets/database_password", "x", mode=0o644)
        assert f"{secret} is open to others (-rw-r--r--)" in found(well)
        assert f"chmod 0640 {secret}" in found(well).values()
        secret.chmod(0o640)
        secret.write_text("")
        assert found(well)[f"{secret} is empty"] == "site.yml puts it back: run it again"
        monkeypatch.setattr("atlasctl.doctor.ROOT", 65533)
        assert found(well)[f"{secret} does not belong to root"] == f"chown root {secret}"

    def test_disk(self, well: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("atlasctl.doctor.DISK_PERCENT", 0)
        said = list(found(well))
        assert any("% of the space on the disk of" in line for line in said)
        assert any("% of the inodes on the disk of" in line for line in said)

    def test_clock(self, well: Machine) -> None:
        well.program("timedatectl", "echo no")
        well.file("opt/atlas/releases/abc/FINISHED", {"at": "2199-01-01T00:00:00Z"})
        said = list(found(well))
        assert "the clock is not synchronised" in said
        assert any("a release is from the future" in line for line in said)
        well.program("systemd-detect-virt", "exit 0")
        assert found(well) == {}, "a container cannot help it"

    def test_certificates(self, well: Machine, tmp_path: Path) -> None:
        short = tmp_path / "short.pem"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -days 3"
        subprocess.run(
            f"{command} -keyout {tmp_path}/key -out {short}".split(), check=True, capture_output=True
        )
        well.check("short", check="certificate", file=str(short))
        well.check("none", check="certificate", file=f"{tmp_path}/none.pem")
        said = list(found(well))
        assert f"the certificate {short} ends in 3 days" in said
        assert any("none.pem: no readable certificate" in line for line in said)
        (tmp_path / "renewal.json").write_text('{"trouble": "a.example has no address"}')
        well.check("short", check="certificate", file=str(short), renewal=f"{tmp_path}/renewal.json")
        assert found(well)["there is no new certificate: a.example has no address"] == "atlas-certificate"
        late = examine(well.paths, utc_now() + timedelta(days=10))
        assert f"the certificate {short} ended 7 days ago" in [finding.what for finding in late]

    def test_nginx(self, well: Machine) -> None:
        well.program("nginx", "echo 'nginx: [emerg] unknown directive \"foo\" in x.conf:3' >&2; exit 1")
        assert found(well) == {
            'nginx does not accept its configuration: nginx: [emerg] unknown directive "foo" in x.conf:3': (
                "nginx -t; site.yml puts it back: run it again"
            )
        }

    def test_database_file(self, well: Machine) -> None:
        (well.root / "var/lib/atlas/atlas.db").unlink()
        assert any("atlas.db is not there" in line for line in found(well))
        well.file("etc/atlas/atlas.env", "ATLAS_DATABASE_URL=sqlite:////srv/x.db\n")
        assert "the database /srv/x.db is not there" in found(well)

    def test_database_server(self, well: Machine) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            well.file(
                "etc/atlas/atlas.env",
                f"ATLAS_DATABASE_URL=postgresql+psycopg://atlas@127.0.0.1:{port}/atlas\n",
            )
            assert not any("database" in line for line in found(well))
        assert f"the database does not accept connections on 127.0.0.1:{port}" in found(well)

    def test_ports(self, well: Machine) -> None:
        well.file("etc/atlas/atlas.env", "ATLAS_DATA_DIR=/var/lib/atlas\nATLAS_API_PORT=9\n")
        assert found(well) == {
            "atlas-api.service runs, but port 9 does not answer": "atlasctl logs atlas-api.service -n 50"
        }
        well.unit("atlas-api.service", **FAILED)
        assert not any("port 9" in line for line in found(well)), "one finding a cause"

    def test_files_of_checks(self, well: Machine) -> None:
        broken = well.file("etc/atlas/health.d/x.json", "{")
        assert any(line.startswith(f"{broken}: not JSON") for line in found(well))
        for path in well.paths.health_d.iterdir():
            path.unlink()
        assert f"no check is defined in {well.paths.health_d}" in found(well)

    def test_checks_that_fail_or_do_not_run(self, well: Machine) -> None:
        well.check("web", check="http", title="The web", url="http://127.0.0.1:9/")
        run_checks(well.paths, utc_now(), may_heal=False)
        assert "The web is DOWN: http://127.0.0.1:9/: Connection refused" in found(well)
        run_checks(well.paths, utc_now() - timedelta(hours=3), may_heal=False)
        assert found(well)["the checks last ran 3 hours ago; they should every 30 seconds"] == (
            "systemctl restart atlas-health.timer"
        )
        (well.paths.status_dir / "status.json").unlink()
        assert "the checks never ran; they should every 30 seconds" in found(well)

    def test_it_does_not_stop_at_what_it_cannot_look_at(
        self, well: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        well.program("systemctl", "echo 'no bus' >&2; exit 1")
        said = [line for line in found(well) if "could not look" in line]
        assert len(said) == 2
        assert "no bus" in said[0]
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        assert main(["doctor"]) == len(found(well))
        said = capsys.readouterr()
        assert "1. units: could not look: systemd" in said.out
        assert said.err == "Some things only root can see. All of it: sudo atlasctl doctor\n"

    def test_an_empty_machine(self, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        code = main(["doctor", "--json"])
        findings = json.loads(capsys.readouterr().out)
        assert code == len(findings) > 0
        assert {"atlas-health.timer is not there", "the checks never ran; they should every 30 seconds"} <= {
            finding["what"] for finding in findings
        }

    def test_the_exit_code_stays_one(self, well: Machine) -> None:
        for number in range(120):
            well.file(f"etc/atlas/health.d/x{number}.json", "{")
        assert main(["doctor"]) == 99

    def test_every_examination_is_known_by_its_name(self) -> None:
        assert len({look.__name__ for look in EXAMINATIONS}) == len(EXAMINATIONS)


class TestCommandLine:
    def test_help_says_where_to_start(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["--help"])
        said = " ".join(capsys.readouterr().out.split())
        assert "Lost? Start with: atlasctl status, then: atlasctl doctor" in said
        for command in ("status", "doctor", "logs", "health", "release"):
            assert f" {command} " in said

    @pytest.mark.parametrize("words", [["release", "deploy"], ["release", "prune"], ["health"], ["logs"]])
    def test_every_command_explains_itself(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as done:
            main([*words, "--help"])
        assert done.value.code == 0
        assert "show this help" in capsys.readouterr().out

    def test_it_needs_nothing_but_the_standard_library(self, machine: Machine) -> None:
        """Import every module with a python that sees no packages."""
        modules = [
            ".".join(path.relative_to(APP).with_suffix("").parts)
            for path in (APP / "atlasctl").rglob("*.py")
            if path.name not in ("__main__.py", "__init__.py")
        ]
        script = f"import sys; sys.path.append({str(APP)!r})\nimport {', '.join(modules)}"
        subprocess.run([sys.executable, "-ISB", "-c", script], check=True)

    def test_health_loads_nothing_it_does_not_need(self) -> None:
        script = f"""import sys; sys.path.append({str(APP)!r})
import atlasctl.cli, atlasctl.health.command
print(*sys.modules)"""
        done = subprocess.run(
            [sys.executable, "-ISB", "-c", script], check=True, capture_output=True, text=True
        )
        slow = {
            "ssl",
            "asyncio",
            "dataclasses",
            "inspect",
            "logging",
            "tempfile",
            "unittest",
            "concurrent.futures",
        }
        assert not slow & set(done.stdout.split())

    def test_it_runs_as_a_module(self) -> None:
        """As the role's launcher runs it, with the exit code of a question that has an answer."""
        done = subprocess.run(
            [sys.executable, "-m", "atlasctl", "release", "list", "--root=/nowhere"],
            env={**os.environ, "PYTHONPATH": str(APP)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith("No release yet.")
