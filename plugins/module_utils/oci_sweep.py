"""Find everything of ours in Oracle Cloud, and remove it in the order in which it lets itself be removed.

Only what carries our tag is touched: also in our own compartment there may be things somebody else put there.
What others still use stays too, and is said with Oracle's own reason.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.oci_account import Account, CloudError, explain, is_missing
from ansible.module_utils.oci_kinds import DYING, GONE, KINDS, TAG, Kind, as_dict, is_dying
from ansible.module_utils.oci_models import build, model
from ansible.module_utils.oci_state import remove

# What comes into being with other things, or by itself.
BESIDES = {
    "boot_volume": Kind("block", "core", "boot_volume"),
    "boot_volume_backup": Kind("block", "core", "boot_volume_backup"),
    "volume_backup": Kind("block", "core", "volume_backup"),
}
# In the order in which they go: what others hang on comes later.
IN_COMPARTMENT = (
    "volume",
    "volume_backup",
    "boot_volume",
    "boot_volume_backup",
    "backup_policy",
    "public_ip",
    "subnet",
    "route_table",
    "internet_gateway",
    "network_security_group",
    "security_list",
    "vcn",
    "bucket",
)
IN_TENANCY = ("budget", "quota", "policy", "user", "group", "dynamic_group")
# What holds data, and what stays with it.
DATA = ("boot_volume", "volume", "bucket")
WITH = {"boot_volume_backup": "boot_volume", "volume_backup": "volume"}


@dataclass(frozen=True)
class Found:
    """One thing of ours."""

    kind: str
    row: dict[str, Any]

    @property
    def name(self) -> str:
        """Name it in a sentence."""
        return f"{self.kind} {self.row.get('display_name') or self.row.get('name')}"


class Sweep:
    """Everything of one owner."""

    def __init__(self, account: Account, owner: str, *, keep: frozenset[str], wait_seconds: float) -> None:
        """Take whom to ask; `keep` names the kinds of DATA that stay."""
        self.account = account
        self.owner = owner
        self.keep = keep
        self.wait_seconds = wait_seconds
        self.removed: list[str] = []
        self.kept: list[str] = []
        # What could not be removed, as others use it: what that hangs on is not waited for.
        self.blocked: list[Found] = []

    def find(self) -> list[Found]:
        """Return all that is ours, in the order in which it goes."""
        found: list[Found] = []
        compartments = list(self._rows("compartment", self.account.tenancy))
        ours = [row["id"] for row in compartments]
        for compartment in ours:
            found += self._inside(compartment)
        for compartment in self.account.compartments():
            if compartment not in ours:
                # One that this user may not look into holds nothing that it made.
                with missing_is_gone():
                    found += self._inside(compartment)
        for name in IN_TENANCY:
            found += [Found(name, row) for row in self._rows(name, self.account.tenancy)]
        return found + [Found("compartment", row) for row in compartments]

    def _inside(self, compartment: str) -> list[Found]:
        machines = list(self._machines(compartment))
        found = [Found("instance", row) for row in machines]
        booted = [row for machine in machines for row in self._booted(machine)]
        for name in IN_COMPARTMENT:
            rows = list(self._rows(name, compartment))
            if name == "boot_volume":
                known = {row["id"] for row in rows}
                rows += [row for row in booted if row["id"] not in known]
            found += [Found(name, row) for row in rows]
        return found

    def stays(self, one: Found, found: list[Found]) -> bool:
        """Say whether a thing stays: because it holds data, or for the sake of something that does."""
        if one.kind == "backup_policy":
            return "volume" in self.keep and any(other.kind == "volume" for other in found)
        if one.kind == "compartment":
            inside = [other for other in found if other.row.get("compartment_id") == one.row["id"]]
            return any(other in self.blocked or self._holds_data(other) for other in inside)
        return self._holds_data(one)

    def _holds_data(self, one: Found) -> bool:
        return WITH.get(one.kind, one.kind) in self.keep

    def clear(self, found: list[Found]) -> None:
        """Remove what does not stay.

        Raises CloudError; what is gone until then is in `removed`, and a next run goes on from there.
        """
        for one in found:
            if self.stays(one, found):
                self.kept.append(one.name)
                continue
            try:
                self._clear(one)
            except CloudError:
                raise
            except Exception as error:
                if getattr(error, "status", None) != 409:
                    raise CloudError(explain(error, f"{one.name}: removing it")) from error
                self.blocked.append(one)
                words = str(getattr(error, "message", error)).strip().rstrip(".")
                self.kept.append(f"{one.name}, which something else still needs: {words}")
            else:
                self.removed.append(one.name)

    def _clear(self, one: Found) -> None:
        special: dict[str, Callable[[dict[str, Any]], None]] = {
            "instance": self._terminate,
            "bucket": self._empty,
            "route_table": self._unroute,
            "user": self._strip,
            "volume": self._detach,
        }
        if one.kind in special:
            special[one.kind](one.row)
        if one.kind != "instance":
            patience = 0.0 if self.blocked else None
            kind = BESIDES.get(one.kind) or KINDS[one.kind]
            remove(self.account, kind, {}, one.row, self.wait_seconds, patience=patience)

    def _rows(self, name: str, compartment: str) -> Iterator[dict[str, Any]]:
        """Return what is ours of a kind; one that only the list shows in part is asked for whole."""
        kind = BESIDES.get(name) or KINDS[name]
        if name == "bucket":
            for row in self.account.rows("objects", "list_buckets", self.account.namespace, compartment):
                bucket = kind.get(self.account, {}, row.name)
                if self._is_ours(bucket):
                    yield bucket
            return
        plural = kind.plural or f"{kind.noun}s"
        listed = {"compartment_id": compartment, **kind.listed_with}
        for row in self.account.rows(kind.client, f"list_{plural}", **listed):
            if self._is_ours(as_dict(row)):
                yield as_dict(row)

    def _is_ours(self, row: dict[str, Any]) -> bool:
        return (row.get("freeform_tags") or {}).get(TAG) == self.owner and not is_dying(row)

    def _machines(self, compartment: str) -> Iterator[dict[str, Any]]:
        """Return our machines; one that is on its way out is waited for like the others."""
        for row in self.account.rows("compute", "list_instances", compartment):
            ours = (row.freeform_tags or {}).get(TAG) == self.owner
            if ours and row.lifecycle_state not in GONE:
                yield as_dict(row)

    def _booted(self, machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Return the boot volumes of a machine of ours: they are ours, tagged or not."""
        rows = self.account.rows(
            "compute",
            "list_boot_volume_attachments",
            machine["availability_domain"],
            machine["compartment_id"],
            instance_id=machine["id"],
        )
        for row in rows:
            if row.lifecycle_state not in DYING | GONE:
                yield BESIDES["boot_volume"].get(self.account, {}, row.boot_volume_id)

    def _terminate(self, machine: dict[str, Any]) -> None:
        """Terminate a machine, and wait: its network card holds the subnet until it is gone."""
        preserve = "boot_volume" in self.keep
        if not is_dying(machine):
            for volume in self._booted(machine) if preserve else ():
                # Without the tag nobody would know later whose it was.
                tags = {**(volume.get("freeform_tags") or {}), TAG: self.owner}
                details = model("core", "UpdateBootVolumeDetails")(freeform_tags=tags)
                self.account.ask("block", "update_boot_volume", volume["id"], details)
            with missing_is_gone():
                self.account.ask(
                    "compute", "terminate_instance", machine["id"], preserve_boot_volume=preserve
                )

        def gone() -> bool:
            try:
                row = self.account.ask("compute", "get_instance", machine["id"]).data
            except Exception as error:
                if is_missing(error):
                    return True
                raise
            return bool(row.lifecycle_state == "TERMINATED")

        self.account.wait(
            gone, bool, self.wait_seconds, f"instance {machine['display_name']}: terminating it"
        )

    def _detach(self, volume: dict[str, Any]) -> None:
        kind = KINDS["volume_attachment"]
        rows = self.account.rows(
            "compute",
            "list_volume_attachments",
            compartment_id=volume["compartment_id"],
            volume_id=volume["id"],
        )
        for row in map(as_dict, rows):
            if row["lifecycle_state"] not in GONE:
                remove(self.account, kind, {}, row, self.wait_seconds)

    def _unroute(self, table: dict[str, Any]) -> None:
        """Empty a route table: a gateway that one leads to cannot be removed."""
        details = build("core", model("core", "UpdateRouteTableDetails"), {"route_rules": []}, "route_table")
        with missing_is_gone():
            self.account.ask("network", "update_route_table", table["id"], details)

    def _strip(self, user: dict[str, Any]) -> None:
        """Take from a user what it cannot be removed with."""
        keys = self.account.rows("identity", "list_customer_secret_keys", user["id"])
        for row in list(keys):
            with missing_is_gone():
                self.account.ask("identity", "delete_customer_secret_key", user["id"], row.id)
        memberships = self.account.rows(
            "identity", "list_user_group_memberships", self.account.tenancy, user_id=user["id"]
        )
        for row in list(memberships):
            with missing_is_gone():
                self.account.ask("identity", "remove_user_from_group", row.id)

    def _empty(self, bucket: dict[str, Any]) -> None:
        """Remove every version of every object, and what else a bucket cannot be removed with."""
        where = (self.account.namespace, bucket["name"])

        def rows(operation: str) -> list[Any]:
            # Pages shift when what they show is removed, so all of them are read first.
            return list(self.account.rows("objects", operation, *where))

        def drop(operation: str, *what: Any, **named: Any) -> None:
            with missing_is_gone():
                self.account.ask("objects", operation, *where, *what, **named)

        for row in rows("list_retention_rules"):
            drop("delete_retention_rule", row.id)
        for row in rows("list_multipart_uploads"):
            drop("abort_multipart_upload", row.object, row.upload_id)
        for row in rows("list_preauthenticated_requests"):
            drop("delete_preauthenticated_request", row.id)
        for row in rows("list_object_versions"):
            drop("delete_object", row.name, version_id=row.version_id)


@contextlib.contextmanager
def missing_is_gone() -> Iterator[None]:
    """Take for removed what is not there: an answer may have been lost, or somebody was quicker."""
    try:
        yield
    except Exception as error:
        if not is_missing(error):
            raise
