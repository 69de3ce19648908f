"""playbooks/dns.yml as an operator runs it: real ansible-playbook, name servers and APIs on the loopback."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import dns.name
import pytest
import yaml
from tests.ground.cloudflare import Cloudflare
from tests.ground.nameserver import Nameserver
from tests.oci_api.server import FakeOci

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NAME = "atlas.example.org"
ADDRESS = "203.0.113.10"
ADDRESS6 = "2001:db8::10"


class Ground:
    """An inventory of one machine, and the playbook run against it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.vars = {"atlas_domain": NAME, "ansible_host": ADDRESS, "dns_wait_seconds": 0}

    def run(self, *arguments: str, **variables: object) -> "Run":
        inventory = self.home / "production"
        inventory.mkdir(exist_ok=True)
        hosts = {"all": {"hosts": {"atlas-production": {**self.vars, **variables}}}}
        (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts))
        changes = self.home / "changes.json"
        changes.unlink(missing_ok=True)
        environment = {
            **os.environ,
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "plugins/callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "changes",
            "ANSIBLE_HOME": str(self.home / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ATLAS_CHANGES_FILE": str(changes),
            "HOME": str(self.home),
        }
        command = [Path(sys.executable).with_name("ansible-playbook"), "--inventory", inventory]
        done = subprocess.run(
            [*command, "playbooks/dns.yml", *arguments],
            cwd=ROOT,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        changed = [one["task"] for one in json.loads(changes.read_text())] if changes.exists() else []
        return Run(done.returncode == 0, done.stdout + done.stderr, changed)


class Run:
    def __init__(self, succeeded: bool, output: str, changed: list[str]) -> None:
        self.succeeded = succeeded
        self.output = output
        # As sentences: callbacks wrap them.
        self.words = " ".join(output.split())
        self.changed = changed


@pytest.fixture
def ground(tmp_path):
    return Ground(tmp_path)


@pytest.fixture
def cloudflare(ground):
    with Cloudflare() as api:
        ground.vars |= {
            "atlas_dns_provider": "cloudflare",
            "vault_atlas_cloudflare_token": api.token,
            "dns_cloudflare_api": api.api,
        }
        yield api


@pytest.fixture
def nameserver(ground):
    with Nameserver("example.org") as server:
        ground.vars |= {
            "dns_wait_seconds": 1,
            "dns_wait_pause_seconds": 0.2,
            "dns_resolvers": ["127.0.0.1"],
            "dns_port": server.port,
        }
        yield server


# print


def test_the_records_are_shown(ground):
    run = ground.run(atlas_ipv6_address=ADDRESS6)
    assert run.succeeded, run.output
    assert f"Set these records where {NAME} is kept" in run.words
    assert f"{NAME}. 300 IN A {ADDRESS}" in run.words
    assert f"{NAME}. 300 IN AAAA {ADDRESS6}" in run.words
    assert run.changed == []


@pytest.mark.parametrize("domain", ["localhost", ADDRESS, "atlas", "atlas.local"])
def test_what_is_no_name_of_the_world_needs_no_record(ground, domain):
    run = ground.run(atlas_domain=domain)
    assert run.succeeded, run.output
    assert "there is no record to set" in run.words
    assert " IN A " not in run.words


def test_a_machine_whose_address_nobody_gave(ground):
    run = ground.run(ansible_host=NAME)
    assert not run.succeeded
    assert "atlas_dns_addresses must hold the machine's addresses" in run.words
    assert "playbooks/provision.yml" in run.words


# Cloudflare


def test_cloudflare_is_told_once(ground, cloudflare):
    zone = cloudflare.zone("example.org")
    cloudflare.zone("org")  # the longest one is taken
    cloudflare.add(zone, type="MX", name=NAME, content="mail.example.org")
    cloudflare.add(zone, type="A", name="example.org", content="192.0.2.1")
    others = cloudflare.held(zone)

    checked = ground.run("--check", "--diff", atlas_ipv6_address=ADDRESS6)
    assert checked.succeeded, checked.output
    assert checked.changed == ["dns : Set the records at Cloudflare"]
    assert f"+{NAME}. 300 IN A {ADDRESS}" in checked.output
    assert cloudflare.changes() == []

    run = ground.run(atlas_ipv6_address=ADDRESS6)
    assert run.succeeded, run.output
    assert cloudflare.held(zone) == sorted(
        [*others, ("A", NAME, ADDRESS, 300, False), ("AAAA", NAME, ADDRESS6, 300, False)]
    )

    before = cloudflare.changes()
    again = ground.run(atlas_ipv6_address=ADDRESS6)
    assert again.succeeded, again.output
    assert (again.changed, cloudflare.changes()) == ([], before)


def test_a_machine_that_moved_changes_the_record_it_has(ground, cloudflare):
    zone = cloudflare.zone("example.org")
    row = cloudflare.add(zone, type="A", name=NAME, content="192.0.2.1", ttl=3600, comment="by hand")
    cloudflare.add(zone, type="A", name=NAME, content="192.0.2.2", proxied=True)
    cloudflare.add(zone, type="AAAA", name=NAME, content=ADDRESS6)
    run = ground.run("--diff")
    assert run.succeeded, run.output
    assert f"-{NAME}. 3600 IN A 192.0.2.1" in run.output
    assert cloudflare.changes() == ["PATCH", "DELETE"]
    held = {one["type"]: one for one in cloudflare.records[zone]}
    assert held["A"]["content"] == ADDRESS
    assert (held["A"]["id"], held["A"]["comment"]) == (row["id"], "by hand")
    assert held["AAAA"]["content"] == ADDRESS6  # nobody asked for that type


def test_behind_cloudflares_proxy_the_ttl_is_cloudflares(ground, cloudflare):
    zone = cloudflare.zone("example.org")
    assert ground.run(dns_cloudflare_proxied=True).succeeded
    assert cloudflare.held(zone) == [("A", NAME, ADDRESS, 1, True)]
    assert ground.run(dns_cloudflare_proxied=True).changed == []
    assert ground.run().changed == ["dns : Set the records at Cloudflare"]
    assert cloudflare.held(zone) == [("A", NAME, ADDRESS, 300, False)]


@pytest.mark.parametrize("kind", ["CNAME", "NS"])
def test_an_alias_is_not_overwritten(ground, cloudflare, kind):
    zone = cloudflare.zone("example.org")
    cloudflare.add(zone, type=kind, name=NAME, content="elsewhere.example.net")
    run = ground.run()
    assert not run.succeeded
    assert f"({kind}) {'of' if kind == 'CNAME' else 'at'} elsewhere.example.net" in run.words
    assert "Nothing was changed." in run.words
    assert cloudflare.changes() == []


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("x" * 40, "Invalid access token (code 9109)"),
        ("not-a-token", "Invalid format for Authorization header (code 6111)"),
        ("reader", "Authentication error (code 10000)"),
    ],
)
def test_tokens_that_do_not_do(ground, cloudflare, token, said):
    zone = cloudflare.zone("example.org")
    token = cloudflare.reader if token == "reader" else token
    run = ground.run("-vvv", vault_atlas_cloudflare_token=token)
    assert not run.succeeded
    assert "Cloudflare does not take the token: " in run.words
    assert f"{said}. It needs the permissions Zone: Read and DNS: Edit" in run.words
    assert "Nothing was changed." in run.words
    assert token not in run.output
    assert cloudflare.held(zone) == []


