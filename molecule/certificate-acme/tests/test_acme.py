"""One story, in order: a machine that has no certificate yet gets one, and keeps it whatever happens."""

import json
import re
import socket
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

NAMES = ["atlas.example.test", "read.example.test"]
HERE = "203.0.113.7"
NOBODY = "203.0.113.99"  # an address of the network outside where nobody is
TIMER = "systemctl start atlas-certificate.service"
TRY_LATER = 75
LINEAGES = ["atlas-192.0.2.2", "atlas-minute"]
SETTINGS = "/etc/atlas/certificate.json"

pytestmark = pytest.mark.timeout(180)


class World:
    """What is around the machine."""

    def __init__(self, host):
        self.host = host

    def record(self, name, *addresses):
        self._tell("clear-a", host=name)
        if addresses:
            self._tell("add-a", host=name, addresses=addresses)

    def record6(self, name, *addresses):
        self._tell("clear-aaaa", host=name)
        if addresses:
            self._tell("add-aaaa", host=name, addresses=addresses)

    def _tell(self, what, **content):
        script = "import sys, urllib.request as r; r.urlopen(sys.argv[1], sys.argv[2].encode())"
        address = f"http://192.0.2.2:8055/{what}"
        self.host.check_output(f"python3 -c %s {address} %s", script, json.dumps(content))

    def asked(self):
        """How often the authority was asked for a certificate."""
        return self.host.check_output("grep -c 'POST /order-plz' /run/world/asked || :") or "0"


@pytest.fixture
def world(host):
    return World(host)


@pytest.fixture
def certificate(host):
    """Run atlas-certificate on the machine: what it did, and what is in the way."""

    def run(*arguments, code=0):
        done = host.run(" ".join(["atlas-certificate", *arguments]))
        assert done.rc == code, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def settings(host):
    """Change what the certificate is to be, until the end of the test."""
    before = host.file(SETTINGS).content_string

    def change(**changes):
        said = json.loads(before)
        acme = said["acme"] | changes
        host.check_output(f"printf %s %s > {SETTINGS}", "%s", json.dumps(said | {"acme": acme}))

    yield change
    host.check_output(f"printf %s %s > {SETTINGS}", "%s", before)


@pytest.fixture
def served(port):
    """What the web server shows of its certificate, from outside; it must serve pages, too."""

    def look():
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", port(443)), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=NAMES[0]) as connection,
        ):
            question = f"GET /status/public.html HTTP/1.1\r\nHost: {NAMES[0]}\r\nConnection: close\r\n\r\n"
            connection.sendall(question.encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
            shown = ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))
        command = ["openssl", "x509", "-noout", "-text"]
        return subprocess.run(command, input=shown, capture_output=True, text=True, check=True).stdout

    return look


def issuer(text):
    return re.search(r"Issuer: .*CN = ([A-Za-z]+)", text).group(1)


def serial(text):
    return re.search(r"Serial Number:\s*(\S+)", text).group(1)


def health(host):
    """Look twice, as a check counts from the second time on."""
    host.run("atlasctl health --quiet; atlasctl health --quiet")
    state = json.loads(host.run("atlasctl health --json").stdout)
    return next(check for check in state["checks"] if check["name"] == "certificate")


# --- the first certificate ----------------------------------------------------------------------------------


def test_before_the_dns_is_set_the_machine_serves_with_its_own_and_says_so(
    host, served, certificate, world, eventually
):
    eventually(lambda: issuer(served()) == "Atlas")
    said = certificate(code=TRY_LATER)
    assert f"{NAMES[0]} has no address in the DNS" in said["trouble"]
    assert f"Set this record where the domain is managed: {NAMES[0]}. A {HERE}" in said["trouble"]
    assert "Browsers warn at atlas.example.test" in said["warning"]
    assert world.asked() == "0"
    seen = health(host)
    assert seen["state"] == "DEGRADED"
    assert "has no address in the DNS" in seen["message"]


