"""Keep one machine running in Oracle Cloud, where there is room for it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: oci_instance
short_description: Keep one machine running in Oracle Cloud, where there is room for it
description:
  - Finds the machine by O(name) and the tag C(atlas) with the value of O(owner), in whichever availability
    domain; or launches it in the first domain that has room, walking all of them.
  - Where no domain has room, it waits and walks again, up to O(capacity_minutes), and says so each time.
    Nothing is lost when it is stopped meanwhile; the next run goes on. Only then the next of O(shapes) is
    tried.
  - A machine that is there is started when it is stopped, and never replaced. Its size is changed (which
    restarts it) only with O(resize). A change of O(ssh_keys) or O(user_data) cannot reach a machine that is
    there; it is said in a warning.
  - Supports check mode and diff mode.
extends_documentation_fragment: [oci_account]
options:
  compartment_id:
    description: OCID of the machine's compartment.
    type: str
    required: true
  name:
    description: Display name.
    type: str
    required: true
  hostname:
    description: Name in the subnet's DNS.
    type: str
  shapes:
    description: What to launch, the preferred first. Those after the first are tried when the time for that
      one is over.
    type: list
    elements: dict
    required: true
    suboptions:
      shape:
        description: Name of the shape.
        type: str
        required: true
      ocpus:
        description: OCPUs, for a flexible shape.
        type: float
      memory_gb:
        description: Memory in GB, for a flexible shape.
        type: float
  operating_system:
    description: Whose newest image is taken that fits the shape.
    type: str
    default: Canonical Ubuntu
  operating_system_version:
    description: Its version.
    type: str
    default: "24.04"
  image_id:
    description: OCID of an image instead.
    type: str
  boot_volume_gb:
    description: Size of the boot volume in GB.
    type: int
    default: 50
  subnet_id:
    description: OCID of the subnet.
    type: str
    required: true
  nsg_ids:
    description: OCIDs of network security groups.
    type: list
    elements: str
    default: []
  assign_ipv6:
    description: Give it an IPv6 address too.
    type: bool
    default: false
  ssh_keys:
    description: Public keys for the first login.
    type: list
    elements: str
    required: true
  user_data:
    description: Configuration of cloud-init, as text. Everybody on the machine can read it.
    type: str
  near_volume:
    description: Display name of a volume of ours. When it is there, only its availability domain will do.
    type: str
  resize:
    description: Change the size of a machine that is there; Oracle restarts it.
    type: bool
    default: false
  capacity_minutes:
    description: Minutes to wait for room for the first of O(shapes). 0 walks the domains once.
    type: float
    default: 60
  capacity_pause_seconds:
    description: Seconds before the second walk; each pause is longer by half, up to five times this.
    type: float
    default: 60
attributes:
  check_mode: {support: full, description: Says what would be done.}
  diff_mode: {support: full, description: Shows what differs.}
"""

EXAMPLES = r"""
- name: Launch the machine
  oci_instance:
    account: "{{ oci_account }}"
    owner: production
    compartment_id: "{{ compartment.id }}"
    name: atlas
    shapes:
      - {shape: VM.Standard.A1.Flex, ocpus: 2, memory_gb: 12}
      - {shape: VM.Standard.E2.1.Micro}
    subnet_id: "{{ subnet.id }}"
    ssh_keys: ["{{ lookup('file', '~/.ssh/id_ed25519.pub') }}"]
"""

RETURN = r"""
instance:
  description: The machine, with the fields the SDK shows; in check mode C(id) may be V(pending).
  returned: success
  type: dict
private_ip_id:
  description: OCID of its private address, to which a reserved public one is assigned.
  returned: success
  type: str
private_ip:
  description: Its private address.
  returned: success
  type: str
ipv6_address:
  description: Its IPv6 address, which the world can reach; none without O(assign_ipv6).
  returned: success
  type: str
full:
  description: The availability domains that had no room; only when there was none anywhere.
  returned: success
  type: list
  elements: str
changes:
  description: What was done, one sentence each.
  returned: always
  type: list
  elements: str
"""

