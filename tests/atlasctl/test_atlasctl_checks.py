import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standins import Machine, Site

from atlasctl.health.checks import KINDS, Observation, observe, unit
from atlasctl.health.definitions import parse
from atlasctl.health.state import State
from atlasctl.systemd import Unit

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


def look(kind: str, **content: Any) -> Observation:
    import json

    return KINDS[kind](parse("thing", json.dumps({"check": kind, **content}).encode()), NOW)


def judge(expect: str = "active", self_restarts: int = 0, **state: Any) -> Observation:
    import json

    fields = {
        "load": "loaded",
        "enabled": "enabled",
        "active": "active",
        "sub": "running",
        "result": "success",
    }
    seen = Unit(name="x.service", restarts=0, **(fields | state))
    definition = parse("x", json.dumps({"check": "unit", "unit": "x.service", "expect": expect}).encode())
    return unit(definition, {"x.service": seen}, {"x.service": self_restarts})


@pytest.mark.parametrize(
    ("state", "expected", "words"),
    [
        ({}, State.HEALTHY, "active (running)"),
        ({"active": "failed", "sub": "failed", "result": "exit-code"}, State.DOWN, "failed (exit-code)"),
        ({"active": "inactive", "sub": "dead"}, State.DOWN, "inactive (dead)"),
        ({"active": "inactive", "sub": "dead", "enabled": "disabled"}, State.DOWN, "stopped and disabled"),
        ({"load": "masked", "active": "inactive", "sub": "dead"}, State.DOWN, "masked"),
        ({"load": "not-found", "active": "inactive", "sub": "dead"}, State.DOWN, "not-found"),
        ({"active": "activating", "sub": "start"}, State.DEGRADED, "starting"),
        (
            {"active": "activating", "sub": "auto-restart", "result": "watchdog"},
            State.CRITICAL,
            "it ended (watchdog), systemd starts it again",
        ),
        ({"sub": "elapsed"}, State.DOWN, "the timer has no next time: it will not fire again"),
        ({"self_restarts": 3}, State.DEGRADED, "ended 3 times within 10 minutes"),
        ({"expect": "not-failed", "active": "inactive", "sub": "dead"}, State.HEALTHY, "inactive (dead)"),
        (
            {"expect": "not-failed", "active": "failed", "result": "timeout"},
            State.DOWN,
            "failed (timeout)",
        ),
    ],
)
def test_what_a_units_state_means(state: dict[str, Any], expected: State, words: str) -> None:
    assert judge(**state)[:2] == (expected, words)


def test_several_units_are_as_good_as_the_worst(machine: Machine) -> None:
    machine.unit("a.service")
    machine.unit("b.service", ActiveState="failed", Result="oom-kill")
    machine.unit("c.service")
    none = parse("none", b'{"check": "unit", "units": ["x-*.timer"]}')
    none.parameters["units"] = []  # as health makes of it where there is none
    assert unit(none, {}, {})[:2] == (State.HEALTHY, "all 0 units are fine")
    both = parse("both", b'{"check": "unit", "units": ["a.service", "b.service"]}')
    fine = parse("fine", b'{"check": "unit", "units": ["a.service", "c.service"]}')
    seen, units = observe([both, fine], NOW, {})
    assert seen["both"][:2] == (State.DOWN, "b.service: failed (oom-kill)")
    assert seen["fine"][:2] == (State.HEALTHY, "all 2 units are fine")
    assert units["b.service"].result == "oom-kill"
    assert len(machine.calls("show")) == 1, "one call for all units"


def test_a_silent_systemd_is_down_not_a_crash(machine: Machine) -> None:
    machine.program("systemctl", "echo 'Failed to connect to bus' >&2; exit 1")
    seen, units = observe([parse("a", b'{"check": "unit", "unit": "a.service"}')], NOW, {})
    assert seen["a"].state == State.DOWN
    assert "Failed to connect to bus" in seen["a"].message
    assert units == {}


