"""A certificate of another authority: a stand-in for certbot gets it, or says what certbot says else."""

import argparse
import itertools
import json
import os
import shutil
import sys
from datetime import UTC, datetime, timedelta

import pytest

from atlas_certificate import acme, main, memory, pem, reach, store

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")

NAMES = ["atlas.example.org", "read.example.org"]
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
CERTBOT = """#!{python} -I
import json, pathlib, subprocess, sys

told = json.loads(pathlib.Path("{home}/certbot.json").read_text())
given = sys.argv[1:]
with open("{home}/calls", "a") as file:
    file.write(json.dumps(given) + "\\n")
value = lambda name: given[given.index(name) + 1]
pathlib.Path(value("--logs-dir"), "letsencrypt.log").write_text(told.get("log", ""))
if "said" in told:
    print("Saving debug log to /var/log/letsencrypt/letsencrypt.log")
    sys.exit(told["said"])
where, name = pathlib.Path(value("--config-dir")), told.get("name", value("--cert-name"))
live, archive = where / "live" / name, where / "archive" / name
for directory in (live, archive, where / "renewal"):
    directory.mkdir(parents=True, exist_ok=True)
names = ",".join("DNS:" + word for flag, word in zip(given, given[1:]) if flag == "--domain")
curve = {{"secp256r1": "P-256", "secp384r1": "P-384"}}[value("--elliptic-curve")]
new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:" + curve, "-nodes"]
new += ["-subj", "/CN=x", "-days", str(told.get("days", 90)), "-addext", "subjectAltName=" + names]
new += ["-keyout", archive / "privkey1.pem", "-out", archive / "cert1.pem"]
subprocess.run(new, check=True, capture_output=True)
for kind in ("fullchain", "chain"):
    (archive / (kind + "1.pem")).write_bytes((archive / "cert1.pem").read_bytes())
for kind in ("cert", "chain", "fullchain", "privkey"):
    (live / (kind + ".pem")).unlink(missing_ok=True)
    (live / (kind + ".pem")).symlink_to(archive / (kind + "1.pem"))
lines = [kind + " = " + str(live / (kind + ".pem")) for kind in ("cert", "privkey", "chain", "fullchain")]
(where / "renewal" / (name + ".conf")).write_text("version = 2.1.0\\n" + "\\n".join(lines) + "\\n")
"""


class Machine:
    """A machine whose clock, way to the world and certbot are ours."""

    def __init__(self, root, monkeypatch):
        self.root, self.home = root, root / "etc/atlas/certificate"
        self.now = datetime.now(UTC)
        self.way = ""
        self.settings = {"directory": str(self.home), "names": [*NAMES, "localhost"], "days": 90}
        self.settings |= {"renew_days": 30, "curve": "P-256"}
        self.wanted = {
            "names": NAMES,
            "server": LETS_ENCRYPT,
            "public": True,
            "lineage": "atlas",
            "ca_file": "",
        }
        self.wanted |= {
            "email": "",
            "renew_days": 30,
            "curve": "P-256",
            "challenge_directory": str(root / "c"),
        }
        self.settings["acme"] = self.wanted
        for place in ("etc/atlas/certificate.d", "var/log/letsencrypt", "bin"):
            (root / place).mkdir(parents=True)
        self.program("etc/atlas/certificate.d/nginx", f"#!/bin/sh\necho told >> {root}/told\n")
        self.program("bin/certbot", CERTBOT.format(python=sys.executable, home=root))
        self.certbot()
        monkeypatch.setenv("PATH", f"{root}/bin:/usr/bin:/bin")
        monkeypatch.setattr(reach, "in_the_way", lambda _: self.way)

    def program(self, path, text):
        (self.root / path).write_text(text)
        (self.root / path).chmod(0o755)

    def certbot(self, **told):
        (self.root / "certbot.json").write_text(json.dumps(told))

    def calls(self):
        file = self.root / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def run(self, **asked):
        options = {"local": False, "timer": False, "renew": False, "root": self.root} | asked
        with store.locked(self.home):
            done = main.keep(self.home, self.settings, argparse.Namespace(**options), self.now)
        assert done.untold == []
        return done.actions, done.trouble

    def said(self, trouble):
        return main.in_full(self.home, self.settings, main.Outcome([], trouble), self.now)

    def check(self, **asked):
        options = {"local": False, "root": self.root} | asked
        return main.due(self.home, self.settings, argparse.Namespace(**options))

    def fails(self, said, *answers):
        log = "".join(f"2026 DEBUG:acme.client:Received response:\nHTTP {answer}\n" for answer in answers)
        self.certbot(said=said, log=log)
        return self.run(renew=True)[1]

    @property
    def certificate(self):
        return store.current(self.home)[0]

    def remembered(self):
        return json.loads((self.home / "renewal.json").read_text())


