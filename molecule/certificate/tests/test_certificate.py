import json

HOME = "/etc/atlas/certificate"
CHAIN = f"openssl verify -CAfile {HOME}/ca.pem"


def issued(host):
    return host.check_output(f"readlink {HOME}/current")


def test_the_certificate_is_signed_by_the_machines_authority_for_its_names(host):
    host.check_output(f"{CHAIN} -verify_hostname machine {HOME}/current/fullchain.pem")
    host.check_output(f"{CHAIN} -verify_hostname localhost {HOME}/current/fullchain.pem")
    host.check_output(f"{CHAIN} -verify_ip 127.0.0.1 {HOME}/current/fullchain.pem")
    assert host.run(f"{CHAIN} -verify_hostname elsewhere.example {HOME}/current/fullchain.pem").failed


def test_nobody_but_root_reads_a_key(host):
    open_keys = host.check_output(f"find {HOME} -name '*key*' -type f -perm /077")
    assert open_keys == ""
    assert host.run(f"runuser -u nobody -- cat {HOME}/current/privkey.pem").failed


def test_it_is_renewed_by_its_unit_and_the_users_are_told(host):
    before = issued(host)
    hook = "/etc/atlas/certificate.d/test"
    host.check_output(f"printf '#!/bin/sh\\ntouch /run/told\\n' > {hook}; chmod 755 {hook}")
    renewed = json.loads(host.check_output("/usr/local/sbin/atlas-certificate --renew"))
    assert renewed["changed"]
    assert issued(host) != before
    assert host.file("/run/told").exists
    host.check_output(f"rm {hook}")


def test_the_next_look_repairs_a_key_that_does_not_fit(host):
    before = issued(host)
    host.check_output(f"openssl genpkey -algorithm ED25519 -out {HOME}/current/privkey.pem 2>/dev/null")
    host.check_output("systemctl start atlas-certificate.service")
    assert issued(host) != before
    pair = (
        f'test "$(openssl x509 -noout -pubkey -in {HOME}/current/fullchain.pem)"'
        f' = "$(openssl pkey -pubout -in {HOME}/current/privkey.pem)"'
    )
    host.check_output(pair)


def test_it_looks_by_itself(host):
    assert host.service("atlas-certificate.timer").is_enabled
    assert host.service("atlas-certificate.timer").is_running