class TestHttp:
    def test_the_right_status_is_healthy(self, site: Site) -> None:
        site.answers["/ready"] = (200, "")
        seen = look("http", url=site.url("/ready"), host="atlas.example")
        assert seen.state == State.HEALTHY
        assert seen.message.startswith("answers 200 in")
        assert site.seen == [("/ready", "atlas.example")]

    def test_another_status_is_critical_and_says_what_came(self, site: Site) -> None:
        site.answers["/ready"] = (503, '{"error": "the database does not answer"}')
        seen = look("http", url=site.url("/ready"))
        assert seen.state == State.CRITICAL
        assert "answers 503" in seen.message
        assert "the database does not answer" in seen.message

    def test_a_redirect_is_not_followed(self, site: Site) -> None:
        site.answers["/login"] = (303, "")
        assert look("http", url=site.url("/login?next=%2F")).state == State.CRITICAL
        assert look("http", url=site.url("/login"), status=303).state == State.HEALTHY

    @pytest.mark.parametrize(
        ("body", "state"),
        [
            ('{"checks": {"worker": "ok"}}', State.HEALTHY),
            ('{"checks": {"worker": true}}', State.HEALTHY),
            ('{"checks": {"worker": "degraded"}}', State.DEGRADED),
            ('{"checks": {"worker": "down"}}', State.CRITICAL),
            ('{"checks": {"worker": ["ok"]}}', State.CRITICAL),
            ('{"checks": "ok"}', State.CRITICAL),
            ("ok", State.CRITICAL),
        ],
    )
    def test_a_field_decides(self, site: Site, body: str, state: State) -> None:
        site.answers["/health"] = (200, body)
        assert look("http", url=site.url("/health"), field="checks.worker").state == state

    def test_slow_is_degraded(self, site: Site) -> None:
        site.answers["/"] = (200, "")
        site.before = lambda: threading.Event().wait(0.08)
        assert look("http", url=site.url(), max_seconds=0.05).state == State.DEGRADED

    def test_nobody_there_is_down(self) -> None:
        seen = look("http", url="http://127.0.0.1:9/")
        assert (seen.state, seen.message) == (State.DOWN, "http://127.0.0.1:9/: Connection refused")

    def test_no_answer_in_time_is_down(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            seen = look("http", url=f"http://127.0.0.1:{deaf.getsockname()[1]}/", timeout=0.1)
        assert seen.state == State.DOWN
        assert seen.message.endswith("no answer within 0.1 s")

    def test_what_does_not_speak_http_is_down(self) -> None:
        with talker(b"SSH-2.0-OpenSSH_9.2\r\n") as address:
            assert "does not speak HTTP" in look("http", url=f"http://{address}/").message
        with talker(b"") as address:
            assert "hung up without an answer" in look("http", url=f"http://{address}/").message

    def test_a_body_that_drips_is_down(self) -> None:
        with talker(b"HTTP/1.1 200 OK\r\n", drip=True) as address:
            assert "no answer within 0.3 s" in look("http", url=f"http://{address}/", timeout=0.3).message


class talker:  # noqa: N801
    """A server that says one thing to whoever connects."""

    def __init__(self, said: bytes, *, drip: bool = False) -> None:
        self.said, self.drip, self.over = said, drip, threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.talk)

    def talk(self) -> None:
        connection, _ = self.server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(self.said)
            while self.drip and not self.over.wait(0.05):
                connection.sendall(b".")

    def __enter__(self) -> str:
        self.thread.start()
        return f"127.0.0.1:{self.server.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        self.server.close()


def test_tcp(site: Site) -> None:
    assert look("tcp", address=f"127.0.0.1:{site.port}").state == State.HEALTHY
    seen = look("tcp", address="[::1]:9")
    assert seen.state == State.DOWN
    assert "[::1]:9" in seen.message


