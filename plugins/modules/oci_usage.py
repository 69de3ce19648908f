"""Say what an account of Oracle Cloud uses, what of it is free, and what it costs."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: oci_usage
short_description: Say what an account of Oracle Cloud uses, what of it is free, and what it costs
description:
  - Adds up, over all compartments, what counts against Always Free; asks for this month's cost; and names
    leftovers, which take up free space or cost money and which nothing uses.
  - Removes leftovers named in O(remove), if they are ours. Supports check mode.
extends_documentation_fragment: [oci_account]
options:
  stale_days:
    description: Days after which a backup or an unfinished upload is old.
    type: int
    default: 30
  remove:
    description: OCIDs (of uploads, their ids) of leftovers to remove.
    type: list
    elements: str
    default: []
attributes:
  check_mode: {support: full, description: Removes nothing.}
  diff_mode: {support: none, description: It has nothing to compare.}
"""

EXAMPLES = r"""
- name: See what is used
  oci_usage:
    account: "{{ oci_account }}"
    owner: production
  register: usage
"""

RETURN = r"""
limits:
  description: For each limit, what is in use and what is free.
  returned: success
  type: dict
  sample: {volumes_gb: {used: 150, free: 200}}
cost:
  description: What this month costs so far, in all and by service; empty when this user may not see it.
  returned: success
  type: dict
  sample: {currency: EUR, total: 0.0, services: {COMPUTE: 0.0}}
leftovers:
  description: What nothing uses. C(ours) says whether it carries our tag.
  returned: success
  type: list
  elements: dict
  sample: [{kind: volume, id: ocid1..., name: old, gb: 50, days: 12, ours: true}]
removed:
  description: What was removed.
  returned: success
  type: list
  elements: str
"""

import datetime
from collections.abc import Iterator
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
)
from ansible.module_utils.oci_free import USED, Guard
from ansible.module_utils.oci_kinds import DYING, GONE, TAG
from ansible.module_utils.oci_models import build, model

OPTIONS: dict[str, Any] = {
    "account": {"type": "dict", "required": True, "options": ACCOUNT_OPTIONS},
    "owner": {"required": True},
    "allow_paid": {"type": "bool", "default": False},
    "free_limits": {"type": "dict", "default": {}},
    "wait_seconds": {"type": "float", "default": 900.0},
    "stale_days": {"type": "int", "default": 30},
    "remove": {"type": "list", "elements": "str", "default": []},
}


