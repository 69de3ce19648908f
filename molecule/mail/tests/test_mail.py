"""Mail by a server with TLS and a login, reached at a port of the machine; what it keeps is what arrived."""

import contextlib
import json
from pathlib import Path

import engine
import machine
import pytest
import yaml
from mailserver import MailServer

NAME = "atlas-test-mail"
GIVEN = yaml.safe_load((Path(__file__).parents[1] / "variables.yml").read_text())
PORT = GIVEN["atlas_mail_port"]
PRIVATE = GIVEN["atlas_mail_password"]
LOCAL_PORT = 2525
METRICS = "/var/lib/prometheus/node-exporter/atlas_mail.prom"


@pytest.fixture(scope="module")
def server(host, scenario_directory):
    made = MailServer(scenario_directory, PORT, GIVEN["atlas_mail_user"], PRIVATE)
    host.check_output(f"cat > {GIVEN['mail_ca_file']} <<'END'\n{made.certificate}END")
    yield made
    made.stop()


@pytest.fixture
def up(host, server, eventually):
    """The server, reached from the machine."""
    if not server.way:
        server.open()
    eventually(lambda: host.run(f"ss -Hltn | grep -q :{PORT}").rc == 0)
    # What waits because of an earlier test waits no longer.
    host.run("atlasctl mail flush")
    return server


@pytest.fixture
def down(host, server, eventually):
    """The server, out of reach."""
    server.shut()
    eventually(lambda: host.run(f"ss -Hltn | grep -q :{PORT}").rc != 0)
    return server


def waiting(host):
    return json.loads(host.run("atlasctl mail --json").stdout)["waiting"]


def send(host, subject, to="root", options="-i", user="root"):
    return host.run(
        f"printf 'Subject: {subject}\\n\\nZwölf Boxkämpfer\\n' |"
        f" runuser -u {user} -- /usr/sbin/sendmail {options} {to}"
    )


def test_what_cron_sends_reaches_the_owner(host, up, eventually):
    words = "-FCronDaemon -i -B8BITMIME -oem"
    assert send(host, "from cron", options=words).rc == 0
    eventually(lambda: up.got("from cron"))
    ((recipients, message),) = up.got("from cron")
    assert recipients == [GIVEN["atlas_mail_to"]]
    assert f"From: {GIVEN['atlas_mail_user']}".encode() in message
    assert "Zwölf Boxkämpfer".encode() in message, "not a byte is changed"


def test_anybody_may_send_and_nobody_reads_what_others_did(host, up, eventually):
    assert send(host, "from nobody", to="friend@example.net", user="nobody").rc == 0
    eventually(lambda: up.got("from nobody"))
    assert up.got("from nobody")[0][0] == ["friend@example.net"]
    assert host.run("runuser -u nobody -- ls /var/spool/atlas-mail/incoming").rc != 0
    assert host.run("runuser -u nobody -- ls /var/spool/atlas-mail/queue").rc != 0


def test_recipients_of_the_head_are_read_and_hidden_ones_stay_hidden(host, up, eventually):
    head = "To: a@example.net\\nBcc: b@example.net\\nSubject: from the head\\n\\nHello\\n"
    host.check_output(f"printf '{head}' | /usr/sbin/sendmail -t")
    eventually(lambda: up.got("from the head"))
    recipients, message = up.got("from the head")[0]
    assert sorted(recipients) == ["a@example.net", "b@example.net"]
    assert b"b@example.net" not in message


def test_what_is_no_mail_is_thrown_away_and_leads_nowhere(host, up, eventually):
    folder = "/var/spool/atlas-mail/incoming"
    host.check_output(
        f"runuser -u nobody -- sh -c 'ln -s /etc/atlas/mail_password {folder}/a; mkfifo {folder}/b;"
        f" echo no envelope > {folder}/c; mkdir {folder}/d; touch {folder}/e'"
    )
    eventually(lambda: host.check_output(f"ls {folder}") == "")
    assert send(host, "after the rubbish").rc == 0
    eventually(lambda: up.got("after the rubbish"))
    assert not up.got("tr0mb0ne")


def test_a_test_mail(host, up):
    said = host.check_output("atlasctl mail test")
    assert said.startswith("Delivered to localhost for owner@example.org")
    assert up.got("mail works")


def test_one_address_that_is_refused_holds_up_nobody(host, up, eventually):
    up.refused = {"gone@example.net"}
    send(host, "to nobody there", to="gone@example.net")
    send(host, "to somebody")
    eventually(lambda: up.got("to somebody"))
    assert "no such user here" in host.run("atlasctl mail").stdout
    up.refused = set()
    host.check_output("atlasctl mail flush")
    assert up.got("to nobody there")


def test_a_wrong_password_keeps_the_mail_and_says_so(host, up):
    up.password = b"another"
    try:
        said = host.run("atlasctl mail test")
        assert said.rc == 1
        assert "authentication failed" in said.stderr, said.stderr
        assert waiting(host) == 1
    finally:
        up.password = PRIVATE.encode()
    host.check_output("atlasctl mail flush")
    assert waiting(host) == 0


