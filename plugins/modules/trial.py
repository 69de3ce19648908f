"""End what install_tree has put on trial."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: trial
short_description: Keep what install_tree has put on trial
description:
  - Called by M(install_tree) itself, through a connection that is made after the change. An older connection
    cannot keep it, as it proves nothing.
options:
  journal:
    description: Where the trial is kept on the machine.
    type: path
    required: true
author: Atlas
"""

EXAMPLES = r"""
- name: Keep the new rules
  trial:
    journal: /var/lib/install_tree/firewall
"""

RETURN = r"""
state:
  description:
    - V(kept); V(gone), if it was taken back already; V(stale), if the connection is an older one.
    - Through a connection that is none of SSH V(answers), if it was kept because the SSH server still answers
      on the machine itself; V(untried), if it was kept and no SSH server answered there before either;
      V(mute), if it was not kept as the SSH server does not answer any more.
  returned: success
  type: str
client:
  description: Where the connection comes from, as the machine sees it.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.file_tree import TreeError
from ansible.module_utils.trial import KEPT, came_in, keep


def main() -> None:
    """Keep it."""
    module = AnsibleModule(argument_spec={"journal": {"type": "path", "required": True}})
    since, client = came_in()
    try:
        state = keep(module.params["journal"], since)
    except (TreeError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=state in KEPT, state=state, client=client)


if __name__ == "__main__":
    main()
