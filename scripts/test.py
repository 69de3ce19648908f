"""Run the tests: `fast` (no container), `lint`, `long`, `coverage`, or `all`, or `all NAME` for one scenario.

Each check writes a log of its own in .cache/test; the end of a failed one is shown. The last line is the sum.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

import engine
import image
import setup

LOGS = engine.CACHE / "test"
COVERAGE = LOGS / "coverage.json"
# Per cent of the app's lines that tests must reach.
LEAST_COVERED = 95
TAIL_LINES = 60
LIMIT_SECONDS = 2400
# Two checks at a time keep two cores busy; more make the containers slow without ending sooner.
LANES = 2
# Scenarios that wait for clocks most of their time go beside those, one at a time.
WAITING = ("eyes",)
# A check that is interrupted has this long to stop its servers.
STOP_SECONDS = 10
# So many checks that failed are asked once more when nothing else runs; more are no accident. After so long
# none is begun: that would not end in time.
SECOND_CHANCES = 3
LATE_SECONDS = 4700
# Databases of tests are in memory, given so many bytes of it.
MEMORY = Path("/dev/shm")  # noqa: S108 - for directories with names nobody guesses
ROOM = 4 * 1024**3
# Scenarios whose machine has a disk of its own.
WITH_DISK = ("data_volume",)
# Scenarios that take longest, the longest first: one that began late would run alone in the end.
LONGEST = (
    "site",
    "nginx",
    "memory",
    "eyes",
    "ssh",
    "site-trixie",
    "fail2ban",
    "firewall",
    "certificate-acme",
)
# Scenarios that only `make test-long` runs: of three machines, and of a stand-in for what cannot be had here.
LONG = ("disaster", "grafana")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# A mail server to fetch from, a feed reader that is a client, what archives WAL, the judges of e-books,
# alerts and TLS.
PROGRAMS = {
    "dovecot-imapd": "dovecot",
    "newsboat": "newsboat",
    "epubcheck": "epubcheck",
    "pgbackrest": "pgbackrest",
    "prometheus": "promtool",
    "prometheus-alertmanager": "amtool",
    "testssl.sh": "testssl",
    "restic": "restic",
}


@dataclass(frozen=True)
class Check:
    """A command that ends with 0 when all is well; `junit` is where it counts its tests, if it has many.

    With the words `failed_only` besides, it runs only those of its tests that failed last time.
    """

    name: str
    command: list[str]
    junit: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    failed_only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """How a check ended."""

    check: Check
    seconds: float
    passed: int
    failed: int
    skipped: int
    failures: tuple[str, ...] = ()


RUNNING: set[subprocess.Popen[bytes]] = set()


def main() -> None:
    """Run the checks asked for and exit with 1 when one failed."""
    kind, *names = sys.argv[1:] or ["all"]
    kinds = {"lint": lint, "fast": fast, "long": long_running, "coverage": coverage, "all": everything}
    if kind not in kinds:
        sys.exit(f"Usage: {sys.argv[0]} all [SCENARIO] | fast | lint | long | coverage")
    _install(with_containers=kind in {"all", "long"}, with_tests=kind != "lint" and not names)
    checks = [check for check in scenarios() if check.name in names] if names else kinds[kind]()
    if names and len(checks) != len(names):
        sys.exit(f"The scenarios are: {', '.join(check.name for check in scenarios())}.")
    for suite in sorted(
        {check.environment["MACHINE_SUITE"] for check in checks if "MACHINE_SUITE" in check.environment}
    ):
        image.ensure(engine.require(), suite)
    passed = run(checks)
    if kind == "coverage":
        passed = show_coverage() and passed
    sys.exit(0 if passed else 1)


def lint() -> list[Check]:
    """List the linters and type checkers."""
    commands = {
        "ansible-lint": ["ansible-lint", "--offline", "--strict", "-q"],
        "mypy": ["mypy"],
        "yamllint": ["yamllint", "--strict", "."],
        "ruff check": ["ruff", "check", "--quiet"],
        "ruff format": ["ruff", "format", "--check", "--quiet"],
    }
    return [Check(name, command) for name, command in commands.items()]


def fast() -> list[Check]:
    """List what needs no container and little time: units on SQLite, and every linter."""
    return [_pytest("quick tests", "not long and not slow", "-n=auto", "-k=not postgresql"), *lint()]


def long_running() -> list[Check]:
    """List the tests that take minutes, and the alerts at the pace of a machine that lives."""
    eyes = _scenario("eyes")
    eyes.environment["EYES_INTERVALS"] = "production"
    memory = _scenario("memory")
    memory.environment["MEMORY_FAULTS"] = "all"
    others = [check for check in scenarios() if check.name in LONG]
    return [
        _pytest("long tests", "long"),
        replace(eyes, name="eyes at full pace"),
        replace(memory, name="memory, all faults"),
        *others,
    ]


def coverage() -> list[Check]:
    """List the unit tests, watched for the lines and branches of the app they reach."""
    report = f"--cov-report=json:{COVERAGE}"
    return [_pytest("unit tests", "not long", "-n=auto", "--cov", report, "--cov-report=")]


def show_coverage() -> bool:
    """Print how much of the app the tests reach, the least covered first; say whether it is enough."""
    found = json.loads(COVERAGE.read_text())
    files = {name: data["summary"] for name, data in found["files"].items()}
    for name in sorted(files, key=lambda name: files[name]["percent_statements_covered"])[:15]:
        print(f"{files[name]['percent_statements_covered']:5.1f} %  {name}")
    lines = found["totals"]["percent_statements_covered"]
    branches = found["totals"]["percent_branches_covered"]
    print(f"{lines:.1f} % of the lines ({LEAST_COVERED} % are wanted) and {branches:.1f} % of the branches")
    return bool(lines >= LEAST_COVERED)


def everything() -> list[Check]:
    """List all there is, the longest first; the unit tests in two halves, so that both cores have work."""
    if not _disks():
        print(f"Left out, for a disk takes root and loop devices: {', '.join(WITH_DISK)}", flush=True)
    app = _pytest("app tests", "not long", "tests/app")
    other = _pytest("other tests", "not long", "--ignore=tests/app")
    return [app, *lint(), other, *(check for check in scenarios() if check.name not in LONG)]


def scenarios() -> list[Check]:
    """List Molecule's scenarios, those that take longest first."""
    names = sorted(path.parent.name for path in (engine.ROOT / "molecule").glob("*/molecule.yml"))
    names = [name for name in names if name not in WITH_DISK or _disks()]
    return [_scenario(name) for name in sorted(names, key=lambda name: (*LONGEST, name).index(name))]