def test_the_timer_gets_it_once_the_dns_is_set(host, served, world, eventually):
    world.record(NAMES[0], HERE)
    world.record(NAMES[1], HERE)
    host.check_output(TIMER)
    eventually(lambda: issuer(served()) == "Pebble")
    text = served()
    assert ", ".join(f"DNS:{name}" for name in NAMES) in text
    assert "NIST CURVE: P-256" in text
    assert health(host)["state"] == "HEALTHY"
    assert not host.file("/etc/atlas/certificate/renewal.json").exists


def test_a_second_run_changes_nothing_and_asks_nobody(host, play, world, certificate):
    before = world.asked()
    again = play()
    assert again.succeeded, again.output
    assert again.changes == {}
    assert certificate()["actions"] == []
    host.check_output(TIMER)
    assert world.asked() == before


def test_certbots_own_timer_renews_what_others_have_and_not_ours(host):
    """Both are due, by what their own files say."""
    assert not host.file("/etc/systemd/system/certbot.timer.d/atlas.conf").exists
    assert host.service("certbot.timer").is_running
    trusted = "REQUESTS_CA_BUNDLE=/etc/atlas/certificate-acme-ca.pem"
    host.check_output(
        f"{trusted} certbot certonly --quiet --non-interactive --agree-tos --register-unsafely-without-email"
        " --cert-name others --webroot --webroot-path /var/lib/atlas-challenge"
        f" --server https://192.0.2.2/dir --domain {NAMES[1]}"
    )
    ours = LINEAGES[0]
    files = f"/etc/letsencrypt/renewal/others.conf /etc/letsencrypt/renewal/{ours}.conf"
    host.check_output(
        f"cp -a /etc/letsencrypt/renewal /run/ && sed -i '1i renew_before_expiry = 9 years' {files}"
    )
    live = {name: f"readlink /etc/letsencrypt/live/{name}/cert.pem" for name in ("others", ours)}
    before = {name: host.check_output(command) for name, command in live.items()}
    drop_in = "/run/systemd/system/certbot.service.d"
    host.check_output(
        f"mkdir -p {drop_in} && printf '[Service]\\nEnvironment={trusted}\\n' > {drop_in}/test.conf"
        " && systemctl daemon-reload && systemctl start certbot.service"
    )
    after = {name: host.check_output(command) for name, command in live.items()}
    host.check_output(
        f"rm -r {drop_in} && systemctl daemon-reload && certbot delete --quiet --non-interactive"
        f" --cert-name others && cp -a /run/renewal/{ours}.conf /etc/letsencrypt/renewal/"
    )
    assert after["others"] != before["others"]
    assert after[ours] == before[ours]


def test_keys_are_for_root_alone(host):
    assert (
        host.check_output("find /etc/atlas/certificate /etc/letsencrypt -name '*key*.pem' -perm /077 -type f")
        == ""
    )


def test_an_authority_gets_its_answer_without_tls_and_without_a_password(host, port):
    shown = "/var/lib/atlas-challenge/.well-known/acme-challenge"
    host.check_output(f"echo secret > {shown}/../../hidden; echo answer > {shown}/token")
    ours = {"Host": NAMES[1]}
    http = f"http://127.0.0.1:{port(80)}/.well-known/acme-challenge"
    answer = httpx2.get(f"{http}/token", headers=ours)
    assert (answer.status_code, answer.text) == (200, "answer\n")
    assert answer.headers["content-type"].startswith("text/plain")
    assert httpx2.get(f"{http}/other", headers=ours).status_code == 404
    for way_out in ("..%2f..%2fhidden", "%2e%2e/%2e%2e/hidden", "../../hidden"):
        assert httpx2.get(f"{http}/{way_out}", headers=ours).status_code in (308, 400, 404)
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{http}/token", headers={"Host": "elsewhere.example"})
    host.check_output(f"rm /var/lib/atlas-challenge/hidden {shown}/token")


# --- renewal ------------------------------------------------------------------------------------------------


def test_renewed_when_asked_for(certificate, served, eventually):
    before = serial(served())
    assert "told nginx" in certificate("--renew")["actions"]
    eventually(lambda: serial(served()) != before)