@pytest.mark.usefixtures("up")
def test_another_certificate_gets_neither_mail_nor_password(host):
    trusted = GIVEN["mail_ca_file"]
    host.check_output(
        f"mv {trusted} {trusted}.aside && cp /etc/atlas/certificate/ca.pem {trusted} 2>&1 || "
        f"cp /etc/ssl/certs/ca-certificates.crt {trusted}"
    )
    try:
        said = host.run("atlasctl mail test")
        assert said.rc == 1
        assert "certificate" in said.stderr, said.stderr
    finally:
        host.check_output(f"mv {trusted}.aside {trusted}")
    host.check_output("atlasctl mail flush")
    assert waiting(host) == 0


@pytest.mark.timeout(180)
def test_an_outage_and_a_restart_of_the_machine_lose_nothing(host, down, eventually):
    for number in range(10):
        assert send(host, f"in the dark {number};").rc == 0
    eventually(lambda: waiting(host) == 10)
    # Into a spool that nobody empties, as when the power goes.
    host.check_output("systemctl stop atlas-mail.path atlas-mail.timer")
    assert send(host, "in the dark 10;").rc == 0
    assert len(host.check_output("ls /var/spool/atlas-mail/incoming").split()) == 1
    host.check_output(
        "touch --date='-605 seconds' /run/when && cd /var/spool/atlas-mail/queue && for one in *; do"
        " mv $one $(stat -c %Y /run/when).5-${one#*-}; done"
    )
    health = host.run("atlasctl mail check")
    assert health.rc == 1
    assert "11 messages not delivered, the oldest for 10 minutes: " in health.stdout
    container_engine = engine.require()
    container_engine.run("restart", "--time=5", NAME)
    machine.wait_for_boot(container_engine, NAME)
    eventually(lambda: "atlas_mail_queue_length 11\n" in host.file(METRICS).content_string)
    assert "atlas_mail_failing 1\n" in host.file(METRICS).content_string
    down.open()
    # By itself: nobody flushes.
    eventually(lambda: waiting(host) == 0, seconds=90)
    arrived = [len(down.got(f"in the dark {number};")) for number in range(11)]
    assert arrived == [1] * 11
    assert host.run("atlasctl mail check").rc == 0
    eventually(lambda: "atlas_mail_queue_length 0\n" in host.file(METRICS).content_string)


def test_a_server_that_dies_in_the_middle_costs_nothing(host, up, eventually):
    host.check_output("systemctl stop atlas-mail.path atlas-mail.timer")
    try:
        for number in range(5):
            send(host, f"interrupted {number};")
        host.check_output("systemctl start --no-block atlas-mail.service")
        host.run("pkill -KILL -u atlas-mail")
    finally:
        host.check_output("systemctl start atlas-mail.timer atlas-mail.path")
    eventually(lambda: all(up.got(f"interrupted {number};") for number in range(5)))


@pytest.mark.usefixtures("up")
def test_the_password_is_in_no_list_of_processes_and_no_journal(host):
    seen = "atlasctl mail test >&2 & while kill -0 $! 2>&1; do ps -eo args; done"
    listed = host.run(seen).stdout
    assert "msmtp" in listed
    assert "tr0mb0ne" not in listed
    assert "tr0mb0ne" not in host.check_output("journalctl --no-pager --output=cat")
    password = host.file("/etc/atlas/mail_password")
    assert (password.user, password.mode, password.content_string) == ("root", 0o640, f"{PRIVATE}\n")
    with contextlib.suppress(AssertionError):
        host.check_output("grep -rl tr0mb0ne /etc --exclude=mail_password")
        pytest.fail("the password stands in another file")


def test_the_packages_sendmail_does_not_come_back(host):
    host.check_output("apt-get install --yes --reinstall --no-install-recommends msmtp-mta >/dev/null 2>&1")
    assert "atlasctl" in host.file("/usr/sbin/sendmail").content_string


@pytest.mark.parametrize("unit", ["atlas-mail.service", "atlas-smtp@1.service"])
def test_the_sandbox_is_tight(host, unit):
    said = host.check_output(f"systemd-analyze security --no-pager {unit} | tail -n 1")
    assert float(said.split(":")[1].split()[0]) < 2.5, said


def by_smtp(host, *recipients, message):
    """Speak SMTP from the machine as a program there does; return what it was told."""
    script = (
        "import smtplib, sys\n"
        f"with smtplib.SMTP('127.0.0.1', {LOCAL_PORT}, timeout=30) as server:\n"
        f"    server.sendmail('a@example.org', {list(recipients)!r}, {message!r}.encode())\n"
    )
    return host.run(f"python3 - <<'END'\n{script}END")


def test_what_speaks_only_smtp_is_kept_as_well(host, down, eventually):
    message = "Subject: by smtp\r\n\r\n..dots.\r\n.\r\nZw\u00f6lf\r\n"
    assert by_smtp(host, "root", "friend@example.net", message=message).rc == 0
    eventually(lambda: waiting(host) == 1)
    down.open()
    host.run("sleep 1")
    eventually(lambda: host.run("atlasctl mail flush").rc == 0 and down.got("by smtp"))
    ((recipients, content),) = down.got("by smtp")
    assert sorted(recipients) == ["friend@example.net", GIVEN["atlas_mail_to"]]
    lines = content.decode().split("\r\n\r\n", 1)[1].splitlines()
    assert lines == ["..dots.", ".", "Zw\u00f6lf"], "not a byte is changed"


