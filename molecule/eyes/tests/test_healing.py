"""Units are killed, stopped and made to hang, and nobody looks: the machine brings them back."""

import json
from pathlib import Path

import pytest
from watching import QUICK

OUTAGE = (Path(__file__).parents[1] / "outage.py").read_text()
TABLE = Path("/tmp/eyes-healing.json")
BOUND_SECONDS = 120
DATABASE = "postgresql@15-main.service"
EXPORTERS = [
    f"prometheus-{name}-exporter.service" for name in ("blackbox", "nginx", "node", "postgres", "process")
]
SERVICES = [
    "atlas-alerts.service",
    "atlas-api.service",
    "atlas-worker.service",
    "fail2ban.service",
    "nginx.service",
    "prometheus.service",
    "prometheus-alertmanager.service",
    *EXPORTERS,
    "ssh.service",
]
WAITING = [
    "atlas-alerts.socket",
    "atlas-certificate.timer",
    "atlas-fail2ban.timer",
    "atlas-mail.path",
    "atlas-mail.timer",
    "atlas-report.timer",
    "atlas-smtp.socket",
]
# What is done to which, at once. The app waits for its database, so that is another time.
QUICKLY = [
    ("kill", ["nginx.service", "prometheus-alertmanager.service", DATABASE]),
]
ALL = [
    ("kill", SERVICES),
    ("kill", [DATABASE]),
    ("stop", [name for name in SERVICES if name != "atlas-alerts.service"] + WAITING),
    ("stop", [DATABASE]),
    ("hang", SERVICES),
    ("hang", [DATABASE]),
]


@pytest.fixture(scope="module")
def rows():
    """Seconds by unit and by what was done; a table at the end."""
    measured = {}
    yield measured
    TABLE.write_text(json.dumps(measured))
    for unit, seconds in sorted(measured.items()):
        print(f"| {unit} | {' | '.join(str(seconds.get(doing, '')) for doing in ('kill', 'stop', 'hang'))} |")


@pytest.mark.timeout(360)
@pytest.mark.parametrize(("doing", "units"), QUICKLY if QUICK else ALL)
def test_what_does_not_serve_serves_again(host, rows, doing, units):
    # What was restarted before is not held against it.
    host.check_output("systemctl stop atlas-health.timer && rm -f /var/lib/atlasctl/health-state.json")
    host.check_output("systemctl start atlas-health.timer")
    said = host.check_output(f"python3 - {doing} {' '.join(units)} <<'END'\n{OUTAGE}END")
    seconds = json.loads(said)
    for unit, much in seconds.items():
        rows.setdefault(unit, {})[doing] = much
    assert {unit: seconds.get(unit) for unit in units if seconds.get(unit, 999) > BOUND_SECONDS} == {}
