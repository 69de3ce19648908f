"""What the roles of monitoring bring, role no_monitoring takes away: all of it, and nobody else's."""

import re
from pathlib import Path

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

ROLES = Path(__file__).parents[2] / "roles"
ROLE = ROLES / "no_monitoring"
MONITORING = sorted(
    re.findall(
        r"role: (\w+),.* when: monitoring_enabled \| bool\}",
        (ROLES.parent / "playbooks/configure.yml").read_text(),
    )
)
#: Directories of a role whose files stay on the controller.
ANSIBLES = {"defaults", "files", "handlers", "meta", "tasks", "templates", "vars"}
TREES = sorted(
    path
    for name in MONITORING
    for path in (ROLES / name).iterdir()
    if path.is_dir() and path.name not in ANSIBLES
)


def load(path):
    return yaml.safe_load(path.read_text())


def tasks(path):
    """Return the tasks of a file, those of its blocks among them."""
    for task in load(path):
        yield from task.get("block", [task])


@pytest.fixture
def given():
    return load(ROLE / "vars/main.yml")


def test_it_is_played_where_monitoring_is_not():
    play = (ROLES.parent / "playbooks/configure.yml").read_text()
    assert len(MONITORING) == 4
    last = play.index(f"role: {MONITORING[-1]},")
    assert play.index("role: no_monitoring, tags: no_monitoring, when: not monitoring_enabled | bool") > last


def test_every_unit_they_keep_running_is_stopped(given):
    kept = set()
    for name in MONITORING:
        for task in (one for path in (ROLES / name / "tasks").glob("*.yml") for one in tasks(path)):
            units = task.get("keep_running", {}).get("units", [])
            if isinstance(units, str):
                (variable,) = re.findall(r"\w+", units)
                template = NativeEnvironment().from_string(load(ROLES / name / "vars/main.yml")[variable])
                units = template.render(__exporters_postgresql=True)
            kept |= set(units)
    assert set(given["__no_monitoring_units"]) == kept - {"nginx.service"}


def test_every_unit_they_bring_is_stopped_itself_or_with_its_socket(given):
    brought = {
        path.name.removesuffix(".j2")
        for tree in TREES
        for path in tree.glob("etc/systemd/system/*")
        if path.is_file()
    }
    assert {"atlas-alerts.service", "atlas-alerts.socket"} <= brought
    stopped = set(given["__no_monitoring_units"])
    assert {
        name for name in brought if {name, f"{name.rpartition('.')[0]}.socket"} & stopped == set()
    } == set()


def test_where_they_were_one_of_their_checks_is(given):
    """Each brings one by its own name; of a machine that has none of them nothing is taken."""
    (look,) = (task for task in tasks(ROLE / "tasks/main.yml") if "ansible.builtin.find" in task)
    assert look["ansible.builtin.find"]["paths"] == "/etc/atlas/health.d"
    for name in MONITORING:
        assert f"{name}.json" in look["ansible.builtin.find"]["patterns"]
        assert [path for tree in TREES for path in tree.glob(f"etc/atlas/health.d/{name}.json*")], name
    everything = load(ROLE / "tasks/main.yml")
    outside = [name for task in everything for name in task if name in {"install_tree", "keep_running"}]
    assert outside == ["keep_running"]
    assert everything[-1]["keep_running"] == {"units": ["nginx.service"], "rereads": ["/etc/nginx"]}


@pytest.mark.slow
def test_every_file_of_theirs_goes_and_no_other(given, run_play, tmp_path):
    machine = tmp_path / "machine"
    names = {
        str(path.relative_to(tree)).removesuffix(".j2")
        for tree in TREES
        for path in tree.rglob("*")
        if path.is_file()
    }
    theirs = {
        "etc/prometheus/rules.d/mine.yml",
        "etc/prometheus/rules.d/atlas.yml",
        "var/lib/prometheus/data",
    }
    for name in names | theirs:
        (machine / name).parent.mkdir(parents=True, exist_ok=True)
        (machine / name).write_text("")
    (remove,) = (task for task in tasks(ROLE / "tasks/main.yml") if "install_tree" in task)
    remove["install_tree"] |= {"dest": str(machine), "journal": str(tmp_path / "journal"), "validate": []}
    # In its place, as the role's own paths are relative to it.
    place = tmp_path / "roles/no_monitoring/tasks/main.yml"
    place.parent.mkdir(parents=True)
    place.write_text(yaml.safe_dump([remove]))
    for name in MONITORING:
        (tmp_path / "roles" / name).symlink_to(ROLES / name)
    run_play(
        tmp_path, {"hosts": "all", "gather_facts": False, "vars": given, "roles": [str(place.parents[1])]}
    )
    assert {str(path.relative_to(machine)) for path in machine.rglob("*") if path.is_file()} == theirs