def test_disk(tmp_path: Path) -> None:
    seen = look("disk", path="/")  # a disk in memory may be empty
    assert seen.value is not None
    assert 0 < seen.value < 100
    assert look("disk", path=str(tmp_path), warning=0, critical=100).state == State.DEGRADED
    assert look("disk", path=str(tmp_path), warning=0, critical=0).state == State.CRITICAL
    assert look("disk", path="/nowhere").message == "/nowhere: No such file or directory"
    assert look("disk", path="/proc").state == State.HEALTHY, "no blocks at all is not full"


def test_memory() -> None:
    seen = look("memory", warning=0, critical=0)
    assert seen.state == State.HEALTHY
    assert "% available" in seen.message
    assert look("memory", warning=101, critical=0).state == State.DEGRADED
    assert look("memory", warning=101, critical=101).state == State.CRITICAL


@pytest.mark.parametrize(
    ("script", "state", "message"),
    [
        ("echo fine; echo more", State.HEALTHY, "fine"),
        ("echo 'a bit late' >&2; exit 1", State.DEGRADED, "a bit late"),
        ("exit 2", State.CRITICAL, "sh: exit code 2"),
        ("exit 3", State.DOWN, "sh: exit code 3"),
        ("sleep 5", State.DOWN, "sh: no end within 0.1 s"),
    ],
)
def test_command(script: str, state: State, message: str) -> None:
    seen = look("command", argv=["sh", "-c", script], timeout=0.1 if "sleep" in script else 5)
    assert seen[:2] == (state, message)