@pytest.fixture
def machine(tmp_path, monkeypatch):
    before = os.umask(0o077)
    yield Machine(tmp_path, monkeypatch)
    os.umask(before)


class TestFirst:
    def test_servers_start_with_our_own_and_then_get_the_others(self, machine):
        assert machine.run(local=True) == (
            ["new authority: there was none", "issued: there was none", "told nginx"],
            "",
        )
        assert machine.calls() == []
        assert machine.check() == ["signed: there was none"]
        assert machine.check(local=True) == []
        assert machine.run() == (["signed: there was none", "told nginx"], "")
        assert store.origin(machine.home) == "atlas"
        assert pem.is_for(machine.certificate, NAMES)
        assert machine.run() == ([], "")
        assert machine.check() == []
        assert len(machine.calls()) == 1

    def test_what_certbot_is_asked(self, machine):
        machine.wanted |= {"email": "owner@example.org", "curve": "P-384"}
        machine.run()
        (given,) = machine.calls()
        assert given[:3] == ["certonly", "--non-interactive", "--agree-tos"]
        assert "--no-autorenew" in given  # certbot's own timer must pass it by
        pairs = list(itertools.pairwise(given))
        assert [word for flag, word in pairs if flag == "--domain"] == NAMES
        assert {
            ("--server", LETS_ENCRYPT),
            ("--cert-name", "atlas"),
            ("--elliptic-curve", "secp384r1"),
            ("--webroot-path", machine.wanted["challenge_directory"]),
            ("--email", "owner@example.org"),
        } <= set(pairs)
        machine.wanted["email"] = ""
        machine.run(renew=True)
        assert "--register-unsafely-without-email" in machine.calls()[-1]

    def test_what_is_in_the_way_is_told_and_the_authority_not_asked(self, machine):
        machine.way = "atlas.example.org has no address in the DNS"
        actions, trouble = machine.run()
        assert trouble == machine.way
        assert "signed: there was none" not in actions
        assert machine.calls() == []
        assert machine.remembered()["trouble"] == machine.way
        assert machine.check() == [], "nothing that a run would change"
        said = machine.said(trouble)
        assert said.startswith("Browsers warn at atlas.example.org: ")
        assert f"{machine.way}. It is tried again" in said

    def test_the_timer_goes_on_when_it_is_gone(self, machine):
        machine.way = "something"
        machine.run()
        machine.way = ""
        assert machine.run(timer=True) == (["signed: there was none", "told nginx"], "")
        assert not (machine.home / "renewal.json").exists()

    def test_without_certbot(self, machine):
        (machine.root / "bin/certbot").unlink()
        assert "certbot is not installed" in machine.run()[1]


class TestRenewal:
    @pytest.mark.parametrize(("days", "left"), [(90, 30), (45, 15), (6, 2)])
    def test_when_a_third_of_its_life_is_left(self, machine, days, left):
        machine.certbot(days=days)
        machine.run()
        certificate = machine.root / "etc/letsencrypt/live/atlas/fullchain.pem"
        begin, end = pem.life(certificate)
        assert (end - begin).days == days
        assert acme.due(machine.wanted, acme.Places.below(machine.root)) == ""
        asked = []
        real, pem.ends_within = pem.ends_within, lambda _, span: asked.append(span)
        try:
            acme.due(machine.wanted, acme.Places.below(machine.root))
        finally:
            pem.ends_within = real
        assert asked[0] == min(timedelta(days=30), timedelta(days=days) / 3)
        assert asked[0].days == left

    def test_other_names_and_another_key(self, machine):
        machine.run()
        machine.wanted["names"] = NAMES[:1]
        reason = "signed: it was for DNS:atlas.example.org, DNS:read.example.org"
        assert machine.run()[0] == [reason, "told nginx"]
        machine.wanted["curve"] = "P-384"
        assert machine.run()[0] == ["signed: its key was P-256", "told nginx"]
        assert pem.curve(machine.certificate) == "P-384"

    def test_somebody_ran_certbot_by_hand(self, machine):
        machine.run()
        acme.ask(machine.home, machine.wanted, acme.Places.below(machine.root), machine.now, patient=False)
        assert machine.run(local=True)[0] == ["installed: what certbot has as atlas", "told nginx"]

    def test_the_key_in_use_is_damaged(self, machine):
        machine.run()
        store.current(machine.home)[1].write_text("nothing")
        assert machine.run()[0] == ["installed: what certbot has as atlas", "told nginx"]
        assert len(machine.calls()) == 1

    @pytest.mark.parametrize("damage", ["live/atlas/privkey.pem", "renewal/atlas.conf", "archive/atlas"])
    def test_what_certbot_keeps_is_damaged(self, machine, damage):
        machine.run()
        path = machine.root / "etc/letsencrypt" / damage
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        machine.run(renew=True)
        assert list((machine.root / "etc/letsencrypt/set-aside").iterdir())
        assert machine.run() == ([], "")

    def test_a_torn_configuration_of_certbot(self, machine):
        machine.run()
        (machine.root / "etc/letsencrypt/renewal/atlas.conf").write_text("version = 2.1.0\n")
        machine.run(renew=True)
        (away,) = (machine.root / "etc/letsencrypt/set-aside").iterdir()
        kept = {path.name for path in away.iterdir()}
        assert kept == {"renewal-atlas.conf", "live-atlas", "archive-atlas"}

    def test_certbot_put_it_elsewhere(self, machine):
        """Then it is not asked again and again: each time would count."""
        machine.certbot(name="atlas-0001")
        _, trouble = machine.run()
        assert "certbot ended well, but what it left" in trouble
        assert machine.run(timer=True) == ([], trouble)
        assert len(machine.calls()) == 1


