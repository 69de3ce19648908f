"""Who comes in by SSH and who does not, what for, and that no mistake shuts the owner out."""

import functools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import engine
import pytest

NAME = "atlas-test-ssh"
FILE = "/etc/ssh/sshd_config.d/00-atlas.conf"
ADMIN = "atlas-admin"


@pytest.fixture(scope="module")
def play(play):
    """Play the role without the base under it."""
    return functools.partial(play, "--skip-tags=base")


@pytest.fixture(scope="module")
def ssh(scenario_directory):
    """Run ssh with options, and return how it ended."""

    options = ["-F", str(scenario_directory / "ssh/config"), "-o", "BatchMode=yes"]

    def run(*words, command="id -un", stdin=""):
        return subprocess.run(
            ["ssh", *options, *words, "machine", *([command] if command else [])],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )

    return run


def test_passwords_are_not_even_asked_for(ssh):
    refused = ssh(
        "-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password,keyboard-interactive"
    )
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_root_comes_in_by_key_for_as_long_as_ansible_comes_as_root(ssh):
    assert ssh().stdout == "root\n"


def test_the_admin_has_roots_key_and_sudo(ssh):
    assert ssh("-l", ADMIN).stdout == f"{ADMIN}\n"
    assert ssh("-l", ADMIN, command="sudo -n id -un").stdout == "root\n"


def test_who_is_not_named_stays_outside_with_the_right_key(host, ssh):
    host.check_output("useradd --create-home --home-dir /srv/stranger --shell /bin/bash stranger")
    host.check_output("cp -r /root/.ssh /srv/stranger/ && chown -R stranger: /srv/stranger/.ssh")
    try:
        assert "Permission denied" in ssh("-l", "stranger").stderr
        host.check_output("usermod --append --groups ssh-users stranger")
        assert ssh("-l", "stranger").stdout == "stranger\n"
    finally:
        host.check_output("userdel --remove --force stranger")


@pytest.fixture
def anna(host):
    """Somebody with the right key, who was let in by hand, as the distribution has it."""
    host.check_output(
        "useradd --create-home --home-dir /srv/anna --shell /bin/bash --groups adm,ssh-users anna"
    )
    host.check_output("cp -r /root/.ssh /srv/anna/ && chown -R anna: /srv/anna/.ssh")
    yield "anna"
    host.check_output("userdel --remove --force anna")


MEMBERS = "ssh : Keep nobody in it but those who may come in"


@pytest.mark.timeout(200)
def test_who_is_taken_out_of_the_list_stays_outside(host, play, ssh, anna):
    named = ("--extra-vars", json.dumps({"ssh_allowed_users": [anna]}))
    assert play(*named).changes == {}
    assert ssh("-l", anna).stdout == "anna\n"
    assert play("--check").changes == {MEMBERS: []}
    assert ssh("-l", anna).stdout == "anna\n"
    changed = play()
    assert (changed.succeeded, changed.changes) == (True, {MEMBERS: []}), changed.output
    assert "Permission denied" in ssh("-l", anna).stderr
    assert host.user(anna).groups == ["anna", "adm"]
    assert ssh("-l", ADMIN).stdout == f"{ADMIN}\n"
    assert play(*named).changes == {MEMBERS: []}
    assert ssh("-l", anna).stdout == "anna\n"
    assert play().changes == {MEMBERS: []}


@pytest.mark.timeout(200)
def test_whose_own_group_it_is_cannot_stay_in_unseen(host, play, anna):
    host.check_output("usermod --gid ssh-users anna")
    refused = play()
    assert not refused.succeeded
    assert "`usermod --gid GROUP anna`" in refused.output
    named = play("--extra-vars", json.dumps({"ssh_allowed_users": [anna]}))
    assert named.succeeded, named.output
    host.check_output("usermod --gid anna anna")
    assert play().succeeded


@pytest.mark.parametrize("mode", [["--check"], []], ids=["check", "run"])
def test_a_name_that_is_nobodys_makes_nobody(host, play, mode):
    members = host.check_output("getent group ssh-users")
    refused = play(*mode, "--extra-vars", json.dumps({"ssh_allowed_users": [ADMIN, "ana"]}))
    assert not refused.succeeded
    assert "ssh_allowed_users names ana, and there is no such user" in " ".join(refused.output.split())
    assert not host.user("ana").exists
    assert host.check_output("getent group ssh-users") == members