def test_without_a_token_nobody_is_asked(ground, cloudflare):
    run = ground.run(vault_atlas_cloudflare_token="")
    assert not run.succeeded
    assert "as vault_atlas_cloudflare_token into the encrypted vault.yml" in run.words
    assert cloudflare.calls == []


def test_the_token_is_never_shown(ground, cloudflare):
    cloudflare.zone("example.org")
    run = ground.run("-vvv", "--diff")
    assert run.succeeded, run.output
    assert cloudflare.token not in run.output


def test_a_zone_this_token_does_not_see(ground, cloudflare):
    cloudflare.zone("example.net")
    run = ground.run()
    assert not run.succeeded
    assert f"no zone at Cloudflare for {NAME} (looked for {NAME}, example.org)" in run.words


def test_a_zone_nobody_asks_yet(ground, cloudflare):
    cloudflare.zone("example.org", status="pending")
    run = ground.run()
    assert run.succeeded, run.output
    assert "until your registrar names ada.ns.cloudflare.example and bob.ns.cloudflare.example" in run.words


def test_cloudflare_busy_and_away(ground, cloudflare):
    zone = cloudflare.zone("example.org")
    cloudflare.busy = [429, 503]
    assert ground.run().succeeded
    assert cloudflare.held(zone) == [("A", NAME, ADDRESS, 300, False)]
    cloudflare.busy = [500] * 9
    run = ground.run(dns_ttl_seconds=600)
    assert not run.succeeded
    assert "Cloudflare refuses: Please wait" in run.words
    run = ground.run(dns_cloudflare_api="http://127.0.0.1:9/client/v4")
    assert not run.succeeded
    assert "http://127.0.0.1:9/client/v4 does not answer" in run.words


def test_zones_and_records_on_many_pages(ground, cloudflare):
    zone = cloudflare.zone("example.org")
    cloudflare.page = 1
    for number in range(3):
        cloudflare.add(zone, type="A", name=NAME, content=f"192.0.2.{number}")
    assert ground.run().succeeded
    assert cloudflare.held(zone) == [("A", NAME, ADDRESS, 300, False)]


