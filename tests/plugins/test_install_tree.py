"""install_tree as a play uses it: a real ansible-playbook against this machine, in a temporary directory."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


CONFIG = f"""
[defaults]
roles_path = roles
action_plugins = {ROOT}/plugins/action
library = {ROOT}/plugins/modules
module_utils = {ROOT}/plugins/module_utils
local_tmp = tmp
remote_tmp = tmp
[connection]
pipelining = true
"""


class Role:
    """A role with a tree, and a play that installs it below `dest`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.dest = home / "dest"
        self.options: dict = {}
        self.vars: dict = {"web_port": 80}
        (home / "ansible.cfg").write_text(CONFIG)
        self.yaml(
            "roles/web/handlers/main.yml", [{"name": "Reload", "ansible.builtin.debug": {"msg": "RELOADED"}}]
        )

    def yaml(self, name: str, content: object) -> None:
        (self.home / name).parent.mkdir(parents=True, exist_ok=True)
        (self.home / name).write_text(yaml.safe_dump(content))

    def write(self, name: str, content: str | bytes, mode: int = 0o644) -> None:
        path = self.home / "roles/web/tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)

    def play(self, *arguments: str) -> tuple[dict, str]:
        """Run it; returns the task's result and all that was printed."""
        results, printed = self.play_each([self.options], *arguments)
        return results[0], printed

    def play_each(self, tries: list[dict], *arguments: str) -> tuple[list[dict], str]:
        """Run one task for each set of options, whatever becomes of the others."""
        where = {"dest": str(self.dest), "journal": str(self.home / "journal")}
        tasks = [
            {
                "name": "Install",
                "install_tree": {**where, **options},
                "register": f"try_{number}",
                "notify": "Reload",
                "ignore_errors": True,
            }
            for number, options in enumerate(tries)
        ]
        registers = ", ".join(f"try_{number}" for number in range(len(tries)))
        keep = {
            "name": "Keep the results",
            "ansible.builtin.copy": {
                "content": "{{ [" + registers + "] | to_json }}",
                "dest": str(self.home / "results.json"),
            },
            "check_mode": False,
            "no_log": True,
        }
        self.yaml("roles/web/tasks/main.yml", tasks)
        play = {
            "hosts": "all",
            "gather_facts": False,
            "vars": self.vars,
            "roles": ["web"],
            "post_tasks": [keep],
        }
        self.yaml("play.yml", [play])
        printed = self.ansible_playbook("play.yml", *arguments)
        return json.loads((self.home / "results.json").read_text()), printed

    def ansible_playbook(self, *arguments: str) -> str:
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"),
            *arguments,
        ]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command,
            cwd=self.home,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture
def role(tmp_path):
    return Role(tmp_path)


def test_a_tree_from_nothing_to_no_change(role):
    role.write(
        "etc/web/web.conf.j2",
        "# {{ ansible_managed }}\nlisten {{ web_port }}\n{% if true %}\nyes\n{% endif %}\n\n",
    )
    role.write("etc/web/data.json.j2", '{{ {"port": web_port} | to_nice_json }}\n')
    role.write("usr/bin/web", "#!/bin/sh\n", mode=0o755)
    role.write("etc/web/logo.png", bytes(range(256)))
    role.write("etc/web/raw.txt", "{{ not rendered }}\n")
    role.write("etc/web/__pycache__/x.pyc", b"x")
    role.options = {"exclusive": ["etc/web"], "directories": [{"path": "var/web", "mode": "0750"}]}

    checked, _ = role.play("--check")
    assert checked["changed"]
    assert not role.dest.exists()

    (result, again), printed = role.play_each([role.options, role.options])
    assert not again["changed"]
    names = {
        str(Path(path).relative_to(role.dest)) for path in result["changed_files"] if path != str(role.dest)
    }
    assert {"etc/web/web.conf", "usr/bin/web", "var/web"} <= names
    assert "RELOADED" in printed
    assert (role.dest / "etc/web/web.conf").read_text() == (
        "# Managed by Ansible: change roles/web/tree/etc/web/web.conf.j2, not this file.\nlisten 80\nyes\n\n"
    )
    assert json.loads((role.dest / "etc/web/data.json").read_text()) == {"port": 80}
    assert (role.dest / "etc/web/logo.png").read_bytes() == bytes(range(256))
    assert (role.dest / "etc/web/raw.txt").read_text() == "{{ not rendered }}\n"
    assert not (role.dest / "etc/web/__pycache__").exists()
    assert stat.S_IMODE((role.dest / "usr/bin/web").stat().st_mode) == 0o755
    assert stat.S_IMODE((role.dest / "var/web").stat().st_mode) == 0o750

    (role.dest / "etc/web/stranger").write_text("")
    checked, printed = role.play("--check", "--diff")
    assert checked["changed_files"] == [str(role.dest / "etc/web/stranger")]
    assert (role.dest / "etc/web/stranger").exists()


