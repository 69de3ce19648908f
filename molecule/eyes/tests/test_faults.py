"""Every trouble a container can have is made, its mail waited for, and the mail when it is over."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from watching import HARMLESS, QUICK

#: Seconds from the fault to the mail: what is critical within 5 minutes, with intervals as in production.
CRITICAL_SECONDS = 300
PATIENCE_SECONDS = 120 if QUICK else 1200
ROOT = Path(__file__).parents[3]
TABLE = Path("/tmp/eyes-table.json")


@dataclass(frozen=True)
class Fault:
    """What is done to the machine, what takes it back, and the alerts it is told by."""

    name: str
    make: str
    mend: str
    alerts: tuple[str, ...]
    lasts: bool = False  # a rule that looks back for minutes sees it still


def broken(unit):
    """Return the commands that keep a unit from starting, and that let it."""
    drop_in = f"/run/systemd/system/{unit}.d"
    make = f"mkdir -p {drop_in} && printf '[Service]\\nExecStartPre=/bin/false\\n' > {drop_in}/broken.conf"
    again = "systemctl daemon-reload && systemctl reset-failed"
    return (
        f"{make} && systemctl daemon-reload && systemctl restart --no-block {unit}",
        f"rm -r {drop_in} && {again} {unit}; systemctl start {unit}",
    )


def disk(name, options, fill):
    """Return the commands that make a small disk full, and that empty it."""
    at = f"/srv/{name}"
    return (
        f"mkdir -p {at} && mount -t tmpfs -o {options} {name} {at} && cd {at} && {fill}",
        f"umount {at} && rmdir {at}",
    )


CERTIFICATE, ASIDE = "/etc/atlas/certificate/current", "/run/certificate-aside"
PRACTICE, BAD = "/etc/atlas/health.d/practice.json", "/etc/prometheus/rules.d/bad.yml"
PRACTICE_DISK, TARGETS = "/etc/atlas/health.d/practice-disk.json", "/etc/prometheus/targets.d/atlas.yml"
RELOAD = "systemctl reload prometheus"
SHUT = "/run/systemd/system/atlas-certificate.timer.d"
SHORT = (
    f"cp -a {CERTIFICATE}/. {ASIDE}/ && cd {CERTIFICATE}"
    " && openssl req -x509 -new -key privkey.pem -days {days} -subj /CN=machine -out fullchain.pem"
    " && systemctl reload nginx"
)
LOOKED = "systemctl start prometheus-node-exporter-apt.service"

# What does not get into each other's way, at once.
TOGETHER = [
    Fault(
        "a timer cannot be started",  # one that is only stopped is started again by health
        f"mkdir -p {SHUT} && printf '[Unit]\\nConditionPathExists=/nowhere\\n' > {SHUT}/practice.conf"
        " && systemctl daemon-reload && systemctl stop atlas-certificate.timer",
        f"rm -r {SHUT} && systemctl daemon-reload && systemctl start atlas-certificate.timer",
        ("TimerStopped",),
    ),
    Fault(
        "a unit fails",
        "systemd-run --quiet --unit=atlas-practice false",
        "systemctl reset-failed atlas-practice.service",
        ("UnitFailed",),
    ),
    Fault(
        "a unit starts and dies, over and over",
        "systemd-run --quiet --collect --unit=atlas-flapping -p Restart=always -p RestartSec=1"
        " -p StartLimitBurst=99 false",
        "systemctl stop atlas-flapping.service",
        ("UnitRestarting",),
        lasts=QUICK,
    ),
    Fault("a disk is 85 % full", *disk("filling", "size=20m", "fallocate -l 17m file"), ("DiskFilling",)),
    Fault("a disk is 95 % full", *disk("full", "size=20m", "fallocate -l 19m file"), ("DiskFull",)),
    Fault("a disk has no inodes left", *disk("inodes", "nr_inodes=20", "touch $(seq 18)"), ("InodesLow",)),
    Fault(
        "the certificate that is shown ends in 3 days",
        f"mkdir -p {ASIDE} && {SHORT.format(days=3)}",
        f"cp -a {ASIDE}/. {CERTIFICATE}/ && rm -r {ASIDE} && systemctl reload nginx",
        ("CertificateExpires",),
    ),
    Fault(
        "an update waits for a restart of the machine",
        f"touch /run/reboot-required && {LOOKED}",
        f"rm /run/reboot-required && {LOOKED}",
        ("RebootRequired",) if QUICK else (),
    ),
    Fault(
        "nobody looks for updates",
        f"touch -d '5 days ago' /var/lib/apt/periodic/update-success-stamp && {LOOKED}",
        f"touch /var/lib/apt/periodic/update-success-stamp && {LOOKED}",
        ("UpdatesFailing",) if QUICK else (),
    ),
    Fault(
        "an exporter is switched off",
        "systemctl disable --quiet --now prometheus-process-exporter.service",
        "systemctl enable --quiet --now prometheus-process-exporter.service",
        ("TargetDown",),
    ),
    Fault(
        "a check of health finds something down",
        """echo '{"check": "tcp", "title": "Practice", "address": "127.0.0.1:9"}' > """ + PRACTICE,
        f"rm {PRACTICE}",
        ("HealthBad",),
    ),
    Fault(
        "a rule cannot be judged",
        f"printf 'groups: [{{name: bad, rules: [{{record: a, expr: up * on() up}}]}}]' > {BAD} && {RELOAD}",
        f"rm {BAD} && {RELOAD}",
        ("RulesFailing",),
        lasts=QUICK,
    ),
    Fault(
        "connections to the database are nearly used up",
        "systemd-run --quiet --unit=atlas-guests -p User=postgres"
        " -E PGOPTIONS='-c client_connection_check_interval=1000'"
        " bash -c 'for i in $(seq 75); do psql -qc \"select pg_sleep(3600)\" & done; wait'",
        "systemctl stop atlas-guests.service",
        ("PostgresqlConnections",),
    ),
]
API = broken("atlas-api.service")
NGINX = broken("nginx.service")
WORKER = broken("atlas-worker.service")
DATABASE = broken("postgresql@15-main.service")
ALONE = [
    Fault("the app does not start", *API, ("ApiDown", "UnitDown")),
    Fault("the web server does not start", *NGINX, ("PageDown", "UnitDown")),
    Fault("the worker does not start", *WORKER, ("UnitDown", "WorkerLost")),
    Fault("the database does not start", *DATABASE, ("PostgresqlDown", "DatabaseDown", "UnitDown")),
    Fault(
        "Prometheus is given a rule file that is none",
        f"echo nonsense > {BAD} && {RELOAD}",
        f"rm {BAD} && {RELOAD}",
        ("PrometheusConfigurationBad",),
    ),
]
# It takes minutes to see that nothing happens.
SLOW = [
    Fault(
        "a check of health finds something not as it should be",
        f"""echo '{{"check": "disk", "path": "/", "warning": 0, "critical": 100}}' > {PRACTICE_DISK}""",
        f"rm {PRACTICE_DISK}",
        ("HealthDegraded",),
    ),
    Fault(
        "the app's numbers are not asked for any more",
        f"mv {TARGETS} {TARGETS}.aside",
        f"mv {TARGETS}.aside {TARGETS}",
        ("TargetsGone",),
    ),
    Fault(
        "health does not run",
        "systemctl stop atlas-health.timer",
        "systemctl start atlas-health.timer",
        ("HealthStopped",),
    ),
]


def critical():
    """Return the alerts that are told by day and night."""
    found = set()
    for path in ROOT.glob("roles/*/tree/etc/prometheus/rules.d/*.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            found |= {
                one["alert"] for one in group["rules"] if one.get("labels", {}).get("severity") == "critical"
            }
    return found


def told_in_time(mailbox, word, since, after):
    """Wait for mails that tell of all the alerts; return the seconds to each, `since` it began or ended."""
    seconds = {}
    end = time.monotonic() + PATIENCE_SECONDS
    while missing := since.keys() - seconds.keys():
        for name in mailbox.told(word, after) & missing:
            seconds[name] = round(time.monotonic() - since[name])
        assert time.monotonic() < end, f"no mail of {missing} within {PATIENCE_SECONDS} s"
        time.sleep(0.25)
    return seconds


def at_once(host, commands):
    """Run commands in one go, as trouble comes; the first that fails ends it."""
    host.check_output("set -e\n" + "\n".join(f"(\n{command}\n)" for command in commands))


def go_through(host, mailbox, faults, rows):
    """Make faults, wait for the mails, mend them, wait for the mails; return the subjects of all mails."""
    after = len(mailbox)
    made = dict.fromkeys([name for fault in faults for name in fault.alerts], time.monotonic())
    at_once(host, [fault.make for fault in faults])
    try:
        seconds = told_in_time(mailbox, "since", made, after)
    finally:
        told = len(mailbox)
        over_since = time.monotonic()
        at_once(host, [fault.mend for fault in faults])
    mended = dict.fromkeys([name for fault in faults if not fault.lasts for name in fault.alerts], over_since)
    over = told_in_time(mailbox, "from", mended, told)
    late = {name for name in critical() & seconds.keys() if seconds[name] > CRITICAL_SECONDS}
    assert late == set(), seconds
    rows += [(fault.name, name, seconds[name], over.get(name)) for fault in faults for name in fault.alerts]
    return mailbox.subjects(after)


@pytest.fixture(scope="module")
def rows():
    """What was measured; a table at the end."""
    measured = []
    yield measured
    TABLE.write_text(json.dumps(measured))
    for fault, alert, seconds, over in measured:
        print(f"| {fault} | {alert} | {seconds} | {over} |")


def test_nothing_is_wrong_with_a_machine_that_is_well(prometheus, eventually):
    eventually(lambda: prometheus.firing() <= HARMLESS, 60)


@pytest.mark.timeout(2 * PATIENCE_SECONDS + 60)
def test_a_storm_of_faults_is_told_in_few_mails(host, mailbox, rows):
    subjects = go_through(host, mailbox, TOGETHER, rows)
    assert len(subjects) <= 16, "\n".join(subjects)


@pytest.mark.timeout(2 * PATIENCE_SECONDS + 60)
@pytest.mark.parametrize("fault", ALONE + ([] if QUICK else SLOW), ids=lambda fault: fault.name)
def test_what_is_broken_is_told_and_told_again_when_it_is_well(host, mailbox, rows, fault):
    go_through(host, mailbox, [fault], rows)


@pytest.mark.skipif(QUICK, reason="it takes ten minutes: make test-long")
@pytest.mark.timeout(1200 + PATIENCE_SECONDS)
def test_no_mail_is_lost_while_the_mail_server_is_away(host, mailbox):
    after = len(mailbox)
    mailbox.server.shut()
    host.check_output("systemd-run --quiet --unit=atlas-practice false")
    time.sleep(300)
    host.check_output("systemctl reset-failed atlas-practice.service")
    time.sleep(300)
    assert len(mailbox) == after
    mailbox.server.open()
    told = time.monotonic()
    told_in_time(mailbox, "since", {"UnitFailed": told}, after)
    told_in_time(mailbox, "from", {"UnitFailed": told}, after)