# Oracle's DNS


@pytest.fixture
def oracle(ground):
    pytest.importorskip("oci", reason="make setup-oci installs Oracle's SDK")
    with FakeOci() as cloud:
        account = cloud.account(ground.home)
        ground.vars |= {
            "atlas_dns_provider": "oci",
            "oci_account": {**account, "poll_seconds": 0.05},
        }
        yield Oracle(cloud, account)


class Oracle:
    """An account of Oracle Cloud, and what its owner does by hand there."""

    def __init__(self, cloud, account):
        self.cloud = cloud
        config = {name: account[name] for name in ("tenancy", "user", "fingerprint", "key_file", "region")}
        self.dns = importlib.import_module("oci.dns").DnsClient(config, service_endpoint=cloud.endpoint)

    def zone(self, name):
        details = {"name": name, "compartmentId": self.cloud.tenancy, "zoneType": "PRIMARY"}
        return self.dns.create_zone(details).data.id

    def set(self, zone, kind, *texts, name=NAME):
        items = [{"domain": name, "rtype": kind, "rdata": text, "ttl": 3600} for text in texts]
        self.dns.update_rr_set(zone, name, kind, {"items": items})

    def held(self, zone):
        rows = self.dns.get_zone_records(zone).data.items
        return sorted((row.rtype, row.domain, row.rdata, row.ttl) for row in rows if not row.is_protected)

    def changes(self):
        return [(method, path) for method, path, _ in self.cloud.calls if method != "GET"]


def test_oracle_is_told_once(ground, oracle):
    zone = oracle.zone("example.org")
    oracle.set(zone, "MX", "10 mail.example.org.")
    oracle.set(zone, "A", "192.0.2.1", name="example.org")
    others, before = oracle.held(zone), oracle.changes()

    checked = ground.run("--check", "--diff", atlas_ipv6_address=ADDRESS6)
    assert checked.succeeded, checked.output
    assert checked.changed == ["dns : Set the records in Oracle's DNS"]
    assert ADDRESS6 in checked.output
    assert oracle.changes() == before

    run = ground.run(atlas_ipv6_address=ADDRESS6)
    assert run.succeeded, run.output
    mine = [("A", NAME, ADDRESS, 300), ("AAAA", NAME, ADDRESS6, 300)]
    assert oracle.held(zone) == sorted([*others, *mine])

    before = oracle.changes()
    again = ground.run(atlas_ipv6_address=ADDRESS6)
    assert again.succeeded, again.output
    assert (again.changed, oracle.changes()) == ([], before)


def test_a_machine_that_moved_replaces_what_oracle_has(ground, oracle):
    oracle.zone("org.example")
    zone = oracle.zone(NAME)  # longer than the next
    other = oracle.zone("example.org")
    oracle.set(zone, "A", "192.0.2.1", "192.0.2.2")
    run = ground.run("--diff")
    assert run.succeeded, run.output
    assert "192.0.2.2" in run.output
    assert oracle.held(zone) == [("A", NAME, ADDRESS, 300)]
    assert oracle.held(other) == []
    assert ground.run(dns_zone="example.org").succeeded
    assert oracle.held(other) == [("A", NAME, ADDRESS, 300)]


def test_an_alias_at_oracle_is_not_overwritten(ground, oracle):
    zone = oracle.zone("example.org")
    oracle.set(zone, "CNAME", "elsewhere.example.net.")
    before = oracle.changes()
    run = ground.run()
    assert not run.succeeded
    assert f"{NAME} is an alias (CNAME) of elsewhere.example.net" in run.words
    assert "Nothing was changed." in run.words
    assert oracle.changes() == before


def test_a_zone_oracle_does_not_have(ground, oracle):
    oracle.zone("example.net")
    run = ground.run()
    assert not run.succeeded
    assert f"There is no DNS zone for {NAME} in this tenancy" in run.words
    assert f"(looked for {NAME}, example.org)" in run.words


def test_a_key_oracle_does_not_take(ground, oracle):
    oracle.zone("example.org")
    wrong = {**ground.vars["oci_account"], "fingerprint": ":".join(["00"] * 16)}
    run = ground.run(oci_account=wrong)
    assert not run.succeeded
    assert "Oracle does not accept the key" in run.words


# Waiting


def test_a_name_that_leads_to_the_machine(ground, nameserver):
    nameserver.set(NAME, "A", ADDRESS)
    run = ground.run()
    assert run.succeeded, run.output
    assert f"{NAME} leads to {ADDRESS}." in run.words
    assert run.changed == []
    assert {server for server, name, kind in nameserver.asked if (name, kind) == (NAME, "A")} == {
        "127.0.0.1",
        "127.0.0.2",
    }


