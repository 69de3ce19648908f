"""Keep things in Oracle Cloud as they should be, many in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: oci_resource
short_description: Keep things in Oracle Cloud as they should be, many in one call
description:
  - A list of networks, policies, volumes, buckets and so on, each of a kind with a name and a spec. All of
    them are looked for and compared first; a wrong field, a name somebody else has, a change Oracle does not
    allow or anything that costs money fails before anything is changed. Then what differs is made right, in
    order.
  - Ours is what carries the freeform tag C(atlas) with the value of O(owner). What is not in a spec is left
    as it is.
  - A field that Oracle fixes when a thing is made is never changed by making the thing anew.
  - Supports check mode and diff mode, also for what hangs on something that does not exist yet.
extends_documentation_fragment: [oci_account]
options:
  compartment_id:
    description: OCID of the compartment of everything in the list that has one and says no other.
    type: str
  resources:
    description: What there should be, in the order in which it can be made.
    type: list
    elements: dict
    required: true
    suboptions:
      key:
        description: Name of this entry for O(resources[].spec) of later ones, and in RV(resources). The kind
          by default.
        type: str
      kind:
        description: What it is.
        type: str
        required: true
        choices:
          - compartment
          - dynamic_group
          - user
          - group
          - membership
          - policy
          - secret_key
          - quota
          - budget
          - alert_rule
          - vcn
          - internet_gateway
          - route_table
          - security_list
          - network_security_group
          - security_rules
          - subnet
          - public_ip
          - bucket
          - lifecycle_policy
          - retention_rule
          - backup_policy
          - volume
          - volume_attachment
          - backup_assignment
          - dns_records
      name:
        description: Its display name, or its name where Oracle says so. What ties two things together needs
          none.
        type: str
        default: ""
      spec:
        description:
          - Fields of the SDK's model for creating it (C(CreateVcnDetails) and so on), in the SDK's names.
          - A value C({ref KEY}) is the OCID of an earlier entry, C({ref KEY.field}) one of its fields, with
            C(prefix) the first network of so many bits in it. C({text, refs}) is a text with a C(%s) for
            each of the references in the list C(refs). The key C(tenancy) is always there, with C(id),
            C(region) and C(namespace).
          - Besides, what says where it is. Of C(alert_rule) the C(budget_id); of C(secret_key) the
            C(user_id), and C(secret_file), into which its secret is put; of C(security_rules) the
            C(network_security_group_id); of C(lifecycle_policy) the C(bucket), of C(retention_rule) that
            and the C(namespace); of C(volume_attachment) and C(backup_assignment) nothing more; of
            C(dns_records) the C(type), and the C(zone) where it is not the longest that fits the name.
          - V(dns_records) takes C(type) and C(zone) too; without C(zone), the longest one the name ends with.
        type: dict
        default: {}
      state:
        description: Whether it should be there.
        type: str
        choices: [present, absent]
        default: present
      adopt:
        description: Take over one of that name that this did not make, and tag it.
        type: bool
        default: false
      id:
        description: OCID (or reference) of what Oracle makes by itself and is only to be set right, such as
          a network's default security list.
        type: raw
attributes:
  check_mode: {support: full, description: Says what would be done.}
  diff_mode: {support: full, description: Shows each field that differs.}
"""

EXAMPLES = r"""
- name: Build the network
  oci_resource:
    account: "{{ oci_account }}"
    owner: production
    compartment_id: "{{ compartment.id }}"
    resources:
      - kind: vcn
        name: atlas
        spec: {cidr_blocks: [10.0.0.0/16], dns_label: atlas}
      - kind: subnet
        name: atlas
        spec:
          vcn_id: {ref: vcn}
          cidr_block: 10.0.0.0/24
"""

RETURN = r"""
resources:
  description: What is there now, by key, with the fields the SDK shows; nothing for what is absent. In check
    mode C(id) is V(pending) for what would be made.
  returned: success
  type: dict
changes:
  description: What was done, one sentence each; also when the task failed half way.
  returned: always
  type: list
  elements: str
  sample: [made vcn atlas, "changed security_list atlas: ingress_security_rules"]
region:
  description: Region that was asked.
  returned: success
  type: str
  sample: eu-frankfurt-1
calls:
  description: How many times Oracle was asked.
  returned: success
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.oci_account import ACCOUNT_OPTIONS, HAS_OCI, MISSING, Account, CloudError
from ansible.module_utils.oci_free import Guard
from ansible.module_utils.oci_kinds import KINDS
from ansible.module_utils.oci_models import PENDING
from ansible.module_utils.oci_state import State, Step, Wanted

OPTIONS: dict[str, Any] = {
    "account": {"type": "dict", "required": True, "options": ACCOUNT_OPTIONS},
    "owner": {"required": True},
    "allow_paid": {"type": "bool", "default": False},
    "free_limits": {"type": "dict", "default": {}},
    "wait_seconds": {"type": "float", "default": 900.0},
    "compartment_id": {},
    "resources": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "key": {},
            "kind": {"required": True, "choices": list(KINDS)},
            "name": {"default": ""},
            "spec": {"type": "dict", "default": {}},
            "state": {"choices": ["present", "absent"], "default": "present"},
            "adopt": {"type": "bool", "default": False},
            "id": {"type": "raw"},
        },
    },
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(OPTIONS, supports_check_mode=True)
    if not HAS_OCI:
        module.fail_json(msg=MISSING)
    options = module.params
    done: list[str] = []
    try:
        account = Account(options["account"])
        guard = Guard(account, allow_paid=options["allow_paid"], limits=options["free_limits"])
        state = State(
            account,
            owner=options["owner"],
            compartment=options["compartment_id"],
            guard=guard,
            wait_seconds=options["wait_seconds"],
        )
        done = state.changes
        steps = state.plan(wanted(options["resources"]))
        changed = any(step.action != "none" for step in steps)
        if not module.check_mode:
            state.apply(steps)
    except CloudError as error:
        told = f" Done before that: {'; '.join(done)}." if done else " Nothing was changed."
        module.fail_json(msg=f"{error}{told}", changes=done, changed=bool(done))
    module.exit_json(
        changed=changed,
        changes=state.changes,
        diff=state.diff,
        calls=account.calls,
        region=account.region,
        resources=shown(steps, state.known),
    )


def shown(steps: list[Step], known: dict[str, dict[str, Any] | None]) -> dict[str, Any]:
    """Return what there is by key; what would be made by a run that is no check is pending."""
    return {
        step.wanted.key: known[step.wanted.key] or {"id": PENDING} for step in steps if step.wanted.present
    }


def wanted(resources: list[dict[str, Any]]) -> list[Wanted]:
    """Return the list as the engine takes it.

    Raises CloudError when two entries have one key.
    """
    found: dict[str, Wanted] = {}
    for one in resources:
        key = one["key"] or one["kind"]
        if key in found:
            raise CloudError(f"Two entries have the key {key}: give one of them another.")
        found[key] = Wanted(
            key,
            one["kind"],
            one["name"],
            {name: value for name, value in one["spec"].items() if value is not None},
            present=one["state"] == "present",
            adopt=one["adopt"],
            identity=one["id"],
        )
    return list(found.values())


if __name__ == "__main__":
    main()