class TestSwitching:
    def test_to_our_own_and_back_asks_nobody(self, machine):
        machine.run()
        before = machine.certificate.read_text()
        machine.settings["acme"] = None
        assert machine.run()[0] == ["issued: the authority had not signed it", "told nginx"]
        assert store.origin(machine.home) == ""
        machine.settings["acme"] = machine.wanted
        assert machine.run()[0] == ["installed: what certbot has as atlas", "told nginx"]
        assert machine.certificate.read_text() == before
        assert len(machine.calls()) == 1

    def test_what_was_in_the_way_is_over_with_our_own(self, machine):
        machine.way = "something"
        machine.run()
        machine.settings["acme"] = None
        machine.run()
        assert not (machine.home / "renewal.json").exists()

    def test_staging_is_beside_the_real_one(self, machine):
        machine.wanted["lineage"] = "atlas-staging"
        machine.run()
        assert acme._authority(machine.wanted) == "Let's Encrypt's staging authority"
        machine.wanted["lineage"] = "atlas"
        machine.certbot(said="no")
        assert machine.run()[1] != ""
        assert store.origin(machine.home) == "atlas-staging", "what is there stays until there is better"
        machine.certbot()
        machine.run()
        assert store.origin(machine.home) == "atlas"

    def test_our_own_is_renewed_while_it_stands_in(self, machine):
        machine.way = "something"
        machine.run()
        machine.settings["renew_days"] = 90
        assert "issued: it ends within 90 days" in machine.run()[0]

    def test_what_another_has_signed_stays_when_it_is_over(self, machine):
        machine.certbot(days=1)
        machine.run()
        machine.certbot(said="no")
        machine.settings["renew_days"] = 90
        assert machine.run(renew=True)[0] == []


CHALLENGE = """Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for atlas.example.org and read.example.org

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported \
these problems:
  Domain: read.example.org
  Type:   {kind}
  Detail: 203.0.113.7: Fetching http://read.example.org/.well-known/acme-challenge/x: Timeout during
  connect (likely firewall problem)

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot.

Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile.
"""
LIMIT = """An unexpected error occurred:
Error creating new order :: too many certificates (5) already issued for this exact set of domains{retry}
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile.
"""
LIMITED = '{"type": "urn:ietf:params:acme:error:rateLimited", "status": 429}'


