"""What others say of the door: sslyze, testssl.sh, the HTTP Observatory, gixy, and dev-sec's baseline."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache" / "judges"


@pytest.fixture(scope="session")
def judges():
    """Where the judges from the Python index are installed, in an environment of their own."""
    pins = ROOT / "requirements" / "judges.txt"
    wanted = hashlib.sha256(pins.read_bytes()).hexdigest()
    home, stamp = CACHE / "python", CACHE / "python.sha256"
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = str(ROOT / ".venv/bin/uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", home], check=True)
        install = [uv, "pip", "sync", "--quiet", "--require-hashes", f"--python={home}/bin/python", pins]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    return home / "bin"


def test_sslyze_finds_mozillas_intermediate_profile(judges, authority_file, port):
    said = subprocess.run(
        [
            judges / "sslyze",
            "--mozilla_config=intermediate",
            "--sni=machine",
            f"--certinfo_ca_file={authority_file}",
            f"127.0.0.1:{port(443)}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout[-1500:]
    assert "OK - Compliant" in said.stdout


@pytest.mark.timeout(400)
@pytest.mark.skipif(not shutil.which("testssl"), reason="testssl.sh is not installed")
def test_testssl_finds_nothing(authority_file, port, tmp_path):
    """From 3.1 on it gives grades; the one of Debian 12 has findings with a severity only."""
    result = tmp_path / "result.json"
    looks = ("protocols", "std", "fs", "server-preference", "server-defaults", "headers", "vulnerable")
    command = ["testssl", "--quiet", "--warnings=batch", "--color=0", "--ip=127.0.0.1"]
    command += [f"--add-ca={authority_file}", f"--jsonfile={result}", *(f"--{look}" for look in looks)]
    subprocess.run([*command, f"https://machine:{port(443)}/"], stdout=subprocess.DEVNULL, check=False)
    found = json.loads(result.read_text())
    assert [one["finding"] for one in found if one["id"] == "overall_grade"] in ([], ["A+"])
    assert len(found) > 60
    bad = {one["id"]: one["finding"] for one in found if one["severity"] not in ("OK", "INFO")}
    assert {name: text for name, text in bad.items() if not re.search(EXCUSED.get(name, "^$"), text)} == {}


#: What testssl.sh finds that is as it should be: how it puts it, by its name for it.
EXCUSED = {
    "engine_problem": "",  # of the judge's own OpenSSL
    "DNS_CAArecord": "--",  # the machine's name is in no DNS
    "cert_revocation": "Neither CRL nor OCSP",  # the internal authority has none, nor has Let's Encrypt OCSP
    "cipher_order": "NOT a cipher order",  # Mozilla: all that are left are good, so the client chooses
    "cipher_order_TLSv1_2": "",
    # There are no tickets; the judge tires of asking for one when the machine is busy.
    "sessionresumption_ticket": "connect problem",
}


def test_gixy_finds_nothing(host, judges):
    with host.sudo():
        dump = host.check_output("nginx -T 2>/dev/null")
    said = subprocess.run(
        [judges / "gixy", "--format=json", "-"], input=dump, capture_output=True, text=True, check=False
    )
    assert json.loads(said.stdout) == [], said.stdout


def test_the_observatory_gives_the_best_grade(observed):
    """For what strangers see; for the app's own pages see the mode `session` in test_modes.py."""
    assert observed()["grade"] == "A+", observed()