import base64
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.oci_account import (
    ACCOUNT_OPTIONS,
    HAS_OCI,
    MISSING,
    Account,
    CloudError,
    explain,
    is_missing,
    lacks_capacity,
)
from ansible.module_utils.oci_free import A1, Guard
from ansible.module_utils.oci_kinds import TAG, as_dict, is_dying
from ansible.module_utils.oci_models import PENDING, build, lines, model, normal

OPTIONS: dict[str, Any] = {
    "account": {"type": "dict", "required": True, "options": ACCOUNT_OPTIONS},
    "owner": {"required": True},
    "allow_paid": {"type": "bool", "default": False},
    "free_limits": {"type": "dict", "default": {}},
    "wait_seconds": {"type": "float", "default": 900.0},
    "compartment_id": {"required": True},
    "name": {"required": True},
    "hostname": {},
    "shapes": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "shape": {"required": True},
            "ocpus": {"type": "float"},
            "memory_gb": {"type": "float"},
        },
    },
    "operating_system": {"default": "Canonical Ubuntu"},
    "operating_system_version": {"default": "24.04"},
    "image_id": {},
    "boot_volume_gb": {"type": "int", "default": 50},
    "subnet_id": {"required": True},
    "nsg_ids": {"type": "list", "elements": "str", "default": []},
    "assign_ipv6": {"type": "bool", "default": False},
    "ssh_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
    "user_data": {},
    "near_volume": {},
    "resize": {"type": "bool", "default": False},
    "capacity_minutes": {"type": "float", "default": 60.0},
    "capacity_pause_seconds": {"type": "float", "default": 60.0},
}
ANSWER = ("instance", "private_ip_id", "private_ip", "ipv6_address")
RUNS = {"RUNNING", "STARTING", "PROVISIONING"}