def test_smtp_says_no_when_the_mail_cannot_be_kept(host):
    """Who hands it in then tries again; a yes would be a mail lost."""
    folder = "/var/spool/atlas-mail/incoming"
    host.check_output(f"chmod 0500 {folder}")
    try:
        said = by_smtp(host, "root", message="Subject: no room\r\n\r\nx\r\n")
        assert said.rc != 0
        assert "451" in said.stderr, said.stderr
    finally:
        host.check_output(f"chmod 3733 {folder}")


def test_smtp_is_open_to_this_machine_alone(host):
    listening = host.check_output(f"ss -Hltn 'sport = :{LOCAL_PORT}'").split()
    assert f"127.0.0.1:{LOCAL_PORT}" in listening
    address = host.check_output("hostname -I").split()[0]
    assert host.run(f"timeout 5 bash -c '</dev/tcp/{address}/{LOCAL_PORT}'").rc != 0


def test_smtp_with_the_words_of_a_shell_runs_none(host):
    said = by_smtp(
        host, "x;touch${IFS}/tmp/oops@example.net", "`touch /tmp/oops`", message="Subject: x\r\n\r\nx\r\n"
    )
    assert said.rc != 0
    assert not host.file("/tmp/oops").exists


@pytest.mark.timeout(180)
def test_without_a_server_mail_is_kept_and_that_is_said(host, play):
    off = {"atlas_mail_server": "", "atlas_mail_user": "", "atlas_mail_password": ""}
    done = play("--extra-vars", json.dumps(off))
    assert done.succeeded, done.output
    assert PRIVATE not in done.output
    send(host, "kept")
    host.check_output("systemctl start atlas-mail.service")
    health = host.run("atlasctl mail check")
    assert (health.rc, "off: no mail server is set (atlas_mail_server), 1 message kept" in health.stdout) == (
        0,
        True,
    )
    assert host.run("atlasctl mail test").rc == 1
    assert play().succeeded


def test_the_weekly_mail_survives_an_outage_and_says_that_there_is_no_app(host, down, eventually):
    server = down
    host.check_output("systemctl start atlas-report.service")
    assert waiting(host) >= 1
    assert not server.got("weekly")
    server.open()
    eventually(lambda: server.got("the app did not answer"), seconds=60)
    recipients, message = server.got("the app did not answer")[0]
    assert recipients == [GIVEN["atlas_mail_to"]]
    assert b"THE MACHINE" in message
    assert b"it is not installed on this machine" in message.replace(b"=\r\n", b"")
    noted = "/var/lib/prometheus/node-exporter/atlas_report.prom"
    assert "atlas_weekly_report_app_answered 0" in host.file(noted).content_string


@pytest.fixture
def app(host):
    """An app that answers as ours does, behind the command as the role atlas installs it."""
    wrapper = (Path(__file__).parents[3] / "roles/atlas/tree/usr/local/bin/atlas").read_text()
    answer = json.dumps({"subject": "Atlas: 3 new", "text": "THREE CAME IN, says $(id -un)", "html": ""})
    stub = f'#!/bin/sh\n[ "$*" = "report --weekly --json" ] && cat <<END\n{answer}\nEND\n'
    for path, text in (("/usr/local/bin/atlas", wrapper), ("/opt/atlas/current/bin/atlas", stub)):
        host.check_output(f"mkdir -p $(dirname {path}); cat > {path} <<'EOT'\n{text}EOT\nchmod 755 {path}")
    host.check_output("useradd --system atlas; mkdir -p /var/lib/atlas; touch /etc/atlas/atlas.env")
    yield
    host.check_output(
        "rm -r /usr/local/bin/atlas /opt/atlas /etc/atlas/atlas.env /var/lib/atlas; userdel atlas"
    )


@pytest.mark.usefixtures("app")
def test_the_weekly_mail_asks_the_app_as_its_user(host, up, eventually):
    host.check_output("systemctl start atlas-report.service")
    eventually(lambda: up.got("Atlas: 3 new; "), seconds=60)
    assert up.got("THREE CAME IN, says atlas")
    noted = "/var/lib/prometheus/node-exporter/atlas_report.prom"
    assert "atlas_weekly_report_app_answered 1" in host.file(noted).content_string


def test_the_weekly_mail_is_due_on_sundays_also_after_a_time_off(host):
    shown = host.check_output("systemctl show atlas-report.timer -p NextElapseUSecRealtime -p Persistent")
    assert "Sun " in shown
    assert "07:00:00" in shown
    assert "Persistent=yes" in shown
    said = host.check_output("systemd-analyze security --no-pager atlas-report.service | tail -n 1")
    assert float(said.split(":")[1].split()[0]) <= 3.0, said
