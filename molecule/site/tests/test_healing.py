"""Damage a working machine in many ways; one run of the playbook heals all of it, and touches only that."""

import pytest

DAMAGE = {
    "a configuration file is edited": "echo 'worker_connections 1;' >> /etc/nginx/nginx.conf",
    "a unit is masked": "systemctl mask --now nginx.service",
    "a package is removed": "dpkg --remove python3-psycopg2",
    "the user gets a shell": "usermod --shell /bin/bash atlas",
    "a secret is opened": "chmod 0666 /etc/atlas/secrets/owner_password",
    "the site is deleted": "rm /etc/nginx/sites-enabled/atlas.conf",
    "another site is slipped in": "echo 'server { listen 81; }' > /etc/nginx/sites-enabled/other.conf",
    "the htpasswd is emptied": ": > /etc/nginx/atlas.htpasswd",
    "the database password is changed": 'runuser -u postgres -- psql -qc "alter role atlas password null"',
    "the release leads nowhere": "ln -sfn releases/nowhere /opt/atlas/current",
    "the firewall is switched off": (
        "systemctl disable --now atlas-firewall.service && /usr/local/lib/atlas/firewall remove"
    ),
    "a jail is opened": "sed -i '/atlas-login/,$ s/enabled = true/enabled = false/' /etc/fail2ban/jail.local",
    "nobody is banned any more": "systemctl disable --now fail2ban.service",
    "a service is disabled": "systemctl disable --now atlas-worker.service",
}
# What has to be changed, and nothing else: the tasks, and the files they write.
HEALED = {
    "base : Install the packages of all roles": [],
    "firewall : Install the rules, and keep them if a new connection gets in": [],
    "firewall : Keep the rules from the next boot on": [],
    "postgresql : Keep the role and its password": [],
    "nginx : Install nginx's files": [
        "/etc/nginx/atlas.htpasswd",
        "/etc/nginx/nginx.conf",
        "/etc/nginx/sites-enabled/atlas.conf",
        "/etc/nginx/sites-enabled/other.conf",
    ],
    "nginx : Keep nginx running": [],
    "fail2ban : Install the jails": ["/etc/fail2ban/jail.local"],
    "fail2ban : Keep the jails watched over": [],
    "atlas : Keep the user the app runs as": [],
    "atlas : Install the app's source, settings and units": ["/etc/atlas/secrets/owner_password"],
    "atlas : Put the release in place, or keep the one that serves": [],
    "atlas : Keep the app running": [],
    "atlasctl : Keep the health checks running": [],
}


@pytest.mark.timeout(600)
def test_one_run_heals_all_damage_and_touches_nothing_else(host, web, play):
    host.check_output("systemctl disable --now atlas-health.timer")  # it would begin to heal by itself
    for command in DAMAGE.values():
        host.check_output(command)
    healed = play()
    assert healed.succeeded, healed.output
    assert {task: sorted(files) for task, files in healed.changes.items()} == HEALED
    assert web.get("/ready").status_code == 200
    again = play()
    assert again.changes == {}, again.output


def test_the_machine_is_as_before(host, library):
    assert host.user("atlas").shell == "/usr/sbin/nologin"
    assert host.file("/etc/atlas/secrets/owner_password").mode == 0o640
    assert host.service("atlas-worker.service").is_running
    assert host.service("atlas-worker.service").is_enabled
    assert host.run("/usr/local/lib/atlas/fail2ban check").rc == 0
    assert host.file("/opt/atlas/current/FINISHED").exists
    assert library.client.get("/api/items").status_code == 200