def test_renewed_when_a_third_of_its_life_is_left(host, certificate, settings, served, eventually):
    """By an authority whose certificates are good for a minute."""
    settings(server="https://192.0.2.2:14010/dir", lineage="atlas-minute")
    real = serial(served())
    certificate()
    eventually(lambda: serial(served()) != real)
    before = serial(served())
    host.check_output(TIMER)
    assert serial(served()) == before, "too early"
    time.sleep(45)
    host.check_output(TIMER)
    eventually(lambda: serial(served()) != before)


def test_what_the_other_authority_signed_is_still_there(certificate, served, world, eventually):
    before = world.asked()
    assert "installed: what certbot has as atlas-192.0.2.2" in certificate()["actions"]
    assert world.asked() == before
    eventually(lambda: issuer(served()) == "Pebble")


def test_renewed_with_certbot_by_hand(host, served, eventually):
    before = serial(served())
    host.check_output(
        "REQUESTS_CA_BUNDLE=/etc/atlas/certificate-acme-ca.pem"
        " certbot renew --quiet --no-random-sleep-on-renew --cert-name atlas-192.0.2.2 --force-renewal"
    )
    eventually(lambda: serial(served()) != before)


def test_another_key_and_other_names(certificate, settings, served, eventually):
    settings(curve="P-384")
    assert "signed: its key was P-256" in certificate()["actions"]
    settings(curve="P-384", names=NAMES[:1])
    assert f"signed: it was for DNS:{NAMES[0]}, DNS:{NAMES[1]}" in certificate()["actions"]
    eventually(lambda: NAMES[1] not in served())
    assert "NIST CURVE: P-384" in served()


def test_back_to_what_the_playbook_says(certificate, served, eventually):
    certificate()
    eventually(lambda: NAMES[1] in served())
    assert "NIST CURVE: P-256" in served()


# --- what goes wrong ----------------------------------------------------------------------------------------


def test_the_authority_is_down(host, certificate, served):
    before = serial(served())
    host.check_output("systemctl stop world-gate")
    try:
        said = certificate("--renew", code=TRY_LATER)
        assert "The certificate authority at https://192.0.2.2/dir does not answer" in said["trouble"]
        assert f"The certificate of {NAMES[0]} is good until" in said["warning"]
        seen = health(host)
        assert seen["state"] == "DEGRADED"
        assert "days left" in seen["message"]
        assert "does not answer" in seen["message"]
        assert serial(served()) == before
    finally:
        host.check_output("systemctl start world-gate")


def test_after_a_failure_the_timer_waits_and_whoever_asks_by_hand_does_not(
    host, certificate, served, world, eventually
):
    asked, before = world.asked(), serial(served())
    certificate("--timer", "--renew", code=TRY_LATER)
    assert world.asked() == asked
    certificate("--renew")
    eventually(lambda: serial(served()) != before)
    assert health(host)["state"] == "HEALTHY"


def test_a_name_leads_elsewhere(certificate, served, world):
    asked, before = world.asked(), serial(served())
    world.record(NAMES[1], NOBODY)
    said = certificate("--renew", code=TRY_LATER)["trouble"]
    assert f"{NAMES[1]} leads to {NOBODY}, which is not this machine. Set this record" in said
    assert f"{NAMES[1]}. A {HERE}" in said
    world.record(NAMES[1], HERE)
    world.record6(NAMES[1], "2001:db8::99")
    said = certificate("--renew", code=TRY_LATER)["trouble"]
    assert f"{NAMES[1]} leads to 2001:db8::99, which is not this machine" in said
    assert f"Remove this record where the domain is managed: {NAMES[1]}. AAAA 2001:db8::99" in said
    world.record6(NAMES[1])
    assert world.asked() == asked
    assert serial(served()) == before


def test_the_name_server_is_down(host, certificate, served, world):
    asked, before = world.asked(), serial(served())
    host.check_output("systemctl stop world-dns")
    said = certificate("--renew", code=TRY_LATER)["trouble"]
    assert f"The DNS gave no answer for {NAMES[0]} (192.0.2.2: " in said
    assert world.asked() == asked
    assert serial(served()) == before
    host.check_output("systemctl start world-dns; sleep 1")
    for name in NAMES:
        world.record(name, HERE)