class TestRefusals:
    @pytest.mark.parametrize(
        ("kind", "advice"),
        [
            ("connection", "is port 80 open in every firewall before this machine?"),
            ("unauthorized", "Does the name lead elsewhere when it is looked up from outside?"),
            ("dns", "a new record may need some hours"),
            ("caa", "such as: read.example.org. CAA 0 issue letsencrypt.org"),
            ("other", "(likely firewall problem))."),
        ],
    )
    def test_it_does_not_find_us(self, machine, kind, advice):
        trouble = machine.fails(CHALLENGE.format(kind=kind), "200\nDate: today\n\n{}")
        assert trouble.startswith(
            "Let's Encrypt could not see that read.example.org is this machine (203.0.113.7:"
        )
        assert "acme-challenge/x: Timeout during connect (likely firewall problem)" in trouble
        assert advice in trouble

    def test_after_each_failure_the_timer_waits_twice_as_long(self, machine):
        waits = []
        for _ in range(7):
            machine.fails(CHALLENGE.format(kind="connection"))
            until = datetime.fromisoformat(machine.remembered()["until"])
            waits.append((until - machine.now) / timedelta(hours=1))
            asked = len(machine.calls())
            machine.now = until - timedelta(minutes=1)
            machine.run(timer=True)
            assert len(machine.calls()) == asked
            machine.now = until
        assert waits == [1, 2, 4, 8, 16, 24, 24]
        machine.certbot()
        assert machine.run(timer=True)[1] == ""
        assert not (machine.home / "renewal.json").exists()

    def test_by_hand_nobody_waits(self, machine):
        machine.fails(CHALLENGE.format(kind="connection"))
        machine.certbot()
        assert machine.run() == (["signed: there was none", "told nginx"], "")

    def test_another_question_does_not_wait(self, machine):
        machine.fails(LIMIT.format(retry=""), f"429\nRetry-After: 9000\n\n{LIMITED}")
        machine.certbot()
        machine.wanted["names"] = NAMES[:1]
        assert machine.run(timer=True)[1] == ""

    @pytest.mark.parametrize(
        ("header", "retry", "hours"),
        [
            ("Retry-After: 7200\n", "", 2),
            ("Retry-After: {date}\n", "", 3),
            ("", ", retry after {iso} UTC: see https://letsencrypt.org/docs/rate-limits", 3),
            ("", "", 24),
            ("Retry-After: soon\n", "", 24),
        ],
    )
    def test_asked_too_much(self, machine, header, retry, hours):
        machine.now = machine.now.replace(microsecond=0)
        later = machine.now + timedelta(hours=3)
        words = {"date": later.strftime("%a, %d %b %Y %H:%M:%S GMT"), "iso": f"{later:%Y-%m-%d %H:%M:%S}"}
        said = LIMIT.format(retry=retry.format(**words))
        answer = f"429\nServer: nginx\n{header.format(**words)}\n{LIMITED}"
        trouble = machine.fails(said, "200\nX: y\n\n{}", answer)
        until = machine.now + timedelta(hours=hours)
        assert trouble.startswith(
            f"Let's Encrypt wants fewer requests, and none before {until:%Y-%m-%d %H:%M} UTC: "
        )
        assert "too many certificates (5)" in trouble
        asked = len(machine.calls())
        machine.now = until - timedelta(minutes=1)
        assert machine.run(renew=True)[1] == trouble
        assert len(machine.calls()) == asked
        machine.now = until
        machine.certbot()
        assert machine.run()[1] == ""

    def test_it_is_overloaded(self, machine):
        trouble = machine.fails("An unexpected error occurred:\nService busy", "503\nretry-after: 60\n\nbusy")
        assert trouble == "Let's Encrypt did not sign: Service busy"
        asked = len(machine.calls())
        machine.now += timedelta(seconds=59)
        assert machine.run()[1] == trouble
        assert len(machine.calls()) == asked
        machine.now += timedelta(seconds=1)
        machine.run(timer=True)
        assert len(machine.calls()) == asked, "the timer still waits its hour"
        machine.run()
        assert len(machine.calls()) == asked + 1

    def test_it_does_not_answer(self, machine):
        said = "An unexpected error occurred:\nrequests.exceptions.ConnectionError: Connection refused"
        trouble = machine.fails(said)
        assert trouble.startswith("Let's Encrypt does not answer: requests")
        machine.wanted |= {"public": False, "server": "https://ca.example/dir"}
        assert machine.fails(said).startswith("The certificate authority at https://ca.example/dir does not")

    def test_it_is_not_trusted(self, machine):
        trouble = machine.fails("ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED]")
        assert trouble.endswith("State its authority: certificate_acme_ca")

    def test_it_says_nothing(self, machine):
        assert machine.fails("") == "Let's Encrypt does not answer: it does not say why"

    def test_it_takes_too_long(self, machine, monkeypatch):
        monkeypatch.setattr(acme, "SECONDS", 0.05)
        machine.program("bin/certbot", "#!/bin/sh\nexec sleep 5\n")
        assert "took more than 0 s" in machine.run()[1]

    def test_what_is_served_stays(self, machine):
        machine.run()
        before = machine.certificate.read_text()
        trouble = machine.fails(CHALLENGE.format(kind="dns"))
        assert machine.certificate.read_text() == before
        said = machine.said(trouble)
        assert said.startswith("The certificate of atlas.example.org is good until 20")
        machine.now += timedelta(days=100)
        assert machine.said(trouble).startswith("The certificate of atlas.example.org ended on 20")


def test_a_memory_that_is_torn_is_none(tmp_path):
    now = datetime.now(UTC)
    for text in ("", "[]", "{}", '{"until": "x"}'):
        (tmp_path / memory.FILE).write_text(text)
        assert memory.recall(tmp_path, {}, now).trouble == ""
