"""What the scenarios' tests share. They look from outside where they can: over TLS, by the published port."""

import io
import json
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from string import Template

import httpx2
import pytest
import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import engine  # noqa: E402
import machine  # noqa: E402
import skips  # noqa: E402
from library import article, feed  # noqa: E402
from tunnel import through_ssh  # noqa: E402

SCENARIO = os.environ["MOLECULE_SCENARIO_NAME"]
BIRDS = (
    "heron",
    "egret",
    "bittern",
    "stork",
    "crane",
    "ibis",
    "spoonbill",
    "flamingo",
    "kingfisher",
    "dipper",
)
PLAYED = (
    "ansible.cfg",
    "app",
    "docs",
    "group_vars",
    "playbooks",
    "plugins",
    "requirements",
    "roles",
    "site.yml",
)
# Without what Ansible says of itself.
JOURNAL = "sudo -n journalctl --no-pager --lines=500 | grep -Ev ' (ansible-|sudo|sshd)[^ ]*\\[' | tail -n 60"


@dataclass(frozen=True)
class Play:
    """How a run of a playbook ended, and what it changed: for each changed task, the files it wrote."""

    succeeded: bool
    output: str
    changes: dict[str, list[str]]


@pytest.fixture(scope="session")
def scenario_directory():
    """Where the scenario keeps its secrets and its SSH key."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])


@pytest.fixture(scope="session")
def play(scenario_directory):
    """Run the scenario's playbook, or another one, as `converge` does, with more arguments."""

    def run(*arguments: str, repository: Path = ROOT, playbook: str = "") -> Play:
        report = scenario_directory / "changes.json"
        report.unlink(missing_ok=True)
        result = subprocess.run(
            [
                "ansible-playbook",
                *_as_converge(scenario_directory),
                *arguments,
                playbook or _playbook(),
            ],
            cwd=repository,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(repository / "ansible.cfg"),
                "ATLAS_CHANGES_FILE": str(report),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        changes = json.loads(report.read_text()) if report.exists() else []
        return Play(
            result.returncode == 0,
            result.stdout,
            {change["task"]: change["files"] for change in changes},
        )

    return run


@pytest.fixture
def repository(tmp_path):
    """A copy of this repository, as far as a play needs it, to change something in."""
    for part in PLAYED:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tmp_path / part, symlinks=True)
        else:
            shutil.copy(ROOT / part, tmp_path / part)
    return tmp_path


def _said(key: str) -> dict:
    """Return what molecule.yml, else the configuration all share, says of Ansible."""
    base = yaml.safe_load((ROOT / ".config/molecule/config.yml").read_text())["ansible"][key]
    own = yaml.safe_load((ROOT / "molecule" / SCENARIO / "molecule.yml").read_text()) or {}
    return base | own.get("ansible", {}).get(key, {})


def _playbook() -> str:
    """Return the playbook of `converge`, as seen from the repository."""
    path = (ROOT / "molecule" / SCENARIO / _said("playbooks")["converge"]).resolve()
    return str(path.relative_to(ROOT))


def _as_converge(directory: Path) -> list[str]:
    """Return the arguments of `converge`."""
    arguments = _said("executor")["args"]["ansible_playbook"]
    places = {"MOLECULE_PROJECT_DIRECTORY": ROOT, "MOLECULE_EPHEMERAL_DIRECTORY": directory}
    return [Template(argument).substitute({n: str(p) for n, p in places.items()}) for argument in arguments]


@pytest.fixture(scope="session")
def port():
    """Map a port of the machine to the one it is published at on 127.0.0.1."""
    return machine.published(engine.require(), f"atlas-test-{SCENARIO}").__getitem__


@pytest.fixture(scope="session")
def eventually():
    """Wait until a condition holds; fail when it does not in time."""

    def wait(condition, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds} s"
            time.sleep(0.3)

    return wait


@pytest.fixture
def web(host, port):
    """A client of the machine's web server that trusts its authority, and nothing else."""
    authority = ssl.create_default_context(cadata=host.file("/etc/atlas/certificate/ca.pem").content_string)
    with httpx2.Client(base_url=f"https://127.0.0.1:{port(443)}", verify=authority, timeout=30) as client:
        yield client


@pytest.fixture
def tunnel(scenario_directory):
    """A client of what listens on the loopback address of the machine at port 7444, through SSH."""
    with through_ssh(scenario_directory, 7444) as client:
        yield client


@pytest.fixture(scope="module")
def pages(host, scenario_directory):
    """A web server in the machine, with the bad pages of tests/app/webserver.py and what is in a folder.

    Takes the folder, returns the server's address.
    """
    started = []

    def serve(folder: Path | None = None) -> str:
        ssh = ["ssh", "-F", str(scenario_directory / "ssh" / "config"), "machine"]
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            tar.add(ROOT / "tests" / "app" / "webserver.py", "webserver.py")
            if folder:
                tar.add(folder, "pages")
        unpack = "mkdir -p /tmp/web/pages && tar -xzf - -C /tmp/web"
        subprocess.run([*ssh, unpack], input=archive.getvalue(), check=True)
        host.check_output(
            "sudo -n systemd-run --quiet --unit=pages python3 /tmp/web/webserver.py /tmp/web/pages 9000"
            " && for i in $(seq 50); do ss -Hltn | grep -q :9000 && exit; sleep 0.1; done; exit 1"
        )
        started.append("pages")
        return "http://127.0.0.1:9000"

    yield serve
    if started:
        # Of a machine that a test has replaced meanwhile there is nothing to stop.
        host.run("sudo -n systemctl stop pages; sudo -n systemctl reset-failed pages; rm -r /tmp/web")


@pytest.fixture(scope="module")
def birds(pages, tmp_path_factory):
    """A web server in the machine with articles on birds, each at /NAME.html; the last is in /feed.xml."""
    folder = tmp_path_factory.mktemp("birds")
    for name in BIRDS:
        (folder / f"{name}.html").write_text(article(name))
    (folder / "feed.xml").write_text(feed(f"/{BIRDS[-1]}.html"))
    return pages(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Print the machine's journal where a test failed: that is where the reason stands."""
    report = skips.fail_in_ci((yield))
    if report.failed and "host" in item.funcargs:
        try:
            said = item.funcargs["host"].run(JOURNAL).stdout
        except RuntimeError as error:  # the machine does not answer, which may be what failed
            said = str(error)
        report.sections.append(("the machine's journal", said))
    return report