def test_nginx_does_not_show_the_answer(host, certificate, served, world):
    asked, before = world.asked(), serial(served())
    site = "/etc/nginx/sites-enabled/atlas.conf"
    host.check_output(
        f"cp -p {site} /run/site; sed -i s,acme-challenge,acme-, {site}; systemctl reload nginx; sleep 1"
    )
    said = certificate("--renew", code=TRY_LATER)["trouble"]
    assert f"at {HERE}, it answers 308 to https://{NAMES[0]}/.well-known/acme-challenge/" in said
    assert world.asked() == asked
    assert serial(served()) == before
    host.check_output(f"mv /run/site {site}; systemctl reload nginx")


def test_a_firewall_keeps_the_authority_out(host, certificate, served):
    """What cannot be seen from the machine: the authority says it."""
    before = serial(served())
    closed = f"ip -netns outside route %s unreachable {HERE}/32"
    host.check_output(closed % "add")
    said = certificate("--renew", code=TRY_LATER)["trouble"]
    host.check_output(closed % "delete")
    assert "could not see that" in said
    assert "is port 80 open in every firewall before this machine?" in said
    assert serial(served()) == before


def test_asked_too_often(host, certificate, served, world):
    """Then nobody asks before the moment the authority named, whoever wants it."""
    before = serial(served())
    host.check_output("echo 7200 > /run/world/limited")
    said = certificate("--renew", code=TRY_LATER)["trouble"]
    host.check_output("rm /run/world/limited")
    assert "wants fewer requests, and none before" in said
    asked = world.asked()
    assert certificate("--renew", code=TRY_LATER)["trouble"] == said
    assert certificate("--timer", "--renew", code=TRY_LATER)["trouble"] == said
    assert world.asked() == asked
    assert serial(served()) == before
    named = json.loads(host.file("/etc/atlas/certificate/renewal.json").content_string)["closed"]
    left = datetime.fromisoformat(named) - datetime.now(UTC)
    assert timedelta(minutes=110) < left <= timedelta(minutes=120)
    host.check_output("rm /etc/atlas/certificate/renewal.json")


def test_what_certbot_keeps_is_damaged(host, certificate, served, eventually):
    """It would go on beside it under another name, which nobody would look at."""
    host.check_output("rm -r /etc/letsencrypt/live/atlas-192.0.2.2")
    before = serial(served())
    assert "signed: there was none" in certificate()["actions"]
    eventually(lambda: serial(served()) != before)
    assert host.check_output("ls /etc/letsencrypt/live | grep -v README") == "\n".join(LINEAGES)
    assert host.check_output("ls /etc/letsencrypt/set-aside/*") != ""


def test_the_key_in_use_is_damaged(host, certificate, served, world, eventually):
    asked = world.asked()
    host.check_output("echo nothing > /etc/atlas/certificate/current/privkey.pem")
    assert "told nginx" in certificate()["actions"]
    eventually(lambda: issuer(served()) == "Pebble")
    assert world.asked() == asked


# --- the playbook -------------------------------------------------------------------------------------------


def test_a_play_ends_well_and_warns_when_a_name_is_not_set_yet(host, play, served, eventually):
    moving = play("--extra-vars", json.dumps({"certificate_names": [*NAMES, "moved.example.test"]}))
    assert moving.succeeded, moving.output
    said = " ".join(moving.output.split())
    assert "[WARNING]: The certificate of atlas.example.test is good until" in said
    assert f"Set this record where the domain is managed: moved.example.test. A {HERE}" in said
    assert "moved.example.test has no address in the DNS" in health(host)["message"]
    eventually(lambda: issuer(served()) == "Pebble")


def test_to_the_own_authority_and_back_without_asking_anybody(host, play, served, world, eventually):
    asked = world.asked()
    own = play("--extra-vars", "certificate_source=internal")
    assert own.succeeded, own.output
    eventually(lambda: issuer(served()) == "Atlas")
    assert health(host)["state"] == "HEALTHY"
    back = play()
    assert back.succeeded, back.output
    eventually(lambda: issuer(served()) == "Pebble")
    assert health(host)["state"] == "HEALTHY"
    assert world.asked() == asked
