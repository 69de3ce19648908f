"""Install a tree of files as one transaction; the half of `install_tree` that runs on the controller.

It reads the tree, renders its templates and hands everything to the module in one call. The options are
documented in the module.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import os
import re
import shlex
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

LEAVINGS = ("__pycache__", "*.pyc", ".DS_Store")
RENDERING = {"trim_blocks": True, "lstrip_blocks": True}
#: How long after the time of a trial the machine is given to take it back.
GRACE_SECONDS = 10
#: How long after the first try to get in the second is made: a server that was being restarted listens again.
SECOND_TRY_SECONDS = 5

TAKEN_BACK = "Nobody could get in any more, so everything was put back as it was."
LOST = (
    "Nobody gets in any more, and {seconds} s later, by when the machine should have put everything back by "
    "itself, still not. Look at its console: `systemctl status {unit}.timer {unit}.service`."
)
# Of a run that does not come by SSH: whether somebody gets in by SSH, it cannot try.
UNTRIED = (
    "Whether somebody still gets in was not tried: this run does not come by SSH ({connection}). The change "
    "of {name} was kept all the same, as {why}. Come in by SSH before you leave the way you came."
)
WHY_KEPT = {
    "answers": "the SSH server still answers on the machine itself",
    "untried": "no SSH server answers on the machine itself, and none did before",
}
MUTE = "The SSH server answered on the machine itself before the change, and does not any more."

ATTRIBUTES: dict[str, Any] = {
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str"},
}
OPTIONS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "src": {"type": "list", "elements": "raw", "default": ["tree"]},
    "dest": {"type": "path", "default": "/"},
    "directory_mode": {"type": "str", "default": "0755"},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "pattern": {"type": "str", "required": True},
            "secret": {"type": "bool", "default": False},
            **ATTRIBUTES,
        },
    },
    "directories": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "str", "required": True}, **ATTRIBUTES},
    },
    "absent": {"type": "list", "elements": "str", "default": []},
    "exclusive": {"type": "list", "elements": "str", "default": []},
    "validate": {"type": "list", "elements": "raw", "default": []},
    "journal": {"type": "path", "default": "/var/lib/install_tree"},
    "trial": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "seconds": {"type": "int", "default": 45},
            "apply": {"type": "list", "elements": "raw", "required": True},
            "holds": {"type": "list", "elements": "raw", "default": []},
            "restore": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"save": {"type": "raw"}, "load": {"type": "raw", "required": True}},
            },
            "before": {"type": "list", "elements": "str", "default": []},
            "hint": {"type": "str", "default": ""},
        },
    },
    **ATTRIBUTES,
}


class Source(NamedTuple):
    """A file on the controller that belongs into the tree, and the element of `src` it was found by."""

    file: Path
    root: Path
    rendered: bool


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action plugin Ansible loads by this name."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=OPTIONS)
        dest = os.path.normpath(options["dest"])
        absent = [_below(dest, path) for path in options["absent"]]
        exclusive = [_below(dest, path) for path in options["exclusive"]]
        sources = self._sources(options["src"], dest)
        if options["state"] == "absent":
            absent += sources
        else:
            _all_used(options["files"], [_name(path, dest) for path in sources])
        for path in absent:
            sources.pop(path, None)
        contents = self._contents(sources, task_vars or {})
        arguments = {
            "dest": dest,
            "entries": [
                _entry(path, source, contents[path], dest, options) for path, source in sources.items()
            ],
            "payload": base64.b64encode(zlib.compress(b"".join(contents.values()))).decode(),
            "directories": _directories(list(sources), exclusive, dest, options),
            "absent": absent,
            "exclusive": exclusive,
            "validate": [_words(command) for command in options["validate"]],
            "trial": _trial(options["trial"]),
            **{name: options[name] for name in ("owner", "group", "directory_mode", "journal")},
        }
        result.update(
            self._execute_module(module_name="install_tree", module_args=arguments, task_vars=task_vars)
        )
        if result.get("trial") == "open":
            journal = f"{options['journal']}/{options['trial']['name']}"
            result.update(self._settle(options["trial"], journal, result["client"], task_vars))
        return result

    def _settle(
        self, trial: dict[str, Any], journal: str, client: str, task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Keep what is on trial if a new connection gets in; else wait until it is taken back, and say so.

        Three tries, no more: whoever is refused again and again is banned, by fail2ban and by OpenSSH itself.
        """
        with contextlib.suppress(KeyError, AnsibleError):  # how often it is tried is decided here
            self._connection.set_option("reconnection_retries", 0)
        began, words = time.monotonic(), LOST.format(seconds=GRACE_SECONDS, unit=f"trial-{trial['name']}")
        state, last = "", ""
        for seconds in _tries(trial["seconds"]):
            time.sleep(max(0, began + seconds - time.monotonic()))
            state, said = self._keep(journal, task_vars)
            if state == "kept":
                return {"trial": "kept"}
            if state in WHY_KEPT:
                words = UNTRIED.format(
                    connection=self._play_context.connection, name=trial["name"], why=WHY_KEPT[state]
                )
                return {"trial": "kept", "warnings": [words]}
            if state == "gone":
                words = TAKEN_BACK
                break
            last = said
        hint = trial["hint"].replace("{client}", client or "where you are")
        return {"failed": True, "trial": state, "msg": "\n".join(filter(None, [words, hint, last]))}

    def _keep(self, journal: str, task_vars: dict[str, Any] | None) -> tuple[str, str]:
        """Ask the machine through a new connection to keep it; return what became of it and what was said."""
        try:
            if hasattr(self._connection, "reset"):
                self._connection.reset()
            answer = self._execute_module(
                module_name="trial", module_args={"journal": journal}, task_vars=task_vars
            )
        except AnsibleConnectionFailure as error:
            return "unreachable", str(error)
        if answer.get("state") == "stale":
            return "stale", (
                "SSH makes no new connection but goes on with an old one: is there a ControlMaster in your "
                "own SSH configuration?"
            )
        if answer.get("state") == "mute":
            return "mute", MUTE
        return str(answer.get("state", "failed")), str(answer.get("msg") or answer.get("module_stdout") or "")

    def _sources(self, places: list[Any], dest: str) -> dict[str, Source]:
        """Map each destination to the file on the controller and whether it is rendered."""
        sources: dict[str, Source] = {}
        for place in places:
            given = place if isinstance(place, dict) else {"path": place}
            if not isinstance(given.get("path"), str) or not given.keys() <= {"path", "to", "render"}:
                raise AnsibleActionFail(
                    f"install_tree: an element of src has path, to and render, not {place!r}"
                )
            root = Path(self._find_needle("", given["path"]))
            render = boolean(given.get("render", True))
            for file in _files(root):
                if root.is_dir():
                    name = os.path.join(given.get("to", ""), file.relative_to(root))
                else:
                    name = given.get("to", root.name)
                rendered = render and name.endswith(".j2")
                sources[_below(dest, name.removesuffix(".j2") if rendered else name)] = Source(
                    file, root, rendered
                )
        return sources

    def _contents(self, sources: dict[str, Source], task_vars: dict[str, Any]) -> dict[str, bytes]:
        variables = task_vars.copy()
        # What templates of a tree share stands in templates/ beside it.
        places = sorted({str(source.root.parent / "templates") for source in sources.values()})
        templar = self._templar.copy_with_new_env(searchpath=places, available_variables=variables)
        contents: dict[str, bytes] = {}
        for path, (file, _, rendered) in sources.items():
            if not rendered:
                contents[path] = file.read_bytes()
                continue
            shown = _shown(file)
            variables.update(
                ansible_managed=task_vars.get(
                    "ansible_managed", f"Managed by Ansible: change {shown}, not this file."
                ),
                template_path=shown,
                template_fullpath=str(file),
                template_destpath=path,
            )
            try:
                text = templar.template(
                    trust_as_template(file.read_text()), escape_backslashes=False, overrides=RENDERING
                )
            except AnsibleError as error:
                raise AnsibleActionFail(f"{shown} cannot be rendered: {error}") from error
            if not isinstance(text, str):
                raise AnsibleActionFail(
                    f"{shown} renders to a {type(text).__name__}, not to text: add a filter (to_nice_json)"
                )
            contents[path] = text.encode()
        return contents


