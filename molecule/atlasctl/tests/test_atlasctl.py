"""The machine looks after a unit of the test's own, `patient`, that stands where packages put theirs."""

import json

import pytest

CHECK = {"check": "unit", "title": "Patient", "unit": "patient.service", "restart": True}
UNIT = "[Service]\nExecStart=/usr/bin/sleep infinity\n"


@pytest.fixture(scope="module", autouse=True)
def _patient(host):
    write(host, "/usr/lib/systemd/system/patient.service", UNIT)
    write(host, "/etc/atlas/health.d/patient.json", json.dumps(CHECK))
    host.check_output("systemctl daemon-reload; systemctl start patient.service")
    yield
    host.check_output("systemctl stop patient.service; rm /etc/atlas/health.d/patient.json")
    host.check_output("rm /usr/lib/systemd/system/patient.service; systemctl daemon-reload")


def write(host, path, text):
    host.check_output(f"cat > {path} <<'END'\n{text}\nEND")


def report(host):
    return json.loads(host.file("/var/lib/atlas-status/status.json").content_string)


def patient(host):
    return next((check for check in report(host)["checks"] if check["name"] == "patient"), None)


def test_the_timer_checks_what_was_dropped_in(host, eventually):
    eventually(lambda: patient(host) is not None, seconds=45)
    assert patient(host)["state"] == "HEALTHY"
    assert "Patient" in host.file("/var/lib/atlas-status/index.html").content_string


def test_a_killed_unit_is_back_by_itself_and_the_page_tells(host, eventually):
    host.check_output("systemctl kill --signal=KILL patient.service")
    eventually(lambda: host.service("patient.service").is_running, seconds=75)
    eventually(lambda: "patient.service" in json.dumps(report(host)["restarts"]), seconds=10)
    journal = host.check_output(
        "journalctl --no-pager --unit=atlas-health.service --grep='restarted patient.service'"
    )
    assert "restarted patient.service" in journal


def test_what_cannot_be_healed_is_told_by_the_exit_code(host):
    assert host.run("atlasctl health").rc == 0
    write(
        host,
        "/etc/atlas/health.d/closed.json",
        json.dumps({"check": "tcp", "title": "Closed", "address": "127.0.0.1:9"}),
    )
    try:
        for _ in range(3):  # one bad answer is no verdict yet
            code = host.run("atlasctl health").rc
        assert code == 2
        status = host.run("atlasctl status")
        assert status.rc == 2
        assert "Closed" in status.stdout
    finally:
        host.check_output("rm /etc/atlas/health.d/closed.json")


def test_a_file_with_a_mistake_is_named_and_stops_nothing(host):
    write(host, "/etc/atlas/health.d/typo.json", '{"check": "unitt"}')
    try:
        assert "typo.json" in host.run("atlasctl health").stdout
        assert patient(host)["state"] == "HEALTHY"
    finally:
        host.check_output("rm /etc/atlas/health.d/typo.json")


def test_the_doctor_names_the_repair_whatever_the_environment_says(host):
    host.check_output("systemctl mask patient.service")
    try:
        answer = host.run("env -i PYTHONPATH=/nowhere PATH=/usr/bin:/bin /usr/local/bin/atlasctl doctor")
        assert answer.rc > 0
        assert "patient.service is masked" in answer.stdout
        assert "systemctl unmask patient.service" in answer.stdout
    finally:
        host.check_output("systemctl unmask patient.service")


def test_logs_are_readable(host):
    assert "restarted patient.service" in host.check_output("atlasctl logs atlas-health --lines 100")