def _disks() -> bool:
    """Say whether files can be disks here."""
    return os.geteuid() == 0 and Path("/dev/loop-control").exists()


def _scenario(name: str) -> Check:
    directory = engine.CACHE / "molecule" / name
    suite = "trixie" if name.endswith("-trixie") else os.environ.get("MACHINE_SUITE", "bookworm")
    return Check(
        name,
        ["molecule", "test", "--scenario-name", name],
        directory / "junit.xml",
        {"MOLECULE_EPHEMERAL_DIRECTORY": str(directory), "MACHINE_SUITE": suite},
    )


def _pytest(name: str, marks: str, *options: str) -> Check:
    log = name.replace(" ", "-")
    junit = LOGS / f"{log}.xml"
    command = ["pytest", "-m", marks, f"--junitxml={junit}", "-rs", "-o", f"cache_dir={LOGS / log}", *options]
    failed_only = ("--last-failed", "--last-failed-no-failures=none")
    return Check(name, command, junit, {"TMPDIR": _roomy()}, failed_only)


def _roomy() -> str:
    """Name a directory for what tests write: in memory where there is plenty, to wait for no disk."""
    if MEMORY.is_dir():
        memory = os.statvfs(MEMORY)
        if memory.f_bavail * memory.f_frsize > ROOM and not memory.f_flag & os.ST_NOEXEC:
            return str(MEMORY)
    return tempfile.gettempdir()