def test_a_name_that_leads_there_after_a_while(ground, nameserver):
    nameserver.set(NAME, "A", "192.0.2.1")
    seen = []

    def move(server):
        seen.append(1)
        if len(seen) == 30:
            server.set(NAME, "A", ADDRESS)

    nameserver.on_question = move
    run = ground.run(dns_wait_seconds=30)
    assert run.succeeded, run.output
    assert f"{NAME} is to lead to {ADDRESS}. Now: ns1.test says 192.0.2.1 (for 300 s)" in run.words
    assert f"{NAME} leads to {ADDRESS}." in run.words


def test_a_name_that_leads_nowhere_in_time(ground, nameserver):
    run = ground.run()
    assert not run.succeeded
    assert f"{NAME} does not lead to {ADDRESS} after 1 s" in run.words
    assert "ns2.test knows no address (others may remember that for 120 s)" in run.words
    assert f"Set: {NAME}. 300 IN A {ADDRESS}." in run.words


def test_servers_that_disagree(ground, nameserver):
    nameserver.set(NAME, "A", ADDRESS)
    nameserver.set(NAME, "A", "192.0.2.1", ttl=7200, server="127.0.0.2")
    run = ground.run()
    assert not run.succeeded
    assert f"ns1.test says {ADDRESS} (for 300 s); ns2.test says 192.0.2.1 (for 7200 s)" in run.words
    assert "others may hold on to what is there now for 7200 s" in run.words


def test_an_address_of_ipv6_that_leads_elsewhere(ground, nameserver):
    nameserver.set(NAME, "A", ADDRESS)
    nameserver.set(NAME, "AAAA", ADDRESS6)
    run = ground.run()
    assert not run.succeeded
    assert f"Remove what leads elsewhere ({ADDRESS6})" in run.words
    assert ground.run(atlas_ipv6_address="2001:DB8:0::10").succeeded


def test_an_alias_that_leads_there_is_as_good(ground, nameserver):
    nameserver.set(NAME, "CNAME", "machine.test.")
    nameserver.set("machine.test", "A", ADDRESS)
    assert ground.run().succeeded


def test_one_server_that_fails_does_not_keep_it_back(ground, nameserver):
    nameserver.set(NAME, "A", ADDRESS)
    nameserver.refusing = {"127.0.0.2"}
    assert ground.run().succeeded


def test_where_the_zones_servers_cannot_be_asked_the_resolver_is(ground, nameserver):
    nameserver.set(NAME, "A", ADDRESS)
    nameserver.refusing = {"127.0.0.1"}
    nameserver.not_authority = {"127.0.0.2"}
    run = ground.run()
    assert run.succeeded, run.output
    nameserver.set(NAME, "A", "192.0.2.1")
    run = ground.run()
    assert not run.succeeded
    assert "ns1.test refuses to answer (REFUSED); ns2.test does not have the zone" in run.words
    assert "this computer's resolver says 192.0.2.1" in run.words


def test_where_nobody_can_be_asked(ground, nameserver):
    nameserver.set(NAME, "A", ADDRESS)
    run = ground.run(dns_port=9)
    assert not run.succeeded
    assert (
        f"Nobody could say where {NAME} leads after 1 s: this computer's resolver does not answer"
        in run.words
    )
    assert ground.run(dns_port=9, dns_wait_seconds=0).succeeded


def test_a_domain_nobody_registered(ground, nameserver):
    nameserver.zones.append(dns.name.from_text("example"))
    run = ground.run(atlas_domain="atlas.nobody.example")
    assert not run.succeeded
    assert "The domain is not registered, or its registrar names no servers for it." in run.words


def test_a_check_looks_once_and_does_not_fail(ground, nameserver):
    run = ground.run("--check", dns_wait_seconds=900)
    assert run.succeeded, run.output
    assert f"{NAME} does not lead to {ADDRESS}. Now:" in run.words


def test_behind_a_proxy_any_address_will_do(ground, nameserver, cloudflare):
    cloudflare.zone("example.org")
    nameserver.set(NAME, "A", "192.0.2.1")
    assert not ground.run().succeeded
    assert ground.run(dns_cloudflare_proxied=True).succeeded


def test_set_and_seen(ground, nameserver, cloudflare):
    zone = cloudflare.zone("example.org")

    def publish(server):
        for row in cloudflare.records[zone]:
            server.set(NAME, row["type"], row["content"], ttl=row["ttl"])

    nameserver.on_question = publish
    run = ground.run()
    assert run.succeeded, run.output
    assert f"{NAME} leads to {ADDRESS}." in run.words