# Comes from an address, says nothing, and tells how many of the connections the server greeted.
SILENT = """
import socket, sys, time
greeted, kept = 0, []
for _ in range(60):
    s = socket.create_connection(("127.0.0.1", 22), 10, ("127.0.0.2", 0))
    kept.append(s)
    try:
        greeted += s.recv(100).startswith(b"SSH-")
    except OSError:
        pass
print(greeted, flush=True)
time.sleep(5)
"""


def test_one_address_does_not_take_all_the_places(host, ssh):
    with ThreadPoolExecutor(1) as beside:
        silent = beside.submit(host.check_output, "python3 -c %s", SILENT)
        while not silent.done():
            assert ssh().stdout == "root\n"
    assert 1 <= int(silent.result()) <= 5


def test_it_gives_up_after_a_few_keys(host):
    assert "maxauthtries 3" in host.check_output("sshd -T -C user=root,host=h,addr=192.0.2.1")


def test_a_judge_finds_nothing_wrong_with_the_algorithms(port):
    pytest.importorskip("ssh_audit", reason="make setup installs ssh-audit")
    judge = [sys.executable, "-m", "ssh_audit", "--json", f"--port={port(22)}", "127.0.0.1"]
    done = subprocess.run(judge, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    found = {
        (grade, note)
        for kind in ("kex", "key", "enc", "mac")
        for algorithm in report[kind]
        for grade, notes in algorithm["notes"].items()
        if grade != "info"
        for note in notes
    }
    # Clients of before 2022 know nothing else.
    assert found <= {("warn", "does not provide protection against post-quantum attacks")}
    assert len(report["kex"]) >= 3
    assert report["cves"] == []


def test_tunnels_lead_to_this_machine_and_nowhere_else(host, ssh):
    own = host.check_output("hostname -I").split()[0]
    for target, leads in (("127.0.0.1:22", True), ("localhost:22", True), (f"{own}:22", False)):
        through = ssh("-W", target, command=None, stdin="SSH-2.0-test\r\n")
        assert ("SSH-2.0" in through.stdout) is leads, target
    back = ssh("-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:9999:127.0.0.1:9")
    assert "remote port forwarding failed" in back.stderr


def test_what_a_providers_image_says_later_does_not_count(host, play, ssh, eventually):
    later = "/etc/ssh/sshd_config.d/50-cloud-init.conf"
    host.check_output(f"echo 'PasswordAuthentication yes' > {later}; systemctl reload ssh")
    try:
        eventually(lambda: "Permission denied (publickey)" in ssh("-o", "PubkeyAuthentication=no").stderr)
        assert play().changes == {}
    finally:
        host.check_output(f"rm {later}; systemctl reload ssh")
        eventually(lambda: ssh().returncode == 0)  # for a moment nobody listens


def test_a_server_that_does_not_read_our_file_is_noticed(host, play, ssh, eventually):
    # As somebody hardened it by hand: that passwords are refused says nothing about our file.
    host.check_output(
        "cp -p /etc/ssh/sshd_config /root/ && sed -i /^Include/d /etc/ssh/sshd_config &&"
        " sed -i '1i PasswordAuthentication no' /etc/ssh/sshd_config"
    )
    try:
        refused = play()
    finally:
        host.check_output("mv /root/sshd_config /etc/ssh/; systemctl reload ssh")
        eventually(lambda: ssh().returncode == 0)  # for a moment nobody listens
    assert not refused.succeeded
    assert "must begin with Include" in refused.output


def test_a_mistake_is_found_before_it_is_loaded(host, play):
    before = host.file(FILE).content_string
    refused = play("--extra-vars", json.dumps({"ssh_settings": {"PermitLogin": "no"}}))
    assert not refused.succeeded
    assert "Bad configuration option: PermitLogin" in refused.output
    assert host.file(FILE).content_string == before


@pytest.mark.timeout(200)
def test_who_shuts_himself_out_comes_in_again_within_a_minute(host, play, ssh):
    before = host.file(FILE).content_string
    refused = play("--extra-vars", json.dumps({"ssh_settings": {"DenyUsers": "root"}}))
    assert not refused.succeeded
    assert "everything was put back as it was" in refused.output
    assert "Ansible comes as root" in refused.output
    assert host.file(FILE).content_string == before
    assert ssh().stdout == "root\n"
    assert host.check_output("systemctl list-units --all --plain --no-legend 'trial-*'") == ""


def test_shutting_root_out_while_ansible_comes_as_root_is_refused(play):
    refused = play("--extra-vars", json.dumps({"ssh_root_login": "never"}))
    assert not refused.succeeded
    assert "set ansible_user to atlas-admin" in refused.output


@pytest.mark.timeout(200)
def test_once_ansible_comes_as_the_admin_root_is_shut_out(play, ssh):
    as_admin = ("--extra-vars", json.dumps({"ansible_user": ADMIN}))
    changed = play(*as_admin)
    assert changed.succeeded, changed.output
    assert "Permission denied" in ssh().stderr
    assert play(*as_admin).changes == {}
    back = play("--extra-vars", json.dumps({"ansible_user": ADMIN, "ssh_root_login": "key"}))
    assert back.succeeded, back.output
    assert ssh().stdout == "root\n"


@pytest.fixture
def socket_started(host, ssh, eventually):
    """As on Ubuntu, a socket listens, and starts the server when somebody comes."""
    host.check_output("systemd-run --quiet sh -c 'systemctl stop ssh.service; systemctl start ssh.socket'")
    eventually(lambda: ssh(command="systemctl is-active ssh.socket").returncode == 0)
    yield
    host.check_output("systemd-run --quiet sh -c 'systemctl stop ssh.socket; systemctl start ssh.service'")
    eventually(lambda: ssh(command="systemctl is-active ssh.service").returncode == 0)


@pytest.mark.usefixtures("socket_started")
@pytest.mark.timeout(250)
def test_a_server_that_a_socket_starts(host, play, ssh):
    assert host.check_output("systemctl show --value --property=TriggeredBy ssh.service") == "ssh.socket"
    locked = {"ssh_settings": {"DenyUsers": "root"}, "ssh_trial_seconds": 15}
    refused = play("--extra-vars", json.dumps(locked))
    assert "everything was put back as it was" in refused.output
    assert ssh().stdout == "root\n"
    assert host.check_output("systemctl is-active ssh.socket") == "active"
    changed = play("--extra-vars", json.dumps({"ssh_settings": {"MaxSessions": 7}}))
    assert changed.succeeded, changed.output
    assert play().succeeded


@pytest.fixture
def past_ssh(tmp_path):
    """Variables of a run that comes as one by `podman exec` does: by no SSH, though Ansible thinks so."""
    container = engine.require()
    script = tmp_path / "come-in"
    script.write_text(f"""#!/bin/bash
exec {container.name} exec --interactive {NAME} sh -c "${{@: -1}}"
""")
    script.chmod(0o755)
    return {"ansible_ssh_executable": str(script), "ansible_ssh_transfer_method": "piped"}


@pytest.mark.timeout(200)
def test_who_does_not_come_by_ssh_is_told_that_nobody_tried(host, play, past_ssh, ssh):
    changed = play("--extra-vars", json.dumps({**past_ssh, "ssh_settings": {"MaxSessions": 7}}))
    assert changed.succeeded, changed.output
    said = " ".join(changed.output.split())
    assert "Whether somebody still gets in was not tried" in said
    assert "as the SSH server still answers on the machine itself" in said
    assert ssh().stdout == "root\n"
    before = host.file(FILE).content_string
    # A server that has no key of the only kind it offers; `sshd -t` finds nothing wrong with it.
    nobodys = {"HostKeyAlgorithms": "sk-ssh-ed25519@openssh.com"}
    mute = play("--extra-vars", json.dumps({**past_ssh, "ssh_settings": nobodys, "ssh_trial_seconds": 15}))
    assert not mute.succeeded
    assert "answered on the machine itself before the change" in " ".join(mute.output.split())
    assert host.file(FILE).content_string == before
    assert ssh().stdout == "root\n"
    assert play().succeeded
