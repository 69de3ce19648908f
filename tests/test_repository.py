"""Rules that hold for the whole repository, whoever wrote the file."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
GIT = ["git", "-c", "safe.directory=*"]
LISTED = subprocess.run(
    [*GIT, "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    check=True,
    capture_output=True,
    text=True,
).stdout.split("\n")
FILES = [ROOT / name for name in LISTED if name and (ROOT / name).is_file()]
TEXTS = [path for path in FILES if path.suffix not in {".png", ".ico", ".woff2", ".webp"}]
PINS = sorted((ROOT / "requirements").glob("*.txt"))


def lines_matching(pattern, paths):
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_no_package_registry_is_named():
    """Where packages come from is the machine's business: a mirror must do."""
    names = (r"py[p]i\.org", r"python[h]osted\.org", r"npm[j]s\.org", r"galaxy\.[a]nsible", r"docker\.[i]o")
    assert lines_matching("|".join((*names, r"gh[c]r\.io", r"qua[y]\.io")), TEXTS) == []


def test_no_path_of_somebodys_machine():
    assert lines_matching(r"(?<![\w.~}])/(?:[h]ome|[U]sers|[w]ork)/\w", TEXTS) == []


def test_nothing_is_left_to_do_and_no_failure_is_swallowed():
    left = r"\b(?:TO[D]O|FIX[M]E|XX[X])\b|\|\|\s*tru[e]\b|ignore_error[s]: true"
    assert lines_matching(left, TEXTS) == []


@pytest.mark.parametrize("pins", PINS, ids=lambda path: path.name)
def test_every_pin_has_a_version_and_hashes(pins):
    entries = re.split(r"\n(?=[A-Za-z0-9])", pins.read_text())
    assert entries
    unpinned = [
        entry.split("\n")[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry
    ]
    assert unpinned == []


@pytest.mark.parametrize("pins", PINS, ids=lambda path: path.name)
def test_every_requirement_is_pinned(pins):
    wanted = re.findall(r"^(\w[\w.-]*)", pins.with_suffix(".in").read_text(), re.MULTILINE)
    pinned = re.findall(r"^(\w[\w.-]*)", pins.read_text(), re.MULTILINE)
    names = [{re.sub(r"[-_.]+", "-", name).lower() for name in found} for found in (wanted, pinned)]
    assert names[0] <= names[1], "requirements/*.in is newer than *.txt: make pins"


def test_every_role_has_a_scenario():
    roles = {path.name for path in (ROOT / "roles").glob("*") if path.is_dir()}
    scenarios = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}
    # What is made in Oracle Cloud is made together.
    together = {role for role in roles if role.startswith("oci_")} if "ground" in scenarios else set()
    # Whoever measures is tried where there is something to be measured.
    together |= {"exporters", "prometheus", "no_monitoring"} if "eyes" in scenarios else set()
    # Backups are tried with all there is to lose.
    together |= {"backup"} if "memory" in scenarios else set()
    # What works on the operator's machine alone needs no container.
    ground = {path.stem.removeprefix("test_") for path in (ROOT / "tests/ground").glob("test_*.py")}
    assert roles - scenarios - together - ground == set()


def test_every_scenario_proves_something():
    for scenario in (ROOT / "molecule").glob("*/molecule.yml"):
        verifier = (yaml.safe_load(scenario.read_text()) or {}).get("verifier", {})
        tests = scenario.parent / verifier.get("directory", "tests")
        assert list(tests.glob("test_*.py")), scenario.parent.name


def test_what_roles_install_is_in_the_image_already():
    """Else every scenario and every `make up` would download it."""
    image = (ROOT / "scripts" / "image.py").read_text()
    wanted = set()
    for path in (ROOT / "roles").glob("*/vars/main.yml"):
        for name, packages in yaml.safe_load(path.read_text()).items():
            if name.endswith("_packages"):
                wanted |= set(re.findall(r"'([a-z0-9.+-]+)'", str(packages)))
    assert {package for package in wanted if f'"{package}"' not in image} == set()


@pytest.mark.parametrize(("places", "limit"), [("playbooks/*.yml", 50), ("roles/*/tasks/*.yml", 60)])
def test_playbooks_and_task_files_stay_short(places, limit):
    """A line a role is no length: a playbook may have as many roles as there are systems."""
    lengths = {
        str(path.relative_to(ROOT)): sum("- {role: " not in line for line in path.read_text().splitlines())
        for path in ROOT.glob(places)
    }
    assert {name: length for name, length in lengths.items() if length > limit} == {}


def test_shell_scripts_stop_at_the_first_error():
    scripts = [path for path in TEXTS if path.read_text(errors="replace").startswith("#!/usr/bin/env bash")]
    careless = [path.name for path in scripts if "set -euo pipefail" not in path.read_text()]
    assert careless == []


def test_every_verb_says_what_it_does():
    makefile = (ROOT / "Makefile").read_text()
    verbs = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    described = re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)
    assert sorted(verbs) == sorted(described)


def test_links_between_documents_lead_somewhere():
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in FILES
        if page.suffix == ".md"
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_no_role_is_played_twice():
    roles = re.findall(r"- \{role: (\w+),", (ROOT / "playbooks/configure.yml").read_text())
    assert len(roles) > 10
    assert sorted(roles) == sorted(set(roles))


def test_hosts_a_play_leaves_alone_it_leaves_alone_whatever_tags_are_asked_for():
    """Its checks run always, and know nothing of them."""
    for path in (ROOT / "playbooks").glob("*.yml"):
        for play in yaml.safe_load(path.read_text()):
            for task in play.get("pre_tasks", []):
                if task.get("ansible.builtin.meta") == "end_host":
                    assert task.get("tags") == "always", f"{path.name}: {task['name']}"
