"""Check the variables of all roles of a play at once, before its first role changes anything.

Ansible checks a role's `meta/argument_specs.yml` when that role starts; by then the roles before it have
changed the machine. This action checks all of them on the controller, and two things Ansible does not check:
names that begin like a role's variables but are none (a slip of the pen that would otherwise do nothing), and
the conditions in `meta/conditions.yml` (a list of `that` and `message`).

Option: `roles`, the names of the roles.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

ROOT = Path(__file__).parents[2]


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action plugin Ansible loads by this name."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"roles"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        roles = self._task.args["roles"]
        problems = [*unknown_names(variables, ROOT)]
        for role in roles:
            found, given = self._wrong_values(role, variables)
            # A condition on a value that is wrong already would only say the same again, worse.
            problems += found or self._broken_conditions(role, {**variables, **given})
        if problems:
            listed = "\n".join(f"- {problem}" for problem in dict.fromkeys(problems))
            return result | {
                "failed": True,
                "msg": f"Nothing was changed. These variables are wrong:\n{listed}",
            }
        return result | {"changed": False, "msg": f"The variables of {', '.join(roles)} are right."}

    def _wrong_values(self, role: str, variables: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """Return what is wrong with a role's variables, and their values as the types they should have."""
        spec = specification(ROOT, role)
        given, wrong = {}, []
        for name in spec.keys() & variables.keys():
            try:
                given[name] = self._templar.template(variables[name])
            except AnsibleError as error:
                wrong.append(f"{role}: {name} cannot be worked out: {error}")
        checked = ArgumentSpecValidator(spec).validate(given)
        wrong += [f"{role}: {_without_secrets(message, spec, given)}" for message in checked.error_messages]
        return wrong, {name: checked.validated_parameters[name] for name in given}

    def _broken_conditions(self, role: str, variables: dict[str, Any]) -> list[str]:
        path = ROOT / "roles" / role / "meta" / "conditions.yml"
        templar = self._templar.copy_with_new_env(available_variables=variables)
        return [
            f"{role}: {condition['message']}"
            for condition in (yaml.safe_load(path.read_text()) if path.exists() else [])
            if not templar.evaluate_conditional(trust_as_template(condition["that"]))
        ]


def specification(root: Path, role: str) -> dict[str, Any]:
    """Return the options of a role's main entry point; a role without a specification takes none."""
    path = root / "roles" / role / "meta" / "argument_specs.yml"
    loaded = yaml.safe_load(path.read_text()) if path.exists() else {}
    return dict(loaded.get("argument_specs", {}).get("main", {}).get("options", {}))


def unknown_names(variables: dict[str, Any], root: Path) -> Iterator[str]:
    """Name each variable that begins like one of a role of ours and is none."""
    roles = [path.name for path in sorted((root / "roles").iterdir()) if path.is_dir()]
    known = {name for role in roles for name in specification(root, role)}
    for path in (root / "group_vars" / "all").glob("*.yml"):
        known |= (yaml.safe_load(path.read_text()) or {}).keys()
    for name in sorted(map(str, variables.keys() - known)):
        if name.startswith(tuple(f"{role}_" for role in roles)):
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is not a variable of Atlas" + (f"; did you mean {near[0]}?" if near else "")


def _without_secrets(message: str, spec: dict[str, Any], given: dict[str, Any]) -> str:
    for name, options in spec.items():
        if options.get("no_log") and name in given:
            for word in _words(given[name]):
                message = message.replace(word, "********")
    return message


def _words(value: Any) -> Iterator[str]:  # noqa: ANN401 - whatever the inventory holds
    if isinstance(value, dict):
        for one in value.values():
            yield from _words(one)
    elif isinstance(value, list):
        for one in value:
            yield from _words(one)
    elif value:
        yield str(value)
