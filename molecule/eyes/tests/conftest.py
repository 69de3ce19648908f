"""The machine's Prometheus and mailbox, and time that passes quicker: `for: 5m` of a rule counts as 5 s.

With EYES_INTERVALS=production nothing is quicker than on a machine that lives.
"""

import os
import re
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))

from conftest import through_ssh
from mailserver import MailServer

GIVEN = yaml.safe_load((Path(__file__).parents[1] / "variables.yml").read_text())
QUICK = os.environ.get("EYES_INTERVALS") != "production"
FOR = r"s/^\( *for: \)\([0-9]*\)[mhd]$/\1\2s/"
TOLD = re.compile(r"^(\w+)(?:, on \S+)?, (since|from) ", re.MULTILINE)


class Prometheus:
    """What the machine's Prometheus says."""

    def __init__(self, client):
        self.client = client

    def ask(self, path, **parameters):
        """Return the data of an answer of its API."""
        answer = self.client.get(f"/prometheus/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def query(self, expression):
        """Return the values of a vector: by their labels, as a set of pairs."""
        found = self.ask("query", query=expression)["result"]
        return {
            frozenset((k, v) for k, v in one["metric"].items() if k != "__name__"): float(one["value"][1])
            for one in found
        }

    def value(self, expression):
        """Return the only value."""
        ((value,),) = [self.query(expression).values()]
        return value

    def firing(self):
        """Return the names of the alerts that fire."""
        return {
            one["labels"]["alertname"] for one in self.ask("alerts")["alerts"] if one["state"] == "firing"
        }


class Mailbox:
    """What came by mail, and which alerts it tells of."""

    def __init__(self, server):
        self.server = server

    def told(self, word, after=0):
        """Return the alerts told as firing (`since`) or over (`from`) in the mails after so many."""
        texts = [mail[1].decode().replace("\r\n", "\n") for mail in self.server.mails[after:]]
        return {name for text in texts for name, said in TOLD.findall(text) if said == word}

    def __len__(self):
        return len(self.server.mails)


@pytest.fixture(scope="session")
def prometheus(scenario_directory):
    """The machine's Prometheus, through SSH."""
    with through_ssh(scenario_directory, 9090) as client:
        yield Prometheus(client)


@pytest.fixture(scope="session", autouse=True)
def mailbox(scenario_directory):
    """A mail server that the machine reaches."""
    host = pytest.importorskip("testinfra").get_host(
        "ssh://machine", ssh_config=str(scenario_directory / "ssh/config")
    )
    names = ("atlas_mail_port", "atlas_mail_user", "atlas_mail_password")
    server = MailServer(scenario_directory, *(GIVEN[name] for name in names))
    host.check_output(f"cat > {GIVEN['mail_ca_file']} <<'END'\n{server.certificate}END")
    server.open()
    if QUICK:
        host.check_output(f"sed -i '{FOR}' /etc/prometheus/rules.d/*.yml && systemctl reload prometheus")
    # On a machine whose packages were looked up weeks ago that is told at once.
    host.check_output(
        "mkdir -p /var/lib/apt/periodic && touch /var/lib/apt/periodic/update-success-stamp"
        " && systemctl start prometheus-node-exporter-apt.service"
    )
    yield Mailbox(server)
    server.stop()