class Machine:
    """The machine as it is wanted, and what has to be done for it."""

    def __init__(self, account: Account, guard: Guard, options: dict[str, Any], *, check: bool) -> None:
        """Take whom to ask and what is wanted; with `check`, nothing is changed."""
        self.account = account
        self.guard = guard
        self.options = options
        self.check = check
        self.where = f"instance {options['name']}"
        self.changes: list[str] = []
        self.warnings: list[str] = []
        self.diff: list[dict[str, str]] = []

    def keep(self) -> dict[str, Any]:
        """Have the machine running; return what the module returns.

        Raises CloudError.
        """
        found = self._find()
        return self._mend(found) if found else self._launch()

    def _find(self) -> dict[str, Any] | None:
        if self.options["compartment_id"] == PENDING:
            return None
        rows = self.account.rows(
            "compute",
            "list_instances",
            self.options["compartment_id"],
            display_name=self.options["name"],
        )
        living = [row for row in map(as_dict, rows) if not is_dying(row)]
        ours = [row for row in living if (row["freeform_tags"] or {}).get(TAG) == self.options["owner"]]
        if len(ours) > 1:
            raise CloudError(
                f"{self.where}: there are several, and all say they are ours: "
                f"{', '.join(row['id'] for row in ours)}. Terminate the wrong one in Oracle Cloud."
            )
        others = [row["id"] for row in living if TAG not in (row["freeform_tags"] or {})]
        if others and not ours:
            raise CloudError(
                f"{self.where}: there is one of that name which this did not make ({others[0]}). Choose "
                f"another name, or give it the freeform tag {TAG}={self.options['owner']} in Oracle Cloud."
            )
        return ours[0] if ours else None

    def _mend(self, found: dict[str, Any]) -> dict[str, Any]:
        """Put right what differs at a machine that is there."""
        self._note_metadata(found)
        found = self._settle(found)
        wanted = self._differing(found)
        if wanted:
            self._note({name: found.get(name) for name in wanted}, wanted)
            self.changes.append(f"changed {self.where}: {', '.join(wanted)}")
            if not self.check:
                details = build("core", model("core", "UpdateInstanceDetails"), wanted, self.where)
                self.account.ask("compute", "update_instance", found["id"], details)
                found = self._settle(self._get(found["id"]))
        if found["lifecycle_state"] not in RUNS:
            self._note({"state": found["lifecycle_state"]}, {"state": "RUNNING"})
            self.changes.append(f"started {self.where}")
            if not self.check:
                self.account.ask("compute", "instance_action", found["id"], "START")
                found = self._wait_running(found["id"])
        return self._answer(found)

    def _differing(self, found: dict[str, Any]) -> dict[str, Any]:
        wanted: dict[str, Any] = {}
        if not (found.get("instance_options") or {}).get("are_legacy_imds_endpoints_disabled"):
            wanted["instance_options"] = {"are_legacy_imds_endpoints_disabled": True}
        size = next((one for one in self.options["shapes"] if one["shape"] == found["shape"]), None)
        if size and size["ocpus"] and size["memory_gb"]:
            there = found["shape_config"]
            before = (float(there["ocpus"]), float(there["memory_in_gbs"]))
            after = (float(size["ocpus"]), float(size["memory_gb"]))
            if before != after:
                if not self.options["resize"]:
                    raise CloudError(
                        f"{self.where}: it has {before[0]:g} OCPUs and {before[1]:g} GB, wanted are "
                        f"{after[0]:g} and {after[1]:g}. Oracle restarts a machine to change that: allow it "
                        "with resize: true (oci_compute_resize), or put the old size back."
                    )
                self.guard.resize(found["shape"], *after, before, self.where)
                wanted["shape_config"] = {"ocpus": after[0], "memory_in_gbs": after[1]}
        return wanted

    def _note_metadata(self, found: dict[str, Any]) -> None:
        there, wanted = found.get("metadata") or {}, self._metadata()
        differing = [
            name for name in ("ssh_authorized_keys", "user_data") if there.get(name) != wanted.get(name)
        ]
        if differing:
            self.warnings.append(
                f"{self.where}: {' and '.join(differing)} differ from what it was launched with. Oracle "
                "gives them to a new machine only; this one keeps its own."
            )

    def _launch(self) -> dict[str, Any]:
        """Launch the machine in the first domain that has room, with the first shape for which one has."""
        domains, near = self._domains()
        full: list[str] = []
        planned = dict(self.guard.planned)
        for size in self.options["shapes"]:
            # What is tried after another takes its place.
            self.guard.planned = dict(planned)
            image = self._image(size["shape"])
            offered = self._offered(size["shape"], domains)
            self._guard(size, next(iter(offered.values())))
            if self.check:
                return self._would_launch(size, list(offered))
            made, there = self._walk(size, image, list(offered))
            if made:
                return self._answer(self._wait_running(made["id"]))
            full += [f"{size['shape']} in {domain}{near}" for domain in there]
        return {**dict.fromkeys(ANSWER), "full": full}

    def _walk(
        self, size: dict[str, Any], image: str, domains: list[str]
    ) -> tuple[dict[str, Any] | None, list[str]]:
        """Launch in the first domain that has room; without one, return those that may have some later.

        Raises what the last domain answered, when the account's limits forbid it in each.
        """
        full: list[str] = []
        beyond: Exception | None = None
        for domain in domains:
            try:
                made = self._try(domain, size, image)
            except Exception as error:
                # A limit may be one domain's: the small shape's is above 0 in one of them only.
                if getattr(error, "code", None) != "LimitExceeded":
                    raise
                beyond = error
            else:
                if made:
                    return made, []
                full.append(domain)
        if beyond and not full:
            raise beyond
        return None, full

    def _would_launch(self, size: dict[str, Any], domains: list[str]) -> dict[str, Any]:
        self._note({}, {"shape": size["shape"], "availability_domains": domains})
        self.changes.append(f"launched {self.where}")
        return {**dict.fromkeys(ANSWER, PENDING), "instance": {"id": PENDING}, "full": []}

    def _try(self, domain: str, size: dict[str, Any], image: str) -> dict[str, Any] | None:
        """Launch in one domain; None says that there is no room."""
        given = self._details(domain, size, image)
        details = build("core", model("core", "LaunchInstanceDetails"), given, self.where)
        try:
            made = as_dict(self.account.ask("compute", "launch_instance", details).data)
        except Exception as error:
            # Domains without A1 say that there is no such shape; and who asks too often is asked to wait.
            without = is_missing(error) and size["shape"] in str(error)
            if lacks_capacity(error) or without or getattr(error, "status", None) == 429:
                return None
            raise
        self._note({}, {"shape": size["shape"], "availability_domain": domain})
        self.changes.append(f"launched {self.where} ({size['shape']}) in {domain}")
        return made

    def _domains(self) -> tuple[list[str], str]:
        """Return the domains that will do, and why they are not all."""
        domains = self.account.domains()
        if not self.options["near_volume"] or self.options["compartment_id"] == PENDING:
            return domains, ""
        rows = self.account.rows("block", "list_volumes", compartment_id=self.options["compartment_id"])
        near = [
            row.availability_domain
            for row in rows
            if row.display_name == self.options["near_volume"]
            and (row.freeform_tags or {}).get(TAG) == self.options["owner"]
            and row.lifecycle_state in {"AVAILABLE", "PROVISIONING"}
        ]
        where = f" (only there is the volume {self.options['near_volume']})"
        return (near, where) if near else (domains, "")

    def _offered(self, shape: str, domains: list[str]) -> dict[str, Any]:
        """Return, by domain, the shape as Oracle describes it there."""
        found = {}
        for domain in domains:
            rows = self.account.rows(
                "compute", "list_shapes", self.account.tenancy, availability_domain=domain
            )
            here = next((row for row in rows if row.shape == shape), None)
            if here:
                found[domain] = here
        if not found:
            raise CloudError(
                f"{self.where}: the shape {shape} is not offered in {', '.join(domains)}. Choose another for "
                "oci_compute_shapes (Oracle Cloud: Compute, Create instance shows which there are)."
            )
        return found

    def _guard(self, size: dict[str, Any], shape: Any) -> None:  # noqa: ANN401
        if size["shape"] == A1 and not (size["ocpus"] and size["memory_gb"]):
            raise CloudError(f"{self.where}: {A1} needs ocpus and memory_gb.")
        self.guard.instance(
            shape, size["ocpus"] or 0, size["memory_gb"] or 0, self.options["boot_volume_gb"], self.where
        )

    def _image(self, shape: str) -> str:
        if self.options["image_id"]:
            return str(self.options["image_id"])
        system, version = self.options["operating_system"], self.options["operating_system_version"]
        rows = self.account.rows(
            "compute",
            "list_images",
            self.account.tenancy,
            operating_system=system,
            operating_system_version=version,
            shape=shape,
            lifecycle_state="AVAILABLE",
            sort_by="TIMECREATED",
            sort_order="DESC",
        )
        newest = next(iter(rows), None)
        if newest is None:
            raise CloudError(f"{self.where}: there is no image of {system} {version} for the shape {shape}.")
        return str(newest.id)

    def _metadata(self) -> dict[str, str]:
        found = {"ssh_authorized_keys": "\n".join(key.strip() for key in self.options["ssh_keys"])}
        if self.options["user_data"]:
            found["user_data"] = base64.b64encode(self.options["user_data"].encode()).decode()
        return found

    def _details(self, domain: str, size: dict[str, Any], image: str) -> dict[str, Any]:
        options = self.options
        sizes = {"ocpus": size["ocpus"], "memory_in_gbs": size["memory_gb"]}
        return {
            "availability_domain": domain,
            "compartment_id": options["compartment_id"],
            "display_name": options["name"],
            "shape": size["shape"],
            "shape_config": sizes if all(sizes.values()) else None,
            "source_details": {
                "source_type": "image",
                "image_id": image,
                "boot_volume_size_in_gbs": options["boot_volume_gb"],
            },
            "create_vnic_details": {
                "subnet_id": options["subnet_id"],
                "assign_public_ip": False,
                "assign_ipv6_ip": options["assign_ipv6"] or None,
                "nsg_ids": options["nsg_ids"],
                "hostname_label": options["hostname"],
                "freeform_tags": {TAG: options["owner"]},
            },
            "metadata": self._metadata(),
            "is_pv_encryption_in_transit_enabled": True,
            "instance_options": {"are_legacy_imds_endpoints_disabled": True},
            "freeform_tags": {TAG: options["owner"]},
        }

    def _get(self, identity: str) -> dict[str, Any]:
        return as_dict(self.account.ask("compute", "get_instance", identity).data)

    def _settle(self, found: dict[str, Any]) -> dict[str, Any]:
        """Wait until it is neither starting nor stopping."""
        if found["lifecycle_state"] in {"RUNNING", "STOPPED"} or self.check:
            return found
        done = {"RUNNING", "STOPPED", "TERMINATING", "TERMINATED"}
        settled = self.account.wait(
            lambda: self._get(found["id"]),
            lambda row: row["lifecycle_state"] in done,
            self.options["wait_seconds"],
            self.where,
        )
        if is_dying(settled):
            raise CloudError(f"{self.where}: somebody is terminating it. Run it again for a new one.")
        return dict(settled)

    def _wait_running(self, identity: str) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            try:
                return self._get(identity)
            except Exception as error:
                # What was made a moment ago may not be seen everywhere yet.
                if is_missing(error):
                    return {"lifecycle_state": "PROVISIONING"}
                raise

        done = {"RUNNING", "TERMINATING", "TERMINATED"}
        found = self.account.wait(
            look, lambda row: row["lifecycle_state"] in done, self.options["wait_seconds"], self.where
        )
        if found["lifecycle_state"] != "RUNNING":
            raise CloudError(f"{self.where}: Oracle took it back while it started. Run it again.")
        return dict(found)

    def _answer(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the machine with its address, after its security groups are right."""
        card = self._card(found)
        groups = self.options["nsg_ids"]
        if normal(card["nsg_ids"] or []) != normal(groups) and PENDING not in groups:
            self._note({"nsg_ids": card["nsg_ids"]}, {"nsg_ids": groups})
            self.changes.append(f"changed {self.where}: nsg_ids")
            if not self.check:
                details = build("core", model("core", "UpdateVnicDetails"), {"nsg_ids": groups}, self.where)
                self.account.ask("network", "update_vnic", card["id"], details)
        private = next(
            row
            for row in self.account.rows("network", "list_private_ips", vnic_id=card["id"])
            if row.is_primary
        )
        addresses = (private.id, private.ip_address, next(iter(card["ipv6_addresses"] or []), None))
        return {**dict(zip(ANSWER, (found, *addresses), strict=True)), "full": []}

    def _card(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the machine's first network card: one that was added later has other addresses."""

        def attached() -> list[Any]:
            rows = self.account.rows(
                "compute", "list_vnic_attachments", self.options["compartment_id"], instance_id=found["id"]
            )
            return [row for row in rows if row.lifecycle_state in {"ATTACHED", "ATTACHING"} and row.vnic_id]

        seconds = 0.0 if self.check else self.options["wait_seconds"]
        for row in self.account.wait(attached, bool, seconds, f"{self.where}: its network card"):
            card = as_dict(self.account.ask("network", "get_vnic", row.vnic_id).data)
            if card["is_primary"]:
                return card
        raise CloudError(f"{self.where}: Oracle shows no network card of it. Run it again in some minutes.")

    def _note(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        texts = ["".join(f"{line}\n" for line in lines(normal(side))) for side in (before, after)]
        heads = {"before_header": self.where, "after_header": self.where}
        self.diff.append({**heads, "before": texts[0], "after": texts[1]})


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
        machine = Machine(account, guard, options, check=module.check_mode)
        done = machine.changes
        try:
            answer = machine.keep()
        except CloudError:
            raise
        except Exception as error:
            raise CloudError(explain(error, machine.where)) from error
    except CloudError as error:
        module.fail_json(msg=str(error), changes=done, changed=bool(done))
    for warning in machine.warnings:
        module.warn(warning)
    module.exit_json(changed=bool(machine.changes), changes=machine.changes, diff=machine.diff, **answer)


if __name__ == "__main__":
    main()
