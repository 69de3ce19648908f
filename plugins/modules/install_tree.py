"""Install a tree of files as one transaction; the half of `install_tree` that runs on the machine."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: install_tree
short_description: Install a tree of files, all of them or none
description:
  - Files stand in a role as they will stand on the machine, C(roles/nginx/tree/etc/nginx/nginx.conf.j2).
    This renders the templates (C(*.j2), the suffix is dropped) on the controller, sends the whole tree in one
    round trip, and changes what differs in content, owner, group or mode.
  - It is one transaction. Every file is written beside its place and renamed into it. When a command of
    O(validate) fails, every path is put back as it was (content, owner, mode, absence, symbolic links) and
    the task fails with the command's words. What was there before is kept in a journal while the transaction
    is open, so a run killed half way is taken back by the next one.
  - A symbolic link at a destination is replaced, not followed. C(__pycache__) and C(*.pyc) are neither sent
    nor removed.
  - Supports check mode (nothing is written or run) and diff mode.
options:
  state:
    description: V(absent) is for a tree that is not wanted any more. Each of its files is what must not be
      there, as if listed in O(absent); no template is rendered, O(files) says nothing, directories stay.
    type: str
    choices: [present, absent]
    default: present
  src:
    description:
      - Where the tree is on the controller. The role's C(tree) directory by default. A list joins several; a
        later one wins.
      - An element is a directory or file, or a dictionary with C(path), C(to) (where the directory's contents
        go below O(dest), or what the file is called there) and C(render) (V(false) leaves C(*.j2) alone).
      - A relative path is looked for in the role, then beside the playbook.
    type: list
    elements: raw
  dest:
    description: The directory the tree belongs into. Nothing outside is touched.
    type: path
    default: /
  owner:
    description: Owner of files, and of directories that are made. By default who runs the module (root).
    type: str
  group:
    description: Group of files, and of directories that are made. By default who runs the module.
    type: str
  mode:
    description: Mode of files. By default V(0755) for one that is executable on the controller, else V(0644).
    type: str
  directory_mode:
    description: Mode of directories that are made. Directories that are there are left as they are, unless
      listed in O(directories) or inside O(exclusive).
    type: str
    default: "0755"
  files:
    description: What differs for some files. All elements that match a file apply, in order. C(*) also
      matches C(/). An element that matches no file is an error.
    type: list
    elements: dict
    default: []
    suboptions:
      pattern:
        description: Shell pattern of the path below O(dest).
        type: str
        required: true
      owner:
        description: As O(owner).
        type: str
      group:
        description: As O(group).
        type: str
      mode:
        description: As O(mode).
        type: str
      secret:
        description: Keep the content out of the diff.
        type: bool
        default: false
  directories:
    description: Directories that must be there with this owner, group and mode.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The directory.
        type: str
        required: true
      owner:
        description: As O(owner).
        type: str
      group:
        description: As O(group).
        type: str
      mode:
        description: O(directory_mode) by default.
        type: str
  absent:
    description: Paths that must not be there; directories go with all they hold. A file of the tree that is
      listed here is not installed.
    type: list
    elements: str
    default: []
  exclusive:
    description: Directories in which everything is as the tree says; what is not of it is removed.
    type: list
    elements: str
    default: []
  validate:
    description: Commands to run when something was changed. An element is a list of words, or a string that
      is split as a shell would.
    type: list
    elements: raw
    default: []
  trial:
    description:
      - For what decides who gets in. Once the files are there and O(trial.apply) has run, a new connection is
        made; only if it gets in, the transaction is closed. If not, the machine itself puts everything back
        after O(trial.seconds), even if the controller is gone or the machine was restarted, and the task
        fails. A connection is tried three times at most, lest whoever runs this be banned. All of it happens
        only when a file differs, or O(trial.holds) says what does not hold.
      - Where Ansible does not come by SSH (local, into a container), no new connection proves anything. If
        the SSH server answered on the machine itself before, it must still do so; and a warning says what was
        not tried.
      - In check mode O(trial.holds) is asked, too.
    type: dict
    suboptions:
      name:
        description: Name of the trial, of small letters and dashes; its timer is C(trial-NAME.timer).
        type: str
        required: true
      seconds:
        description: After this time everything is taken back.
        type: int
        default: 45
      apply:
        description: Commands that make the files hold.
        type: list
        elements: raw
        required: true
      holds:
        description: Commands that fail when what is in force is not what the files say, and say what is not.
        type: list
        elements: raw
        default: []
      restore:
        description: What is to be done to take it back once the files are as before, in reverse order.
        type: list
        elements: dict
        default: []
        suboptions:
          save:
            description: Command that is run before anything changes; it prints how things are.
            type: raw
          load:
            description: Command that gets that on its standard input; nothing where the other failed.
            type: raw
            required: true
      before:
        description: Units that start with these files, so at a boot not before they were put back.
        type: list
        elements: str
        default: []
      hint:
        description: What to look at when nobody gets in. C({client}) is replaced by the address that the
          controller comes from, as the machine sees it.
        type: str
        default: ""
  journal:
    description: Where the open transaction is kept on the machine.
    type: path
    default: /var/lib/install_tree
author: Atlas
attributes:
  check_mode: {support: full, description: Says what would change.}
  diff_mode: {support: full, description: Shows content that is not secret.}
"""