def run(checks: list[Check]) -> bool:
    """Run checks side by side, show each as it ends, then the table and the sum; say whether all passed."""
    LOGS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    results = []
    with ThreadPoolExecutor(LANES) as lanes, ThreadPoolExecutor(1) as beside:
        futures = [(beside if check.name in WAITING else lanes).submit(_run, check) for check in checks]
        try:
            for future in as_completed(futures):
                result = future.result()
                results.append(result)
                _show(result)
        except KeyboardInterrupt:
            print("Interrupted: stopping what runs.", flush=True)
            _stop((lanes, beside), futures)
            raise
    results, shaky = _once_more(results, started + LATE_SECONDS)
    print(f"\n{'check':<16} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
    for result in sorted(results, key=lambda result: -result.seconds):
        counts = f"{result.passed:>7} {result.failed:>7} {result.skipped:>8} {result.seconds:>8.0f}"
        print(f"{result.check.name:<16} {counts}")
    passed = sum(result.passed for result in results)
    failed = sum(result.failed for result in results)
    skipped = sum(result.skipped for result in results)
    for result in results:
        for name in result.failures:
            print(f"Failed in {result.check.name}: {name}")
    if shaky:
        print(f"Failed beside others, and passed alone: {', '.join(shaky)}")
    print(f"Took {time.monotonic() - started:.0f} s. Logs: {LOGS.relative_to(engine.ROOT)}/")
    summary = f"{passed} passed, {failed} failed, {skipped} skipped"
    (LOGS / "summary").write_text(summary + "\n")
    print(summary, flush=True)
    return failed == 0


def _once_more(results: list[Result], until: float) -> tuple[list[Result], list[str]]:
    """Run the few checks that failed again, one at a time; return all results, and whose second was better.

    Two busy cores make what waits for a clock fail now and then. What fails alone too is broken.
    """
    failed = [result for result in results if result.failed and result.seconds < LIMIT_SECONDS]
    if len(failed) > SECOND_CHANCES:
        return results, []
    shaky = {}
    for first in failed:
        if time.monotonic() >= until:
            break
        check = first.check
        name = f"{check.name} again"
        second = _run(replace(check, name=name, command=[*check.command, *check.failed_only]))
        _show(second)
        if not second.failed:
            before = first.passed if check.failed_only else 0
            shaky[check.name] = replace(
                first, passed=before + second.passed, failed=0, seconds=first.seconds + second.seconds
            )
    return [shaky.get(result.check.name, result) for result in results], list(shaky)


def _stop(lanes: tuple[ThreadPoolExecutor, ...], futures: list[Future[Result]]) -> None:
    """Start nothing more, and end what runs: by asking first, as a killed check leaves its servers behind."""
    for lane in lanes:
        lane.shutdown(wait=False, cancel_futures=True)
    try:
        _signal_running(signal.SIGINT)
        wait([future for future in futures if not future.cancelled()], timeout=STOP_SECONDS)
    finally:
        _signal_running(signal.SIGKILL)


def _signal_running(number: signal.Signals) -> None:
    for process in list(RUNNING):
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.killpg(process.pid, number)


def _run(check: Check) -> Result:
    if check.junit:
        check.junit.unlink(missing_ok=True)
    environment = {**os.environ, **check.environment}
    environment["PATH"] = f"{setup.VENV / 'bin'}:{environment['PATH']}"
    started = time.monotonic()
    with _log(check).open("w") as log:
        process = subprocess.Popen(
            check.command,
            cwd=engine.ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        RUNNING.add(process)
        try:
            succeeded = process.wait(timeout=LIMIT_SECONDS) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            log.write(f"\nKilled: it took more than {LIMIT_SECONDS} s.\n")
            succeeded = False
        finally:
            RUNNING.discard(process)
    return _result(check, time.monotonic() - started, succeeded=succeeded)


def _result(check: Check, seconds: float, *, succeeded: bool) -> Result:
    """Count the tests of a check; one that failed without a failed test counts as one failure."""
    passed = failed = skipped = 0
    failures: list[str] = []
    if check.junit and check.junit.exists():
        report = ET.parse(check.junit)  # noqa: S314 - pytest wrote it
        failures = [
            f"{case.get('classname')}::{case.get('name')}"
            for case in report.iter("testcase")
            if case.find("failure") is not None or case.find("error") is not None
        ]
        for suite in report.iter("testsuite"):
            counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
            failed += counts["failures"] + counts["errors"]
            skipped += counts["skipped"]
            passed += counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    if succeeded and not passed:
        passed = 1
    if not succeeded and not failed:
        failed = 1
    return Result(check, seconds, passed, failed, skipped, tuple(failures))


def _log(check: Check) -> Path:
    return LOGS / f"{check.name.replace(' ', '-')}.log"


def _show(result: Result) -> None:
    word = "FAILED" if result.failed else "passed"
    print(f"{word}  {result.check.name}  ({result.seconds:.0f} s)", flush=True)
    if result.failed:
        lines = _log(result.check).read_text(errors="replace").splitlines()
        print("\n".join(f"    {line}" for line in lines[-TAIL_LINES:]), flush=True)


def _install(*, with_containers: bool, with_tests: bool) -> None:
    """Install what the checks need; what only some unit tests need, only in CI, for they skip without it."""
    lacking = _test_packages() if with_tests else []
    if lacking and os.environ.get("CI") != "true":
        print(f"Tests that need {' and '.join(lacking)} will be skipped: apt-get install {' '.join(lacking)}")
        lacking = []
    if os.environ.get("CI") == "true" and not shutil.which("ssh-keygen"):
        lacking.append("openssh-client")
    setup.install_packages(
        setup.venv_packages() + (engine.packages() if with_containers else []) + lacking, "for the tests"
    )
    setup.make_venv()
    if with_tests:
        setup.make_oci()


def _test_packages() -> list[str]:
    """Name the Debian packages of what unit tests use besides .venv: servers, a browser, a judge."""
    lacking = [] if any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) else ["postgresql"]
    lacking += [] if any(map(shutil.which, BROWSERS)) else ["chromium"]
    return lacking + [package for package, program in PROGRAMS.items() if not shutil.which(program)]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
