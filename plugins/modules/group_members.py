"""Keep exactly these users in a group."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: group_members
short_description: Keep exactly these users in a group
description:
  - Whoever is in the group and not in the list is taken out; their other groups stay as they are. (C(user)
    adds to groups, or sets all groups of a user; neither takes out who is no longer named.)
  - Users are not made. A name that is no user fails, with nothing changed.
  - Who has the group as his own (primary) one cannot be taken out of it, so that fails too.
  - In check mode a group, or a user, that is not there yet is one that would be.
options:
  name:
    description: The group.
    type: str
    required: true
  members:
    description: Names of users.
    type: list
    elements: str
    required: true
author: Atlas
attributes:
  check_mode: {support: full, description: Says who would come in and go out.}
  diff_mode: {support: full, description: Shows the members, one a line.}
"""

EXAMPLES = r"""
- name: Keep those who may come in in their group
  group_members:
    name: ssh-users
    members: [anna, ben]
"""

RETURN = r"""
added:
  description: Who was not in it.
  returned: success
  type: list
  elements: str
removed:
  description: Who was, and is no longer.
  returned: success
  type: list
  elements: str
"""

import grp
import pwd

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Read the parameters, do the work."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    name, wanted = module.params["name"], sorted(set(module.params["members"]))
    found, own = members(name)
    if strangers := sorted(own - set(wanted)):
        module.fail_json(
            msg=f"{name} is the own group of {', '.join(strangers)}, who would stay in it: give another with "
            f"`usermod --gid GROUP {strangers[0]}`, and run this again."
        )
    missing = [user for user in wanted if not is_user(user)]
    if missing and not module.check_mode:
        module.fail_json(msg=f"There is no user {', '.join(missing)} on this machine.")
    changed = found != wanted
    if changed and not module.check_mode:
        module.run_command(["gpasswd", "--members", ",".join(wanted), name], check_rc=True)
    module.exit_json(
        changed=changed,
        added=sorted(set(wanted) - set(found)),
        removed=sorted(set(found) - set(wanted)),
        diff={
            side: "".join(f"{user}\n" for user in users)
            for side, users in (("before", found), ("after", wanted))
        },
    )


def members(name: str) -> tuple[list[str], set[str]]:
    """Return who is in a group besides those whose own it is, and these."""
    try:
        group = grp.getgrnam(name)
    except KeyError:
        return [], set()
    return sorted(group.gr_mem), {user.pw_name for user in pwd.getpwall() if user.pw_gid == group.gr_gid}


def is_user(name: str) -> bool:
    """Say whether somebody is called so."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


if __name__ == "__main__":
    main()
