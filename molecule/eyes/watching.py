"""The machine's Prometheus and mailbox, and time that passes quicker: `for: 5m` of a rule counts as 5 s.

With EYES_INTERVALS=production nothing is quicker than on a machine that lives.
"""

import email
import email.policy
import os
import re

QUICK = os.environ.get("EYES_INTERVALS") != "production"
#: A sed script. A new configuration costs Prometheus its first messages, which it sends again after a minute:
#: what tells of that waits until it can.
QUICKER = r"""
/alert: AlertsNotSent/,/labels/b
/alert: PrometheusConfigurationBad/,/labels/s/^\( *\)for: 2m$/\1for: 8s\n\1keep_firing_for: 8s/
s/^\( *\(keep_firing_\)*for: \)\([0-9]*\)[mhd]$/\1\3s/
"""
#: A matcher of the alerts that only the container's host is to blame for.
HOST = "'alertname=~LoadHigh|MemoryLow|OutOfMemory'"
# Health may have put something right while all was installed.
HARMLESS = {"Watchdog", "Healed", "LoadHigh", "MemoryLow", "OutOfMemory"}
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

    def subjects(self, after=0):
        """Return the dates and subjects of the mails after so many."""
        mails = [
            email.message_from_bytes(mail[1], policy=email.policy.default)
            for mail in self.server.mails[after:]
        ]
        return [f"{mail['Date']} {mail['Subject']}" for mail in mails]

    def __len__(self):
        return len(self.server.mails)
