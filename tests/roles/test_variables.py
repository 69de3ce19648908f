"""Defaults, argument specifications and conditions say the same; a wrong variable stops a play at once."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def load(path):
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def test_specification_and_defaults_have_the_same_keys(role):
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = load(role / "defaults/main.yml")
    required = {name for name, option in options.items() if option.get("required")}
    assert set(options) == set(defaults) | required
    assert not required & set(defaults)
    assert {name: options[name]["default"] for name in defaults} == defaults


def test_required_variables_are_shared_ones(role, root):
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    shared = {}
    for path in (root / "group_vars/all").glob("*.yml"):
        shared |= load(path)
    assert {name for name, option in options.items() if option.get("required")} <= set(shared)


def test_own_variables_have_the_roles_name_in_front(role):
    assert all(name.startswith(f"{role.name}_") for name in load(role / "defaults/main.yml"))
    assert all(name.startswith(f"__{role.name}_") for name in load(role / "vars/main.yml"))


def test_every_default_has_a_comment(role):
    path = role / "defaults/main.yml"
    text = path.read_text() if path.exists() else ""
    blocks = [block for block in text.removeprefix("---\n").split("\n\n") if block.strip()]
    assert all(block.lstrip().startswith("#") for block in blocks)


def test_secrets_are_marked(role):
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    # Whoever knows one of the addresses may use it.
    addresses = ("ntfy_url", "slack_url", "webhook_url", "heartbeat_url")
    endings = ("password", "_secrets", "_token", "_key", "htpasswd_users", *addresses)
    secret = {name for name in options if name.endswith(endings)}
    assert {name for name in options if options[name].get("no_log")} == secret


RIGHT = [
    {},
    # As they come from the command line: all text.
    {"atlas_public_port": "8444", "postgresql_memory_mb": "512", "certificate_days": "60"},
    yaml.safe_load((ROOT / "inventory/local/hosts.yml").read_text())["all"]["vars"],
    {"certificate_source": "letsencrypt", "certificate_staging": "true"},
    # Some of whom SSH is open to are the owner's neighbours only.
    {
        "ssh_allowed_cidrs": ["198.51.100.7/32", "203.0.0.0/16", "2001:db8:7::/48"],
        "fail2ban_first_ban_minutes": "60",
        "fail2ban_ssh_ports": [2222],
        "backup_home_keys": [f"ssh-ed25519 {'A' * 68} atlas-home laptop", f"ssh-rsa {'B' * 370}=="],
    },
]
# What else would stand in a line of authorized_keys.
OPTIONS = f'command="sh" ssh-ed25519 {"A" * 68}'
TWO_LINES = f"ssh-ed25519 {'A' * 68} home\nssh-ed25519 {'B' * 68}"
WRONG = [
    (
        {"nginx_hepasswd_users": [], "atlas_public_port": "https"},
        ["nginx_hepasswd_users", "did you mean nginx_htpasswd_users?", "atlas_public_port"],
    ),
    (
        {"atlas_owner_password": "x123", "atlas_database_engine": "mysql"},
        ["atlas_database_engine must be one of: postgresql, sqlite"],
    ),
    (
        {
            "atlas_settings": {"data_dir": "/tmp"},
            "certificate_renew_days": 90,
            "atlas_owner_password": "short",
        },
        ["variable of its own", "certificate_renew_days", "atlas_owner_password must be 8 to 72"],
    ),
    ({"atlas_domain": "{{ nobody_said }}"}, ["atlas_domain cannot be worked out", "nobody_said"]),
    (
        {
            "certificate_source": "letsencrypt",
            "certificate_names": ["203.0.113.7", "machine"],
            "certificate_email": "me",
            "certificate_acme_directory": "",
            "certificate_acme_ca": "ca.pem",
        },
        ["holds an address", "without a domain", "certificate_email is no mail", "not the path of one"],
    ),
    (
        {
            "certificate_source": "letsencrypt",
            "certificate_staging": "true",
            "certificate_acme_directory": "http://ca",
            "certificate_public_addresses": ["atlas.example.org"],
        },
        ["certificate_staging is Let's Encrypt's", "must be a URL", "not an address"],
    ),
    (
        {
            "fail2ban_ignored_networks": ["0.0.0.0/0"],
            "fail2ban_ssh_failures": 2,
            "fail2ban_login_failures": 21,
            "fail2ban_longest_ban_days": 91,
            "fail2ban_ssh_ports": [],
        },
        [
            "fail2ban_ignored_networks must hold",
            "must be at least 3",
            "fail2ban_login_failures must not be above 20",
            "fail2ban_longest_ban_days 1 to 90",
            "fail2ban_ssh_ports must hold",
        ],
    ),
    (
        {"fail2ban_ignored_networks": ["home.example.org"], "fail2ban_first_ban_minutes": 1441}
        | {"fail2ban_longest_ban_days": 1, "backup_home_keys": [OPTIONS]},
        [
            "fail2ban_ignored_networks must hold",
            "must not be more than fail2ban_longest_ban_days",
            "backup_home_keys must hold public keys",
        ],
    ),
    ({"backup_home_keys": [TWO_LINES]}, ["backup_home_keys must hold public keys"]),
]


def play(root, home, hosts):
    """Run site.yml for hosts that nobody answers for: a play that gets so far says UNREACHABLE."""
    secrets = {"atlas_owner_password": "correct horse", "atlas_database_password": "battery-staple"}
    nobody = {"ansible_host": "127.0.0.1", "ansible_port": 1, "atlas_domain": "example.org", **secrets}
    named = {f"host{number}": nobody | variables for number, variables in enumerate(hosts)}
    (home / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": named}}))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(home / "hosts.yml"), "site.yml"],
        cwd=root,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def test_right_variables_let_the_play_connect(root, tmp_path):
    said = play(root, tmp_path, RIGHT)
    assert "Nothing was changed." not in said
    assert said.count("UNREACHABLE!") == len(RIGHT)


def test_wrong_variables_stop_the_play_before_it_connects(root, tmp_path):
    said = play(root, tmp_path, [variables for variables, _ in WRONG])
    assert "UNREACHABLE!" not in said
    assert "x123" not in said
    for number, (_, words) in enumerate(WRONG):
        told = said.partition(f"fatal: [host{number}]")[2].partition("fatal: [")[0]
        assert "Nothing was changed." in told
        for word in words:
            assert word in told