def _tries(trial_seconds: int) -> list[int]:
    """List when a new connection is tried: at once, once more, and when all must have been taken back."""
    return [0, min(SECOND_TRY_SECONDS, trial_seconds // 2), trial_seconds + GRACE_SECONDS]


def _files(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not _leaving(name))
        for name in sorted(files):
            if not _leaving(name):
                yield Path(directory, name)


def _leaving(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in LEAVINGS)


def _below(dest: str, path: str) -> str:
    """Join and normalise; the module refuses what ends up outside."""
    return os.path.normpath(os.path.join(dest, path))


def _shown(file: Path) -> str:
    """Say where the file is in the repository: the reader of the installed file will look there."""
    parts = file.parts
    return "/".join(parts[len(parts) - 1 - parts[::-1].index("roles") :]) if "roles" in parts else file.name


def _name(path: str, dest: str) -> str:
    """Name a path as patterns see it."""
    return os.path.relpath(path, dest)


def _matches(special: dict[str, Any], name: str) -> bool:
    return fnmatch.fnmatchcase(name, special["pattern"].lstrip("/"))


def _all_used(specials: list[dict[str, Any]], names: list[str]) -> None:
    """Refuse a pattern without a file: a slip of the pen that would leave a secret readable."""
    for special in specials:
        if not any(_matches(special, name) for name in names):
            raise AnsibleActionFail(f"install_tree: no file of the tree matches {special['pattern']!r}")


def _entry(path: str, source: Source, content: bytes, dest: str, options: dict[str, Any]) -> dict[str, Any]:
    executable = os.access(source.file, os.X_OK)
    attributes = {
        "owner": options["owner"],
        "group": options["group"],
        "mode": options["mode"] or ("0755" if executable else "0644"),
        "secret": False,
    }
    for special in options["files"]:
        if _matches(special, _name(path, dest)):
            attributes.update({name: special[name] for name in attributes if special[name] is not None})
    return {"path": path, "size": len(content), **attributes, "mode": _mode(attributes["mode"])}


def _directories(
    files: list[str], exclusive: list[str], dest: str, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """List the directories asked for, and all in an exclusive one: there everything is as the tree says."""
    paths = set(exclusive)
    for file in files:
        for parent in map(str, Path(file).parents):
            if any(parent.startswith(f"{directory}/") for directory in exclusive):
                paths.add(parent)
    plain = {"owner": options["owner"], "group": options["group"], "mode": options["directory_mode"]}
    directories = {path: dict(plain) for path in sorted(paths)}
    for listed in options["directories"]:
        path = _below(dest, listed["path"])
        directories[path] = {name: listed[name] or plain[name] for name in plain}
    return [
        {"path": path, **attributes, "mode": _mode(attributes["mode"])}
        for path, attributes in directories.items()
    ]


def _mode(mode: str) -> str:
    if not re.fullmatch(r"[0-7]{3,4}", mode):
        raise AnsibleActionFail(
            f"install_tree: a mode is four octal digits in quotes, such as '0644', not {mode!r}"
        )
    return mode


def _trial(options: dict[str, Any] | None) -> dict[str, Any] | None:
    if options is None:
        return None
    if not re.fullmatch(r"[a-z][a-z-]*", options["name"]):
        raise AnsibleActionFail(f"install_tree: {options['name']!r} is no name for a trial: a-z and dashes")
    return {
        **{name: options[name] for name in ("name", "seconds", "before")},
        **{name: [_words(command) for command in options[name]] for name in ("apply", "holds")},
        "restore": [
            {"load": _words(one["load"]), "save": _words(one["save"]) if one["save"] else []}
            for one in options["restore"]
        ],
    }


def _words(command: str | list[Any]) -> list[str]:
    words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    if not words:
        raise AnsibleActionFail("install_tree: an element of validate is empty")
    return words
