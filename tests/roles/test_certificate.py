"""atlas-certificate as the role and the timer run it, in a directory of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "roles/certificate/tree/usr/local/sbin/atlas-certificate"

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


class Machine:
    def __init__(self, home):
        self.root = home
        self.directory = home / "etc/atlas/certificate"
        self.hooks = home / "etc/atlas/certificate.d"
        self.hooks.mkdir(parents=True)
        self.told = home / "told"
        self.hook("nginx", f"echo told >> {self.told}")
        self.configuration = home / "etc/atlas/certificate.json"
        self.configure()

    def configure(self, **changes):
        names = ["atlas.example.org", "192.0.2.7", "::1"]
        settings = {"directory": str(self.directory), "names": names, "days": 90, "renew_days": 30}
        settings |= {"curve": "P-256", "acme": None}
        self.configuration.write_text(json.dumps(settings | changes))

    def hook(self, name, script, mode=0o755):
        (self.hooks / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.hooks / name).chmod(mode)

    def run(self, *arguments, code=0):
        command = [sys.executable, "-I", str(SCRIPT), f"--root={self.root}"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        said = json.loads(done.stdout)
        assert done.stderr == (f"atlas-certificate: {said['warning']}\n" if said["warning"] else "")
        return said["actions"] if code == 0 else said["warning"]

    def openssl(self, *arguments):
        command = ["openssl", *arguments, str(self.directory / "current/fullchain.pem")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def serial(self):
        return self.openssl("x509", "-noout", "-serial", "-in")


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_good_certificate_from_nothing(machine):
    assert machine.run() == ["new authority: there was none", "issued: there was none", "told nginx"]
    assert machine.openssl("verify", "-CAfile", str(machine.directory / "ca.pem")).endswith("OK\n")
    text = machine.openssl("x509", "-noout", "-text", "-in")
    assert "DNS:atlas.example.org, IP Address:192.0.2.7, IP Address:0:0:0:0:0:0:0:1" in text
    assert "NIST CURVE: P-256" in text
    assert "CA:FALSE" in text
    assert machine.told.read_text() == "told\n"
    assert machine.run() == []


def test_only_the_authoritys_certificate_is_for_everybody(machine):
    machine.run()
    readable = {path.name for path in machine.directory.rglob("*.*") if path.stat().st_mode & 0o077}
    assert readable == {"ca.pem"}
    (machine.directory / "authority/ca.key").chmod(0o644)
    key = (machine.directory / "current/privkey.pem").resolve()
    key.chmod(0o640)
    assert len(machine.run("--check")) == 2
    assert machine.run() == [f"closed {machine.directory}/authority/ca.key", f"closed {key}"]
    assert machine.run() == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"names": ["atlas.example.org"]}, "issued: it was for DNS:atlas.example.org, IP:192.0.2.7, IP:::1"),
        ({"names": ["new.example.org"]}, "issued: it was for DNS:atlas.example.org, IP:192.0.2.7, IP:::1"),
        ({"renew_days": 90}, "issued: it ends within 90 days"),
        ({"curve": "P-384"}, "issued: its key was P-256"),
    ],
)
def test_renewed_when_due(machine, change, reason):
    machine.run()
    before = machine.serial()
    machine.configure(**change)
    assert machine.run("--check") == [reason]
    assert machine.serial() == before
    assert machine.run() == [reason, "told nginx"]
    assert machine.serial() != before


def test_damage_is_repaired(machine):
    machine.run()
    (machine.directory / "current").unlink()
    (machine.directory / "current").symlink_to("issued/nowhere")
    assert machine.run() == ["issued: there was none", "told nginx"]
    (machine.directory / "current/privkey.pem").write_text("not a key")
    assert machine.run() == ["issued: its key and certificate did not belong together", "told nginx"]
    (machine.directory / "authority/ca.key").unlink()
    assert machine.run()[:2] == ["new authority: there was none", "issued: the authority had not signed it"]
    assert machine.run() == []


def test_old_certificates_do_not_pile_up(machine):
    machine.run()
    for _ in range(3):
        machine.run("--renew")
    assert len(list((machine.directory / "issued").iterdir())) == 2
    assert (machine.directory / "current").is_symlink()


def test_a_hook_that_fails_is_told_and_the_others_run(machine):
    machine.hook("broken", "echo no such service; exit 3")
    machine.hook("ignored", "exit 1", mode=0o644)
    said = machine.run(code=75)
    assert said.startswith("There is a new certificate, but ")
    assert "broken: no such service. It is tried again" in said
    assert machine.told.read_text() == "told\n"


def test_who_was_not_told_is_told_by_the_next_run(machine):
    machine.hook("broken", "exit 3")
    machine.run(code=75)
    assert machine.run("--check") == ["tell those who use it"]
    machine.hook("broken", "exit 0")
    assert machine.run() == ["told broken", "told nginx"]
    assert machine.run() == []


def test_without_settings_it_says_so(machine):
    machine.configuration.unlink()
    command = [sys.executable, "-I", str(SCRIPT), f"--root={machine.root}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert str(machine.configuration) in done.stderr


def test_check_writes_nothing(machine):
    assert machine.run("--check")
    assert not machine.directory.exists()