class Leftovers:
    """What nothing uses."""

    def __init__(self, account: Account, owner: str, stale_days: int) -> None:
        """Take whom to ask."""
        self.account = account
        self.owner = owner
        self.stale_days = stale_days
        self.now = datetime.datetime.now(datetime.UTC)

    def find(self) -> list[dict[str, Any]]:
        """Return all of them, in the whole tenancy."""
        found: list[dict[str, Any]] = []
        compartments = self.account.compartments()
        # A volume and what it hangs on may be in different compartments.
        used = {identity for compartment in compartments for identity in self._used(compartment)}
        for compartment in compartments:
            found += self._volumes(compartment, used)
            found += self._backups(compartment)
            found += self._addresses(compartment)
            found += self._uploads(compartment)
        return found

    def remove(self, one: dict[str, Any]) -> None:
        """Remove one."""
        operations = {
            "volume": ("block", "delete_volume"),
            "boot_volume": ("block", "delete_boot_volume"),
            "volume_backup": ("block", "delete_volume_backup"),
            "boot_volume_backup": ("block", "delete_boot_volume_backup"),
            "public_ip": ("network", "delete_public_ip"),
        }
        if one["kind"] == "upload":
            where = (self.account.namespace, one["bucket"], one["name"], one["id"])
            self.account.ask("objects", "abort_multipart_upload", *where)
        else:
            self.account.ask(*operations[one["kind"]], one["id"])

    def _entry(self, kind: str, row: Any, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        return {
            "kind": kind,
            "id": row.id,
            "name": row.display_name,
            "days": (self.now - row.time_created).days,
            "ours": (row.freeform_tags or {}).get(TAG) == self.owner,
            **more,
        }

    def _used(self, compartment: str) -> Iterator[str]:
        """Return the OCIDs of volumes that hang on a machine, or are about to."""
        for row in self.account.rows("compute", "list_volume_attachments", compartment):
            if row.lifecycle_state not in DYING | GONE:
                yield row.volume_id
        for domain in self.account.domains():
            for row in self.account.rows("compute", "list_boot_volume_attachments", domain, compartment):
                if row.lifecycle_state not in DYING | GONE:
                    yield row.boot_volume_id

    def _volumes(self, compartment: str, used: set[str]) -> Iterator[dict[str, Any]]:
        for kind in ("volume", "boot_volume"):
            for row in self.account.rows("block", f"list_{kind}s", compartment_id=compartment):
                if row.lifecycle_state == "AVAILABLE" and row.id not in used:
                    yield self._entry(kind, row, gb=row.size_in_gbs)

    def _backups(self, compartment: str) -> Iterator[dict[str, Any]]:
        for kind in ("volume_backup", "boot_volume_backup"):
            for row in self.account.rows("block", f"list_{kind}s", compartment):
                old = (self.now - row.time_created).days >= self.stale_days
                # One with an end is Oracle's to remove.
                if row.lifecycle_state == "AVAILABLE" and old and row.expiration_time is None:
                    yield self._entry(kind, row, gb=row.unique_size_in_gbs or row.size_in_gbs)

    def _addresses(self, compartment: str) -> Iterator[dict[str, Any]]:
        named = {"lifetime": "RESERVED"}
        for row in self.account.rows("network", "list_public_ips", "REGION", compartment, **named):
            if row.lifecycle_state == "AVAILABLE":
                yield self._entry("public_ip", row, gb=0)

    def _uploads(self, compartment: str) -> Iterator[dict[str, Any]]:
        space = self.account.namespace
        for bucket in self.account.rows("objects", "list_buckets", space, compartment, fields=["tags"]):
            for row in self.account.rows("objects", "list_multipart_uploads", space, bucket.name):
                days = (self.now - row.time_created).days
                if days >= self.stale_days:
                    ours = (bucket.freeform_tags or {}).get(TAG) == self.owner
                    yield {
                        "kind": "upload",
                        "id": row.upload_id,
                        "name": row.object,
                        "bucket": bucket.name,
                        "days": days,
                        "ours": ours,
                        "gb": None,
                    }


def cost(account: Account, now: datetime.datetime) -> dict[str, Any]:
    """Return what this month costs so far; nothing when this user may not see it."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    asked = {
        "tenant_id": account.tenancy,
        "time_usage_started": today.replace(day=1),
        "time_usage_ended": today,
        "granularity": "DAILY",
        "query_type": "COST",
        "group_by": ["service"],
    }
    if asked["time_usage_started"] == asked["time_usage_ended"]:
        return {}  # the first day of a month has no whole day yet
    details = build("usage_api", model("usage_api", "RequestSummarizedUsagesDetails"), asked, "cost")
    try:
        items = list(account.rows("usage", "request_summarized_usages", details))
    except Exception as error:
        if is_missing(error) or getattr(error, "status", None) == 403:
            return {}
        raise
    services: dict[str, float] = {}
    for item in items:
        services[item.service] = services.get(item.service, 0.0) + float(item.computed_amount or 0)
    currency = next((item.currency for item in items if (item.currency or "").strip()), "")
    return {"currency": currency, "total": round(sum(services.values()), 2), "services": services}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(OPTIONS, supports_check_mode=True)
    if not HAS_OCI:
        module.fail_json(msg=MISSING)
    options = module.params
    removed: list[str] = []
    try:
        account = Account(options["account"])
        guard = Guard(account, limits=options["free_limits"])
        leftovers = Leftovers(account, options["owner"], options["stale_days"])
        try:
            found = leftovers.find()
            for one in chosen(found, options["remove"]):
                if not module.check_mode:
                    leftovers.remove(one)
                removed.append(f"{one['kind']} {one['name']}")
            limits = {name: {"used": guard.used(name), "free": guard.limits[name]} for name in USED}
            spent = cost(account, leftovers.now)
        except CloudError:
            raise
        except Exception as error:
            raise CloudError(explain(error, "Looking at what is used")) from error
    except CloudError as error:
        module.fail_json(msg=str(error), removed=removed, changed=bool(removed))
    gone = set(options["remove"])
    module.exit_json(
        changed=bool(removed),
        removed=removed,
        limits=limits,
        cost=spent,
        leftovers=[one for one in found if one["id"] not in gone],
    )


def chosen(found: list[dict[str, Any]], remove: list[str]) -> list[dict[str, Any]]:
    """Return the leftovers to remove.

    Raises CloudError for one that is no leftover, or not ours.
    """
    known = {one["id"]: one for one in found}
    for identity in remove:
        if identity not in known:
            raise CloudError(
                f"{identity} is no leftover: something uses it, or it is gone. Nothing was removed."
            )
        if not known[identity]["ours"]:
            raise CloudError(
                f"{identity} ({known[identity]['name']}) does not carry our tag, so it is not ours to "
                "remove. Nothing was removed."
            )
    return [known[identity] for identity in remove]


if __name__ == "__main__":
    main()
