"""Remove what is ours from Oracle Cloud."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: oci_teardown
short_description: Remove what is ours from Oracle Cloud
description:
  - Finds everything that carries the freeform tag C(atlas) with the value of O(owner), and removes it in the
    order in which it lets itself be removed. Nothing else is touched, and what holds data stays unless
    O(keep) says otherwise.
  - Run again, it goes on from where it was stopped. Supports check mode.
extends_documentation_fragment: [oci_account]
options:
  keep:
    description: Kinds with data that stay. A compartment in which something stays, stays too.
    type: list
    elements: str
    choices: [boot_volume, volume, bucket]
    default: [boot_volume, volume, bucket]
attributes:
  check_mode: {support: full, description: Says what would be removed.}
  diff_mode: {support: none, description: It has nothing to compare.}
"""

EXAMPLES = r"""
- name: Remove everything but the backups
  oci_teardown:
    account: "{{ oci_account }}"
    owner: production
    keep: [bucket]
"""

RETURN = r"""
removed:
  description: What was removed, or in check mode would be, in order.
  returned: always
  type: list
  elements: str
  sample: [instance atlas, subnet atlas]
kept:
  description: What stays, and why where that is not plain.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.oci_account import ACCOUNT_OPTIONS, HAS_OCI, MISSING, Account, CloudError, explain
from ansible.module_utils.oci_sweep import DATA, Sweep

OPTIONS: dict[str, Any] = {
    "account": {"type": "dict", "required": True, "options": ACCOUNT_OPTIONS},
    "owner": {"required": True},
    "allow_paid": {"type": "bool", "default": False},
    "free_limits": {"type": "dict", "default": {}},
    "wait_seconds": {"type": "float", "default": 900.0},
    "keep": {"type": "list", "elements": "str", "choices": list(DATA), "default": list(DATA)},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(OPTIONS, supports_check_mode=True)
    if not HAS_OCI:
        module.fail_json(msg=MISSING)
    options = module.params
    removed: list[str] = []
    kept: list[str] = []
    try:
        sweep = Sweep(
            Account(options["account"]),
            options["owner"],
            keep=frozenset(options["keep"]),
            wait_seconds=options["wait_seconds"],
        )
        removed, kept = sweep.removed, sweep.kept
        try:
            found = sweep.find()
        except CloudError:
            raise
        except Exception as error:
            raise CloudError(explain(error, "Looking for what is ours")) from error
        if module.check_mode:
            kept += [one.name for one in found if sweep.stays(one, found)]
            removed += [one.name for one in found if not sweep.stays(one, found)]
        else:
            sweep.clear(found)
    except CloudError as error:
        module.fail_json(msg=str(error), removed=removed, kept=kept, changed=bool(removed))
    module.exit_json(changed=bool(removed), removed=removed, kept=kept)


if __name__ == "__main__":
    main()
