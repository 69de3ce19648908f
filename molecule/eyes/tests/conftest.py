"""A machine that is watched, and a mailbox."""

import sys
from pathlib import Path

import pytest
import testinfra
import yaml

HERE = Path(__file__).parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

from mailserver import MailServer  # noqa: E402
from tunnel import through_ssh  # noqa: E402
from watching import HOST, QUICK, QUICKER, Mailbox, Prometheus  # noqa: E402

ALERTMANAGER = "http://127.0.0.1:9093/alertmanager"
GIVEN = yaml.safe_load((HERE / "variables.yml").read_text())


@pytest.fixture(scope="session")
def prometheus(scenario_directory):
    """The machine's Prometheus, through SSH."""
    with through_ssh(scenario_directory, 9090) as client:
        yield Prometheus(client)


@pytest.fixture
def owner_password(scenario_directory):
    """What nginx asks for."""
    return (scenario_directory / "secrets/owner_password").read_text().strip()


@pytest.fixture(scope="session", autouse=True)
def mailbox(scenario_directory):
    """A mail server that the machine reaches."""
    host = testinfra.get_host("ssh://machine", ssh_config=str(scenario_directory / "ssh/config"))
    names = ("atlas_mail_port", "atlas_mail_user", "atlas_mail_password")
    server = MailServer(scenario_directory, *(GIVEN[name] for name in names))
    host.check_output(f"cat > {GIVEN['mail_ca_file']} <<'END'\n{server.certificate}END")
    # The way from the machine to the mail server is one that its own rules for SSH do not allow.
    host.check_output("echo 'AllowTcpForwarding yes' > /etc/ssh/sshd_config.d/00-a-way.conf")
    host.check_output("systemctl reload ssh && sleep 1")
    server.open()
    host.check_output(
        f"for i in $(seq 50); do ss -Hltn | grep -q :{server.outside} && break; sleep 0.1; done"
    )
    host.check_output("atlasctl mail flush")
    if QUICK:
        host.check_output(f"sed -i '{QUICKER}' /etc/prometheus/rules.d/*.yml && systemctl reload prometheus")
    # Of what only the container's host is to blame for nothing is told.
    silence = f"amtool --alertmanager.url={ALERTMANAGER} silence add --author=test --duration=9h"
    host.check_output(f"{silence} --comment='the host is to blame' {HOST}")
    # On a machine whose packages were looked up weeks ago that is told at once.
    host.check_output(
        "mkdir -p /var/lib/apt/periodic && touch /var/lib/apt/periodic/update-success-stamp"
        " && systemctl start prometheus-node-exporter-apt.service"
    )
    # And a backup that was made and tried is what rules and panels look at.
    host.check_output("systemctl start atlas-backup.service && systemctl start atlas-drill.service")
    yield Mailbox(server)
    server.stop()
