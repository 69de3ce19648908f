"""Do something to units of this machine, and print in JSON after how many seconds each served again.

Runs on the machine: `python3 outage.py kill|stop|hang UNIT...`. Served again is what its own users would
call so: a page, a query, a greeting, a heartbeat. Whoever asks gives up after five seconds.
"""

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from urllib.request import urlopen

PATIENCE_SECONDS = 5
GIVEN_UP_SECONDS = 300
DO = {"kill": ["kill", "--signal=KILL"], "stop": ["stop"], "hang": ["kill", "--signal=STOP"]}
ANYBODY = ssl._create_unverified_context()  # the machine's own authority


def page(url):
    """Return a question for a page."""
    return lambda: urlopen(url, timeout=PATIENCE_SECONDS, context=ANYBODY).status == 200


def says(*command, what=""):
    """Return a question for what a command says."""

    def ask():
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
        return what in done.stdout

    return ask


def greeting(address, what):
    """Return a question for what is heard by whoever connects."""

    def ask():
        with socket.create_connection(address, timeout=PATIENCE_SECONDS) as connected:
            return connected.recv(99).startswith(what)

    return ask


def alerts_page():
    """Ask who makes the page of alerts, as nginx does, for what takes nobody else."""
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(PATIENCE_SECONDS)
        connected.connect("/run/atlas-alerts.sock")
        connected.sendall(b"GET /alerts/alerts.css HTTP/1.0\r\n\r\n")
        return b" 200 " in connected.recv(99)


def sql(question):
    """Return a question for PostgreSQL, as itself."""
    return says(
        "runuser", "-u", "postgres", "--", "psql", "--no-psqlrc", "-Atqd", "atlas", "-c", question, what="t"
    )


QUESTIONS = {
    "atlas-alerts.service": alerts_page,
    "atlas-api.service": page("http://127.0.0.1:7444/ready"),
    "atlas-smtp.socket": greeting(("127.0.0.1", 2525), b"220 "),
    "fail2ban.service": says("fail2ban-client", "ping", what="pong"),
    "nginx.service": page("https://127.0.0.1/status/public.html"),
    "prometheus-alertmanager.service": page("http://127.0.0.1:9093/alertmanager/api/v2/status"),
    "prometheus-blackbox-exporter.service": page(
        "http://127.0.0.1:9115/probe?module=page&target=https://127.0.0.1/"
    ),
    "prometheus-nginx-exporter.service": page("http://127.0.0.1:9113/metrics"),
    "prometheus-node-exporter.service": page("http://127.0.0.1:9100/metrics"),
    "prometheus-postgres-exporter.service": page("http://127.0.0.1:9187/metrics"),
    "prometheus-process-exporter.service": page("http://127.0.0.1:9256/metrics"),
    "prometheus.service": page("http://127.0.0.1:9090/prometheus/api/v1/query?query=up"),
    "ssh.service": greeting(("127.0.0.1", 22), b"SSH-2.0-"),
}


def question(unit):
    """Return how to ask whether a unit serves."""
    if unit in QUESTIONS:
        return QUESTIONS[unit]
    if unit.startswith("postgresql@"):
        return sql("select true")
    if unit == "atlas-worker.service":
        return sql(f"select max(seen_at) > to_timestamp({time.time()}) from workers")
    return says("systemctl", "is-active", unit, what="active")


def wait(ask, began, seconds, unit):
    """Ask until the answer is yes, and a second later still: what dies may answer for a moment more."""
    first = None
    while time.monotonic() - began < GIVEN_UP_SECONDS:
        asked = time.monotonic() - began
        try:
            served = ask()
        except (OSError, subprocess.SubprocessError):
            served = False
        if served and first is not None:
            seconds[unit] = round(first, 1)
            return
        first = asked if served else None
        time.sleep(1 if served else 0.3)


def main():
    """Do it to all at once, and wait for each."""
    doing, *units = sys.argv[1:]
    seconds, threads = {}, []
    for unit in units:
        whom = ["--kill-whom=main"] if doing == "kill" else []
        if unit == "atlas-alerts.service":
            alerts_page()  # it ends when nobody asks
        began = time.monotonic()
        subprocess.run(["systemctl", *DO[doing], *whom, unit], check=True)
        threads.append(threading.Thread(target=wait, args=(question(unit), began, seconds, unit)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