def test_a_refused_tree_fails_with_the_checkers_words_and_changes_nothing(role):
    role.write("web.conf.j2", "listen {{ web_port }}\n")
    role.play()
    role.vars["web_port"] = "nonsense"
    role.write("another", "x")
    role.options["validate"] = [f"sh -c '! grep -Hn nonsense {role.dest}/web.conf'"]
    result, printed = role.play()
    assert result["failed"]
    assert "refused the new files" in result["msg"]
    assert "web.conf:1:listen nonsense" in result["msg"]
    assert "RELOADED" not in printed
    assert (role.dest / "web.conf").read_text() == "listen 80\n"
    assert not (role.dest / "another").exists()


def test_a_secret_is_nowhere_in_what_is_printed(role):
    role.vars["password"] = "correct-horse"
    role.write("password.j2", "{{ password }}\n")
    role.write("plain.j2", "port {{ web_port }}\n")
    role.options["files"] = [{"pattern": "password", "mode": "0600", "secret": True}]
    _, printed = role.play("--diff", "-vvv")
    assert "correct-horse" not in printed
    assert "port 80" in printed
    assert (role.dest / "password").read_text() == "correct-horse\n"
    assert stat.S_IMODE((role.dest / "password").stat().st_mode) == 0o600


def test_several_sources_and_what_is_listed_as_absent(role):
    role.write("one", "1")
    role.write("two", "2")
    source = role.home / "source"
    (source / "pkg").mkdir(parents=True)
    (source / "pkg/page.html.j2").write_text("{{ left alone }}")
    (role.home / "pins-0.txt").write_text("pins")
    role.options = {
        "src": [
            "tree",
            {"path": str(source), "to": "app", "render": False},
            {"path": str(role.home / "pins-0.txt"), "to": "app/pins.txt"},
        ],
        "absent": ["two"],
    }
    role.play()
    files = {str(path.relative_to(role.dest)) for path in role.dest.rglob("*") if path.is_file()}
    assert files == {"one", "app/pkg/page.html.j2", "app/pins.txt"}


def test_a_tree_that_is_not_wanted_any_more(role):
    role.write("etc/web.conf.j2", "listen {{ web_port }}\n")
    role.write("usr/bin/web", "#!/bin/sh\n", mode=0o755)
    role.play()
    for name in ("older", "theirs"):
        (role.dest / "etc" / name).write_text("")
    # Whatever its templates and patterns need, nobody says any more.
    role.write("etc/web.conf.j2", "listen {{ nobody_says }}\n")
    gone = {"state": "absent", "absent": ["etc/older"], "files": [{"pattern": "etc/cert", "mode": "0600"}]}
    refused = {**gone, "validate": [f"test -e {role.dest}/usr/bin/web"]}
    (kept, result, again), _ = role.play_each([refused, gone, gone])
    assert "every file was put back" in kept["msg"]
    assert {str(Path(path).relative_to(role.dest)) for path in result["changed_files"]} == {
        "etc/older",
        "etc/web.conf",
        "usr/bin/web",
    }
    assert not again["changed"]
    assert [path for path in role.dest.rglob("*") if path.is_file()] == [role.dest / "etc/theirs"]


def test_slips_of_the_pen(role):
    slips = {
        "no file of the tree matches 'tpyo'": {"files": [{"pattern": "tpyo", "mode": "0600"}]},
        "four octal digits": {"mode": "rw"},
        "is not below": {"absent": ["../outside"]},
        "Unsupported parameters": {"source": "x"},
        "path, to and render": {"src": [{"path": "tree", "ot": "x"}]},
    }
    role.write("one", "1")
    results, _ = role.play_each(list(slips.values()))
    for message, result in zip(slips, results, strict=True):
        assert message in result["msg"]
    assert not role.dest.exists()


def test_an_undefined_variable_names_the_template(role):
    role.write("etc/web.conf.j2", "{{ prot }}\n")
    result, _ = role.play()
    assert "roles/web/tree/etc/web.conf.j2 cannot be rendered" in result["msg"]
    assert "prot" in result["msg"]
