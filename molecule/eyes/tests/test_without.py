"""Last: all that watches is switched off and leaves no trace but what it measured; then it comes back."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).parents[3] / "roles"
GIVEN = yaml.safe_load((ROLES / "no_monitoring/vars/main.yml").read_text())
UNITS = GIVEN["__no_monitoring_units"]
TREES = [ROLES / "no_monitoring" / tree for tree in GIVEN["__no_monitoring_trees"]]
FILES = sorted(
    f"/{path.relative_to(tree)}".removesuffix(".j2")
    for tree in TREES
    for path in tree.rglob("*")
    if path.is_file()
)
CHECKS = {Path(name).stem for name in FILES if name.startswith("/etc/atlas/health.d/")}
PORTS = {9090, 9093, 9100, 9113, 9114, 9115, 9187, 9256}

pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Off:
    """How two plays went, and what health said before them: its exit code, and the state of each check."""

    first: object
    second: object
    code: int
    states: dict[str, str]


def health(host):
    """Return the exit code, and the state by the name of each check."""
    done = host.run("atlasctl health --json")
    return done.rc, {one["name"]: one["state"] for one in json.loads(done.stdout)["checks"]}


def states(host, what):
    """Return what systemd says of each unit, by its name."""
    asked = (f"systemctl show --value --property={what} {unit}" for unit in UNITS)
    said = host.run("\n".join(f'echo "$({one})"' for one in asked)).stdout.splitlines()
    return dict(zip(UNITS, said, strict=True))


@pytest.fixture(scope="module")
def off(host, play):
    """Switch it off, twice."""
    code, seen = health(host)
    assert seen.keys() >= CHECKS - {"grafana"}
    first, second = (play("--tags=no_monitoring", "--extra-vars=monitoring_enabled=false") for _ in range(2))
    return Off(first, second, code, seen)


def test_one_run_takes_it_away_and_the_next_finds_nothing_to_do(off):
    assert off.first.succeeded, off.first.output
    assert off.first.changes.keys() == {
        "no_monitoring : Stop what measures and tells",
        "no_monitoring : Remove their files",
        "no_monitoring : Have nginx no longer show their pages",
    }
    assert off.second.succeeded, off.second.output
    assert off.second.changes == {}, off.second.output


@pytest.mark.usefixtures("off")
def test_nothing_of_it_runs_or_would_at_a_boot(host, eventually):
    assert set(states(host, "ActiveState").values()) <= {"inactive", "failed"}
    assert "enabled" not in states(host, "UnitFileState").values()
    assert host.run(f"ls -d {' '.join(FILES)}").stdout == ""

    def listening():
        lines = host.check_output("ss -Hltn").splitlines()
        return {int(line.split()[3].rpartition(":")[2]) for line in lines}

    eventually(lambda: not listening() & PORTS)


@pytest.mark.usefixtures("off")
def test_its_pages_are_no_others_than_those_that_never_were(web, owner_password, eventually):
    def answer(path):
        return web.get(path, auth=("owner", owner_password)).status_code

    nothing = answer("/nothing")
    assert nothing != 200
    eventually(lambda: answer("/prometheus/graph") == nothing)  # a reload takes a moment
    for path in ("/prometheus/", "/alerts/", "/alerts/alerts.css", "/alerts/runbooks/docs/alerts.md"):
        assert answer(path) == nothing, path
    assert answer("/status/") == 200
    assert web.get("/status/public.html").status_code == 200


def test_health_does_not_miss_it(host, off):
    code, seen = health(host)
    assert seen.keys() == off.states.keys() - CHECKS
    worse = {name: state for name, state in seen.items() if state not in ("HEALTHY", off.states[name])}
    assert worse == {}
    assert code <= off.code
    assert set(states(host, "ActiveState").values()) <= {"inactive", "failed"}, "nor brings it back"
    found = host.run("atlasctl doctor").stdout
    assert not [word for word in ("prometheus", "atlas-alerts", "grafana") if word in found], found


@pytest.mark.usefixtures("off")
def test_what_it_measured_and_what_others_have_for_it_stays(host):
    assert host.run("ls /var/lib/prometheus/metrics2").stdout
    assert host.file("/etc/prometheus/rules.d/atlas.yml").exists
    said = host.run("atlasctl alerts")
    assert said.rc != 0
    assert "There is no Alertmanager on this machine" in said.stderr


@pytest.mark.usefixtures("off")
def test_switched_on_again_it_comes_back(host, web, play, owner_password, eventually):
    back = play("--tags=alertmanager,exporters,prometheus")
    assert back.succeeded, back.output
    wanted = {unit: state for unit, state in states(host, "ActiveState").items() if "grafana" not in unit}
    assert set(wanted.values()) == {"active"}, wanted
    enabled = states(host, "UnitFileState")
    assert {enabled[unit] for unit in wanted} == {"enabled"}, enabled
    login = ("owner", owner_password)
    for path in ("/alerts/", "/prometheus/-/ready"):
        eventually(lambda path=path: web.get(path, auth=login).status_code == 200)
