"""First as it is where the vendor cannot be reached; then with a package from a repository that can be."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.dashboards import load

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[1]
REPOSITORY = "http://127.0.0.1:9070"
LIMITS = {"grafana_least_memory_mb": 256, "grafana_memory_mb": 128}
SERVER = (
    "/etc/apt/sources.list.d/grafana.sources",
    "/etc/atlas/grafana/secrets/admin_password",
    "/etc/atlas/health.d/grafana.json",
    "/etc/grafana/grafana.ini",
    "/etc/nginx/atlas.d/grafana.conf",
    "/etc/nginx/atlas.d/grafana.upstream",
    "/etc/prometheus/targets.d/grafana.yml",
    "/etc/systemd/system/grafana-server.service.d/atlas.conf",
)
OWNER = ("owner", "opens sesame 1")


def given(more=None):
    return "--tags=grafana", "--extra-vars", json.dumps(LIMITS | (more or {}))


def test_the_dashboards_lie_ready(host):
    for name, made in load().items():
        assert json.loads(host.file(f"/etc/grafana/dashboards.d/{name}.json").content_string) == made
    assert host.file("/etc/prometheus/rules.d/grafana.yml").exists


def test_where_the_vendor_cannot_be_reached_the_play_says_so_and_leaves_nothing_half_done(host, play):
    done = play(*given({"grafana_apt_repository": "http://127.0.0.1:9"}))
    assert done.succeeded, done.output
    assert done.changes == {}
    said = " ".join(done.output.split())
    assert "Grafana was not installed: its repository http://127.0.0.1:9 cannot be reached" in said
    assert "Connection refused" in said or "Could not connect" in said
    assert [path for path in SERVER if host.file(path).exists] == []
    assert host.run("apt-get check").rc == 0


def test_a_small_machine_does_without_it_and_asks_nobody(play):
    done = play(*given({"grafana_least_memory_mb": 10_000_000}))
    assert done.succeeded, done.output
    assert done.changes == {}
    assert "was not installed" not in done.output


@pytest.fixture(scope="module")
def vendor(host, scenario_directory):
    """The key of a repository that the machine reaches."""
    ssh = ["ssh", "-F", str(scenario_directory / "ssh" / "config"), "machine"]
    program = (HERE / "vendor.py").read_bytes()
    subprocess.run([*ssh, "cat > /tmp/vendor.py"], input=program, check=True)
    host.check_output("apt-get install --yes -qq --no-install-recommends gpg gpg-agent 2>&1")
    host.check_output("python3 /tmp/vendor.py /srv/vendor")
    host.check_output(
        "systemd-run --quiet --unit=vendor python3 -m http.server 9070 --bind 127.0.0.1"
        " --directory /srv/vendor"
        " && for i in $(seq 50); do ss -Hltn | grep -q :9070 && exit; sleep 0.1; done; exit 1"
    )
    return host.file("/srv/vendor/key.asc").content_string


@pytest.fixture(scope="module")
def variables(vendor):
    return {
        "grafana_apt_repository": REPOSITORY,
        "grafana_apt_key": vendor,
        "atlas_grafana_password": OWNER[1],
    }


@pytest.fixture(scope="module")
def installed(play, variables):
    """What the play said that installed it."""
    return play(*given(variables))


@pytest.fixture
def owner(scenario_directory):
    """What nginx is told by the owner."""
    return "owner", (scenario_directory / "secrets/owner_password").read_text().strip()


def headers(answer):
    """What Grafana was told."""
    return {name.lower(): value for name, value in answer.json()["headers"].items()}


def test_a_package_of_another_key_is_refused(host, play, variables):
    theirs = {**variables, "grafana_apt_key": (ROOT / "roles/grafana/files/grafana.asc").read_text()}
    done = play(*given(theirs))
    assert not done.succeeded
    assert "is not signed" in done.output or "NO_PUBKEY" in done.output
    assert not host.file("/usr/share/grafana/bin/grafana").exists


@pytest.mark.timeout(240)
def test_from_a_repository_it_is_installed_and_runs(host, installed):
    assert installed.succeeded, installed.output
    assert [path for path in SERVER if not host.file(path).exists] == []
    assert "BEGIN PGP PUBLIC KEY BLOCK" in host.file(SERVER[0]).content_string
    assert host.service("grafana-server").is_running
    assert host.service("grafana-server").is_enabled


@pytest.mark.usefixtures("installed")
def test_a_second_run_changes_nothing_also_when_the_vendor_is_away(host, play, variables):
    host.check_output("systemctl stop vendor")
    away = play(*given(variables), "--check")
    assert away.succeeded, away.output
    assert away.changes == {}
    again = play(*given(variables))
    assert again.succeeded, again.output
    assert again.changes == {}


@pytest.mark.usefixtures("installed")
def test_it_is_reached_through_nginx_alone_with_a_password(host, web, owner):
    assert web.get("/grafana/").status_code == 401
    assert host.check_output("ss -Hltn 'sport = :3000' | awk '{print $4}'") == "127.0.0.1:3000"
    answer = web.get("/grafana/d/atlas-overview", auth=owner)
    assert answer.json()["path"] == "/grafana/d/atlas-overview"
    assert "authorization" not in headers(answer), "nginx's password is not Grafana's business"
    assert headers(answer)["x-forwarded-proto"] == "https"
    assert answer.headers["content-security-policy"] == "script-src 'self'", "Grafana's own"
    assert web.get("/grafana", follow_redirects=False).headers["location"] == "/grafana/"


@pytest.mark.usefixtures("installed")
def test_what_opens_atlas_goes_no_further(web, owner):
    for sent, kept in (
        ("__Host-atlas=a; grafana_session=b; __Host-atlas-door=1.c", ["grafana_session=b"]),
        ("x=b; __Host-atlas-door=1.c; __Host-atlasses=2; __Host-atlas=a", ["x=b", "__Host-atlasses=2"]),
        ("__Host-atlas-door=1.c; __Host-atlas=a", []),
        ("grafana_session=b", ["grafana_session=b"]),
    ):
        seen = headers(web.get("/grafana/", auth=owner, headers={"Cookie": sent})).get("cookie", "")
        assert [part.strip() for part in seen.split(";") if part.strip()] == kept, sent


@pytest.mark.usefixtures("installed")
def test_its_files_need_no_password_and_come_all_at_once(web):
    def status(number):
        return web.get(f"/grafana/public/build/{number}.js").status_code

    with ThreadPoolExecutor(20) as many:
        assert set(many.map(status, range(300))) == {200}
    assert "cookie" not in headers(web.get("/grafana/public/build/app.js", headers={"Cookie": "a=b"}))


@pytest.mark.usefixtures("installed")
def test_its_metrics_are_for_the_machine(host, web, owner):
    assert web.get("/grafana/metrics", auth=owner).status_code == 404
    url = "http://127.0.0.1:3000/grafana/metrics"
    host.check_output(f"python3 -c \"import urllib.request; urllib.request.urlopen('{url}')\"")


@pytest.mark.usefixtures("installed")
def test_the_password_is_in_no_process_list_and_nobody_else_reads_it(host):
    assert host.file("/var/lib/grafana/grafana.db").content_string == OWNER[1]
    assert host.file(SERVER[1]).mode == 0o600
    assert OWNER[1] not in host.check_output(
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>&1 | tr '\\0' ' '"
    )
    assert OWNER[1] not in host.check_output("grep -rsl sesame /etc/grafana /etc/systemd || echo none")


@pytest.mark.usefixtures("installed")
def test_health_watches_it(host):
    report = json.loads(host.run("atlasctl health --json").stdout)
    check = next(one for one in report["checks"] if one["name"] == "grafana")
    assert (check["title"], check["state"].lower()) == ("Dashboards", "healthy")


@pytest.mark.usefixtures("installed")
def test_the_sandbox_is_tight(host):
    said = host.check_output("systemd-analyze security --no-pager grafana-server.service | tail -n 1")
    assert float(said.split(":")[1].split()[0]) <= 3.0, said


@pytest.mark.usefixtures("installed")
def test_another_password_in_the_vault_holds_from_the_next_run_on(host, play, variables):
    done = play(*given(variables | {"atlas_grafana_password": "opens sesame 2"}))
    assert done.succeeded, done.output
    assert "opens sesame" not in done.output
    assert host.file("/var/lib/grafana/grafana.db").content_string == "opens sesame 2"


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("installed")
def test_switched_off_it_goes_and_the_dashboards_stay(host, play, web, variables):
    done = play(*given(variables | {"grafana_enabled": False}))
    assert done.succeeded, done.output
    assert [path for path in SERVER if host.file(path).exists] == []
    assert not host.package("grafana").is_installed
    assert host.file("/var/lib/grafana/grafana.db").exists
    assert host.file("/etc/grafana/dashboards.d/overview.json").exists
    assert web.get("/grafana/public/x.js").status_code == 401
    assert host.service("nginx").is_running