EXAMPLES = r"""
- name: Install the configuration of nginx
  install_tree:
    files:
      - {pattern: etc/nginx/htpasswd, group: www-data, mode: "0640", secret: true}
    exclusive: [etc/nginx/sites-enabled]
    validate: [nginx -t]
  notify: Reload nginx

- name: Take it away again
  install_tree:
    state: absent
"""

RETURN = r"""
changed_files:
  description: Paths that were written, changed or removed.
  returned: always
  type: list
  elements: str
  sample: [/etc/nginx/nginx.conf]
recovered_files:
  description: Paths put back first because an earlier run was killed half way.
  returned: always
  type: list
  elements: str
drifted:
  description: What did not hold, although no file differed.
  returned: with O(trial)
  type: str
trial:
  description: What became of the trial, V(kept) or V(none) when there was nothing to try.
  returned: with O(trial)
  type: str
"""

import base64
import zlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.file_tree import Change, Tree, TreeError, Wanted, diffs, install
from ansible.module_utils.trial import Restore, Trial, begin, came_in


def main() -> None:
    """Unpack what the action plugin sent and install it."""
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "str", "required": True},
            "entries": {"type": "list", "elements": "dict", "required": True},
            "payload": {"type": "str", "required": True, "no_log": True},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "directory_mode": {"type": "str", "required": True},
            "directories": {"type": "list", "elements": "dict", "required": True},
            "absent": {"type": "list", "elements": "str", "required": True},
            "exclusive": {"type": "list", "elements": "str", "required": True},
            "validate": {"type": "list", "elements": "list", "required": True},
            "journal": {"type": "str", "required": True},
            "trial": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    try:
        (_try if module.params["trial"] else _install)(module, tree_of(module.params))
    except (TreeError, OSError) as error:
        module.fail_json(msg=str(error))


def _install(module: AnsibleModule, tree: Tree) -> None:
    result = install(
        tree,
        journal=module.params["journal"],
        validate=module.params["validate"],
        check=module.check_mode,
    )
    module.exit_json(
        changed=bool(result.changes or result.recovered),
        recovered_files=result.recovered,
        **_shown(module, result.changes),
    )


def _try(module: AnsibleModule, tree: Tree) -> None:
    options = dict(module.params["trial"])
    options["restore"] = [Restore(**restore) for restore in options["restore"]]
    trial = Trial(**options)
    _, client = came_in()
    outcome = begin(
        tree,
        trial,
        journal=f"{module.params['journal']}/{trial.name}",
        validate=module.params["validate"],
        check=module.check_mode,
        client=client,
    )
    module.exit_json(
        changed=outcome.changed,
        recovered_files=outcome.result.recovered,
        drifted=outcome.drifted,
        trial="open" if outcome.opened else "none",
        client=client,
        **_shown(module, outcome.result.changes),
    )


def _shown(module: AnsibleModule, changes: list[Change]) -> dict[str, Any]:
    return {
        "changed_files": [change.path for change in changes],
        "diff": diffs(changes) if module._diff else [],
    }


def tree_of(params: dict[str, Any]) -> Tree:
    """Build the tree; `payload` is the contents of all entries: joined, compressed, in base64."""
    contents = zlib.decompress(base64.b64decode(params["payload"]))
    files = []
    start = 0
    for entry in params["entries"]:
        end = start + int(entry["size"])
        files.append(
            Wanted(
                path=entry["path"],
                mode=int(entry["mode"], 8),
                owner=entry["owner"],
                group=entry["group"],
                content=contents[start:end],
                secret=entry["secret"],
            )
        )
        start = end
    directories = [
        Wanted(path=entry["path"], mode=int(entry["mode"], 8), owner=entry["owner"], group=entry["group"])
        for entry in params["directories"]
    ]
    return Tree(
        dest=params["dest"],
        files=files,
        directories=directories,
        absent=params["absent"],
        exclusive=params["exclusive"],
        directory_mode=int(params["directory_mode"], 8),
        owner=params["owner"],
        group=params["group"],
    )


if __name__ == "__main__":
    main()