def test_a_program_that_is_not_there() -> None:
    assert look("command", argv=["no-such-program"])[:2] == (State.DOWN, "no-such-program: not found")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Return certificates (with their key in the same file) by the days they last from today."""
    folder = tmp_path_factory.mktemp("certificates")
    made = {}
    for days in (30, 90):
        made[days] = folder / f"{days}.pem"
        key = folder / f"{days}.key"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost"
        command += f" -addext subjectAltName=DNS:localhost -days {days} -keyout {key} -out {made[days]}"
        subprocess.run(command.split(), check=True, capture_output=True)
        made[days].write_text(made[days].read_text() + key.read_text())
    return made


def today(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def certificate(now: datetime, **content: Any) -> Observation:
    import json

    return KINDS["certificate"](parse("c", json.dumps({"check": "certificate", **content}).encode()), now)


class TestCertificate:
    @pytest.mark.parametrize(
        ("later", "state", "words"),
        [
            (0, State.HEALTHY, "30 days left"),
            (20, State.HEALTHY, "10 days left"),
            (25, State.DEGRADED, "5 days left"),
            (28, State.CRITICAL, "2 days left"),
            (33, State.CRITICAL, "ended 3 days ago"),
        ],
    )
    def test_days_left(self, certificates: dict[int, Path], later: int, state: State, words: str) -> None:
        """A life of 30 days is a third of the usual one, and so are the limits."""
        seen = certificate(today(later), file=str(certificates[30]))
        assert seen.state == state
        assert words in seen.message

    def test_the_limits_are_meant_for_90_days(self, certificates: dict[int, Path]) -> None:
        looks = [certificate(today(later), file=str(certificates[90])).state for later in (68, 70, 84)]
        assert looks == [State.HEALTHY, State.DEGRADED, State.CRITICAL]

    def test_no_certificate(self, tmp_path: Path) -> None:
        (tmp_path / "x.pem").write_text("nothing")
        seen, _ = observe(
            [parse("c", b'{"check": "certificate", "file": "%s"}' % bytes(tmp_path / "x.pem"))], NOW, {}
        )
        assert seen["c"].state == State.CRITICAL
        assert "no readable certificate" in seen["c"].message

    def test_the_served_one_counts_and_an_old_one_is_noticed(
        self, certificates: dict[int, Path], tls: dict[int, str]
    ) -> None:
        fine = certificate(today(0), address=tls[90], file=str(certificates[90]))
        assert (fine.state, fine.value) == (State.HEALTHY, pytest.approx(90, abs=0.2))
        old = certificate(today(0), address=tls[30], file=str(certificates[90]))
        assert (old.state, old.value) == (State.DEGRADED, pytest.approx(30, abs=0.2))
        assert "systemctl reload nginx" in old.message

    def test_another_name(self, tls: dict[int, str]) -> None:
        seen = certificate(today(0), address=tls[90], host="other.example")
        assert seen.state == State.DEGRADED
        assert "it is not for other.example" in seen.message
        assert "not for" in certificate(today(0), address=tls[90], host="192.0.2.7").message

    def test_what_is_in_the_way_of_a_new_one(self, certificates: dict[int, Path], tmp_path: Path) -> None:
        told = tmp_path / "renewal.json"
        well = certificate(today(0), file=str(certificates[90]), renewal=str(told))
        assert well.state == State.HEALTHY
        told.write_text('{"trouble": "a.example has no address in the DNS"}')
        seen = certificate(today(0), file=str(certificates[90]), renewal=str(told))
        assert seen.state == State.DEGRADED
        assert "days left" in seen.message
        assert seen.message.endswith("; a.example has no address in the DNS")

    def test_nobody_serves(self) -> None:
        seen, _ = observe([parse("c", b'{"check": "certificate", "address": "127.0.0.1:9"}')], NOW, {})
        assert "shows no certificate for localhost" in seen["c"].message

    def test_https_is_verified_unless_told_otherwise(
        self, tls: dict[int, str], certificates: dict[int, Path]
    ) -> None:
        url = f"https://{tls[30].replace('127.0.0.1', 'localhost')}/"
        assert look("http", url=url).state == State.DOWN
        assert look("http", url=url, verify=False).state == State.HEALTHY
        assert look("http", url=url, ca_file=str(certificates[30])).state == State.HEALTHY
        assert look("http", url=url, ca_file=str(certificates[30]), host="other.example").state == State.DOWN


@pytest.fixture
def tls(certificates: dict[int, Path]) -> Iterator[dict[int, str]]:
    """Return the addresses of TLS servers, by the days their certificate lasts."""
    sites = {}
    threads = []
    for days, path in certificates.items():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        made = Site()
        made.answers["/"] = (200, "")
        made.server.socket = context.wrap_socket(made.server.socket, server_side=True)
        made.server.handle_error = lambda *_: None  # type: ignore[method-assign,assignment]
        sites[days] = made
        threads.append(threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02}))
        threads[-1].start()
    yield {days: f"127.0.0.1:{made.port}" for days, made in sites.items()}
    for made in sites.values():
        made.server.shutdown()
        made.server.server_close()
    for thread in threads:
        thread.join()


def test_one_check_that_breaks_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> Observation:
        raise RuntimeError("boom")

    monkeypatch.setitem(KINDS, "tcp", breaks)
    both = [
        parse("a", b'{"check": "tcp", "address": "x:1"}'),
        parse("b", b'{"check": "memory", "critical": 0}'),
    ]
    seen, _ = observe(both, NOW, {})
    assert seen["a"][:2] == (State.CRITICAL, "the check itself failed: RuntimeError: boom")
    assert seen["b"].state == State.HEALTHY


def test_a_check_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hangs(*_: object) -> Observation:
        over.wait(5)
        return Observation(State.HEALTHY, "too late")

    monkeypatch.setattr("atlasctl.health.checks.GRACE", 0)
    monkeypatch.setitem(KINDS, "tcp", hangs)
    seen, _ = observe([parse("a", b'{"check": "tcp", "address": "x:1", "timeout": 0.1}')], NOW, {})
    over.set()
    assert seen["a"][:2] == (State.DOWN, "no end within 0.1 s")


def test_checks_run_at_the_same_time() -> None:
    import time

    checks = [parse(f"c{n}", b'{"check": "command", "argv": ["sleep", "0.3"]}') for n in range(6)]
    started = time.monotonic()
    seen, _ = observe(checks, NOW, {})
    assert time.monotonic() - started < 1.7, "one after the other they take 1.8 s"
    assert all(one.state == State.HEALTHY for one in seen.values())
