"""What the trees of the roles become: rendered by a real play, once for all tests, in two variants."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from atlas.api.edge import LARGE_BODIES, MAX_BODY
from atlas.settings import Settings
from atlasctl.health.definitions import load

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if (path / "tree").is_dir())
SECRETS = {
    "atlas_owner_password": "correct horse",
    "atlas_database_password": "battery-staple",
    "atlas_door_key": "staple" * 8,
    "atlas_grafana_password": "staple battery",
    "atlas_grafana_key": "horse" * 6,
}
GIVEN = "tr0mb0ne"
SECRET_FILES = ("atlas-door", "mail_password", "alertmanager.yml")
VARIANTS = {
    "production": {
        "atlas_domain": "atlas.example.org",
        "atlas_public_port": 443,
        "atlas_auth_mode": "both",
        "atlas_secrets": {"smtp_password": GIVEN},
        "atlas_mail_server": "mail.example.org",
        "atlas_mail_user": "me@example.org",
        "atlas_mail_password": GIVEN,
        "alertmanager_ntfy_url": f"https://ntfy.example.org/{GIVEN}",
        "alertmanager_ntfy_token": GIVEN,
        "alertmanager_slack_url": f"https://hooks.example.org/{GIVEN}",
        "alertmanager_webhook_url": f"https://program.example.org/{GIVEN}",
        "alertmanager_heartbeat_url": f"https://switch.example.org/{GIVEN}",
        "alertmanager_docs_url": "https://docs.example.org/atlas",
        "alertmanager_mute_times": [{"weekdays": ["sunday"], "location": "Europe/Berlin"}],
        "ansible_host": "203.0.113.10",
        "certificate_source": "letsencrypt",
        "certificate_names": ["atlas.example.org", "read.example.org"],
        "backup_home_keys": [f"ssh-ed25519 {'A' * 68} atlas-home laptop"],
        "ssh_allowed_cidrs": ["198.51.100.7/32", "203.0.112.0/20", "2001:db8:7::/48", "2001:db8::/32"],
    },
    "local": {
        "atlas_domain": "localhost",
        "atlas_public_port": "8443",  # as text, as from the command line
        "certificate_days": "60",
        "certificate_source": "letsencrypt",
        "certificate_staging": "true",
        "atlas_auth_mode": "session",
        "atlas_database_engine": "sqlite",
        "atlas_settings": {"user_agent": 'Me "and" my $HOME \\ reader', "worker_threads": 8},
    },
}


def play(home):
    """One play for all variants; what a task is given goes before the files of variables."""
    roles = ROOT / "roles"
    given = sorted((ROOT / "group_vars/all").glob("*.yml"))
    given += [path for name in ROLES for path in sorted((roles / name).glob("[dv]*/main.yml"))]
    sources = {name: [str(roles / name / "tree")] for name in ROLES}
    sources["firewall"].append(str(roles / "firewall/nftables"))
    sources["grafana"].append(str(roles / "grafana/server"))
    cluster = "etc/postgresql/15/main"
    sources["postgresql"].append({"path": str(roles / "postgresql/cluster"), "to": cluster})
    found = {
        "__base_shares_kernel": False,
        "__ssh_connection": {"stdout": "root"},
        "postgresql_memory_mb": 1024,
        "__postgresql_clusters": {"files": [{"path": f"/{cluster}"}]},
    }
    tasks = [
        {
            "name": f"{name} in {variant}",
            "install_tree": {"src": src, "dest": f"{home}/{variant}/{name}", "journal": f"{home}/journal"},
            "vars": SECRETS | found | variables,
        }
        for variant, variables in VARIANTS.items()
        for name, src in sources.items()
    ]
    return {"hosts": "all", "gather_facts": False, "vars_files": list(map(str, given)), "tasks": tasks}


@pytest.fixture(scope="session")
def rendered(run_play, tmp_path_factory):
    """Directories by variant; below each, what every role puts on the machine."""
    home = tmp_path_factory.mktemp("trees")
    run_play(home, play(home))
    return {variant: home / variant for variant in VARIANTS}


@pytest.fixture(params=VARIANTS)
def variant(request, rendered):
    return rendered[request.param]


def files(directory, pattern="*"):
    return sorted(path for path in directory.rglob(pattern) if path.is_file())


def test_nothing_is_left_of_the_templates(variant):
    for path in files(variant):
        text = path.read_text()
        templates = {"rules.d", "alertmanager.d", "dashboards.d", "docs"}
        if path.parent.name in templates or path.name == "alertmanager.yml":
            continue  # Prometheus, Alertmanager and Grafana have templates of their own, docs/ shows some
        assert "{{" not in text, path
        assert "{%" not in text, path
        assert text.endswith("\n") or path.parent.name == "secrets", path


def test_configuration_says_where_it_comes_from(variant):
    for path in [*files(variant, "*.conf"), *files(variant, "*.service"), *files(variant, "*.timer")]:
        assert "Managed by Ansible: change roles/" in path.read_text(), path


def test_every_drop_in_is_json(variant):
    found = [path for path in files(variant, "*.json") if path.parent.name.endswith(".d")]
    assert {path.parent.name for path in found} >= {"health.d", "backup.d", "cleanup.d"}
    for path in found:
        assert isinstance(json.loads(path.read_text()), dict), path


def test_atlasctl_understands_every_health_check(variant, tmp_path):
    for path in files(variant, "*.json"):
        if path.parent.name == "health.d":
            shutil.copy(path, tmp_path / path.name)
    checks, broken = load(tmp_path)
    assert broken == []
    assert {check.name for check in checks} >= {
        "api",
        "worker",
        "nginx",
        "database",
        "certificate",
        "disk",
        "memory",
    }
    rules = "\n".join(path.read_text() for path in ROOT.glob("roles/*/tree/etc/prometheus/rules.d/*.yml"))
    for check in checks:
        assert not check.alert or f"- alert: {check.alert}\n" in rules, check


def test_units_start_what_is_there(variant):
    for path in files(variant, "*.service"):
        (command,) = re.findall(r"^ExecStart=(\S+)", path.read_text(), re.MULTILINE)
        assert command.startswith(("/opt/atlas/current/bin/", "/usr/local/", "/usr/bin/msmtpd")), path


def test_timers_have_a_service_and_are_enabled_by_install(variant):
    for path in files(variant, "*.timer"):
        assert path.with_suffix(".service").exists()
        assert "WantedBy=timers.target" in path.read_text()


def test_the_environment_reads_the_same_for_a_shell_and_for_systemd(rendered):
    path = rendered["local"] / "atlas/etc/atlas/atlas.env"
    script = f'. {path}; printf \'%s|%s|%s\' "$ATLAS_USER_AGENT" "$ATLAS_WORKER_THREADS" "$ATLAS_PUBLIC_URL"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == 'Me "and" my $HOME \\ reader|8|https://localhost:8443'
    assert "ATLAS_DATABASE_URL" not in path.read_text()


def test_no_secret_outside_its_file(variant):
    for path in files(variant):
        text = path.read_text()
        if path.parent.name != "secrets" and not path.name.startswith(SECRET_FILES):
            assert not [secret for secret in (*SECRETS.values(), GIVEN) if secret in text], path


def test_a_secret_that_was_given_is_handed_to_every_unit_of_the_app(rendered):
    unit = "atlas/etc/systemd/system/atlas-worker.service"
    given = "LoadCredential=smtp_password:/etc/atlas/secrets/smtp_password"
    assert given in (rendered["production"] / unit).read_text()
    assert (rendered["production"] / "atlas/etc/atlas/secrets/smtp_password").read_text() == GIVEN
    assert "smtp_password" not in (rendered["local"] / unit).read_text()


def test_every_secret_of_the_app_can_be_given():
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    files = {path.stem for path in (ROOT / "roles/atlas/tree/etc/atlas/secrets").iterdir()}
    assert secret == files


def test_the_two_ways_of_guarding_the_pages(rendered):
    site = "nginx/etc/nginx/sites-enabled/atlas.conf"
    both, session = ((rendered[name] / site).read_text() for name in ("production", "local"))
    assert "location / {\n        auth_basic $atlas_page_realm;" in both
    assert "location / {\n        auth_basic off;" in session
    assert "return 308 https://$host$request_uri;" in both
    assert "return 308 https://$host:8443$request_uri;" in session


def _locations(site, indent="    "):
    """Split the site into its locations: the pattern or path of each, and what holds there."""
    found = re.findall(
        rf"^{indent}location (?P<match>[=~^]* ?)(?P<path>\S+) \{{\n(.*?)^{indent}\}}",
        site,
        re.MULTILINE | re.DOTALL,
    )
    return [(match.strip(), path, body) for match, path, body in found]


def _location(site, path):
    """Return what holds for a path, chosen as nginx does."""
    locations = _locations(site)
    exact = [body for match, name, body in locations if match == "=" and name == path]
    patterns = [(name.replace("(?<", "(?P<"), body) for match, name, body in locations if match == "~"]
    pattern = [body for name, body in patterns if re.search(name, path)]
    prefix = [(len(name), body) for match, name, body in locations if match == "" and path.startswith(name)]
    return (exact + pattern + [max(prefix)[1]])[0]


def test_nginx_takes_bodies_as_large_as_the_app_does(rendered):
    site = (rendered["production"] / "nginx/etc/nginx/sites-enabled/atlas.conf").read_text()
    for (_, route), setting in LARGE_BODIES.items():
        size = {"upload_max_bytes": "25m", "import_max_bytes": "0"}[setting]
        assert f"client_max_body_size {size};" in _location(site, route.replace("ID", "12")), route
    assert "client_max_body_size" not in _location(site, "/api/items")
    assert "client_max_body_size 1m;" in (rendered["production"] / "nginx/etc/nginx/nginx.conf").read_text()
    assert MAX_BODY <= 2**20
    assert Settings.model_fields["upload_max_bytes"].default <= 25 * 2**20


def test_without_a_name_in_the_handshake_only_who_is_reached_by_address_answers(rendered):
    site = "nginx/etc/nginx/sites-enabled/atlas.conf"
    named, local = ((rendered[name] / site).read_text() for name in ("production", "local"))
    assert named.count("ssl_certificate ") == 1
    assert local.count("ssl_certificate ") == 2
    assert named.count("ssl_reject_handshake on;") == local.count("ssl_reject_handshake on;") == 1


def test_where_nginx_asks_whoever_comes_nobody_guesses_at_speed(rendered):
    """Also not a browser it knows: pages of other roles are behind the password whatever its cookie says."""
    limits = (rendered["production"] / "nginx/etc/nginx/atlas-limits.conf").read_text()
    (counted,) = re.findall(r'"~(\S+status\S+)" \$atlas_client;', limits)
    drop_ins = sorted(rendered["production"].glob("*/etc/nginx/atlas.d/*.conf"))
    assert drop_ins
    for path in drop_ins:
        for match, prefix, body in _locations(path.read_text(), indent=""):
            if match in ("", "^~") and "auth_basic off" not in body:
                assert re.search(counted, f"1:{prefix}page"), f"{path.name}: {prefix}"


def test_only_a_name_of_its_own_is_held_to_tls(rendered):
    headers = "nginx/etc/nginx/atlas-headers.conf"
    assert "Strict-Transport-Security" in (rendered["production"] / headers).read_text()
    assert "Strict-Transport-Security" not in (rendered["local"] / headers).read_text()


def test_whom_to_ask_for_a_certificate(rendered):
    real, staging = (
        json.loads((rendered[name] / "certificate/etc/atlas/certificate.json").read_text())["acme"]
        for name in ("production", "local")
    )
    assert real["server"] == "https://acme-v02.api.letsencrypt.org/directory"
    assert staging["server"] == "https://acme-staging-v02.api.letsencrypt.org/directory"
    assert (real["lineage"], staging["lineage"]) == ("atlas", "atlas-staging")
    assert (real["public"], real["ca_file"], real["email"]) == (True, "", "")
    assert real["names"] == ["atlas.example.org", "read.example.org"]
    assert real["addresses"] == ["203.0.113.10"]


def test_the_question_of_an_authority_is_answered_over_http(variant):
    site = (variant / "nginx/etc/nginx/sites-enabled/atlas.conf").read_text()
    (server,) = [one for one in site.split("server {") if "acme-challenge" in one]
    assert "listen 80;" in server
    assert "ssl" not in server
    assert "root /var/lib/atlas-challenge;" in server


def test_never_banned_are_the_owners_networks_and_not_a_providers(rendered):
    def ignored(variant):
        (jail,) = (path for path in files(rendered[variant]) if path.name == "jail.local")
        (line,) = re.findall(r"^ignoreip = (.+)$", jail.read_text(), re.MULTILINE)
        return line.split()

    assert ignored("production") == ["127.0.0.0/8", "::1", "198.51.100.7/32", "2001:db8:7::/48"]
    assert ignored("local") == ["127.0.0.0/8", "::1"]


def test_numbers_given_as_text_stay_numbers(rendered):
    settings = json.loads((rendered["local"] / "certificate/etc/atlas/certificate.json").read_text())
    assert settings["days"] == 60


# What dev-sec's linux-baseline wants of the kernel, by control; a container would share that with its host.
KERNEL = {
    "sysctl-02": {"net.ipv4.conf.all.rp_filter": "1", "net.ipv4.conf.default.rp_filter": "1"},
    "sysctl-03": {"net.ipv4.icmp_ignore_bogus_error_responses": "1"},
    "sysctl-04": {"net.ipv4.icmp_echo_ignore_broadcasts": "1"},
    "sysctl-05": {"net.ipv4.icmp_ratelimit": "100"},
    "sysctl-06": {"net.ipv4.icmp_ratemask": "88089"},
    "sysctl-08": {"net.ipv4.conf.all.arp_ignore": "1"},
    "sysctl-09": {"net.ipv4.conf.all.arp_announce": "2"},
    "sysctl-10": {"net.ipv4.tcp_rfc1337": "1"},
    "sysctl-11": {"net.ipv4.tcp_syncookies": "1"},
    "sysctl-12": {"net.ipv4.conf.all.shared_media": "1", "net.ipv4.conf.default.shared_media": "1"},
    "sysctl-13": {
        f"net.{family}.conf.{scope}.accept_source_route": "0"
        for family in ("ipv4", "ipv6")
        for scope in ("all", "default")
    },
    "sysctl-14": {"net.ipv4.conf.all.accept_redirects": "0", "net.ipv4.conf.default.accept_redirects": "0"},
    "sysctl-15": {"net.ipv4.conf.all.secure_redirects": "0", "net.ipv4.conf.default.secure_redirects": "0"},
    "sysctl-16": {"net.ipv4.conf.all.send_redirects": "0", "net.ipv4.conf.default.send_redirects": "0"},
    "sysctl-20": {"net.ipv6.conf.all.accept_redirects": "0", "net.ipv6.conf.default.accept_redirects": "0"},
    "sysctl-30": {"kernel.sysrq": "0"},
    "sysctl-31a": {"fs.suid_dumpable": "0"},
    "sysctl-32": {"kernel.randomize_va_space": "2"},
    "sysctl-34": {
        "fs.protected_fifos": "2",
        "fs.protected_hardlinks": "1",
        "fs.protected_regular": "2",
        "fs.protected_symlinks": "1",
    },
}


@pytest.mark.parametrize("control", KERNEL)
def test_the_kernel_is_set_as_dev_sec_wants_it(rendered, control):
    lines = (rendered["production"] / "base/etc/sysctl.d/60-atlas.conf").read_text().splitlines()
    settings = dict(line.lstrip("-").split(" = ") for line in lines if " = " in line and line[0] != "#")
    assert {name: settings.get(name) for name in KERNEL[control]} == KERNEL[control]
