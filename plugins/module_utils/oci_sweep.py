"""Find everything of ours in Oracle Cloud, and remove it in the order in which it lets itself be removed.

Only what carries our tag is touched: also in our own compartment there may be things somebody else put there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.oci_account import Account, CloudError, explain, is_missing
from ansible.module_utils.oci_kinds import KINDS, TAG, as_dict, is_dying
from ansible.module_utils.oci_models import build, model
from ansible.module_utils.oci_state import remove

# In the order in which they go: what others hang on comes later.
IN_COMPARTMENT = (
    "volume",
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
# What holds data.
DATA = ("boot_volume", "volume", "bucket")
# Seconds for what was removed a moment ago to stop being in the way of the next.
PATIENCE = 120.0


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

    def find(self) -> list[Found]:
        """Return all that is ours, in the order in which it goes."""
        found: list[Found] = []
        compartments = list(self._rows("compartment", self.account.tenancy))
        for compartment in compartments:
            found += [Found("instance", row) for row in self._machines(compartment["id"])]
            for name in IN_COMPARTMENT:
                found += [Found(name, row) for row in self._rows(name, compartment["id"])]
            found += [Found("boot_volume", row) for row in self._boot_volumes(compartment["id"])]
        for name in IN_TENANCY:
            found += [Found(name, row) for row in self._rows(name, self.account.tenancy)]
        return found + [Found("compartment", row) for row in compartments]

    def stays(self, one: Found, found: list[Found]) -> bool:
        """Say whether a thing stays: because it holds data, or for the sake of something that does."""
        if one.kind == "backup_policy":
            return "volume" in self.keep and any(other.kind == "volume" for other in found)
        if one.kind == "compartment":
            return any(
                other.kind in self.keep and other.row.get("compartment_id") == one.row["id"]
                for other in found
            )
        return one.kind in self.keep

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
                if one.kind == "compartment" and getattr(error, "status", None) == 409:
                    self.kept.append(f"{one.name}, in which there is something that is not ours")
                    continue
                raise CloudError(explain(error, f"{one.name}: removing it")) from error
            self.removed.append(one.name)

    def _clear(self, one: Found) -> None:
        special: dict[str, Callable[[dict[str, Any]], None]] = {
            "instance": self._terminate,
            "boot_volume": self._delete_boot_volume,
            "bucket": self._empty,
            "route_table": self._unroute,
            "user": self._strip,
            "volume": self._detach,
        }
        if one.kind in special:
            special[one.kind](one.row)
        if one.kind not in ("instance", "boot_volume"):
            patience = min(PATIENCE, self.wait_seconds)
            remove(self.account, KINDS[one.kind], {}, one.row, self.wait_seconds, patience=patience)

    def _rows(self, name: str, compartment: str) -> Iterator[dict[str, Any]]:
        """Return what is ours of a kind; one that only the list shows in part is asked for whole."""
        kind = KINDS[name]
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
        for row in self.account.rows("compute", "list_instances", compartment):
            if self._is_ours(as_dict(row)):
                yield as_dict(row)

    def _boot_volumes(self, compartment: str) -> Iterator[dict[str, Any]]:
        """Return boot volumes that are ours: they carry the tag of the machine, given when it goes."""
        for row in self.account.rows("block", "list_boot_volumes", compartment_id=compartment):
            if self._is_ours(as_dict(row)):
                yield as_dict(row)

    def _terminate(self, machine: dict[str, Any]) -> None:
        """Terminate a machine, and wait: its network card holds the subnet until it is gone."""
        compartment = machine["compartment_id"]
        attached = self.account.rows(
            "compute",
            "list_boot_volume_attachments",
            machine["availability_domain"],
            compartment,
            instance_id=machine["id"],
        )
        preserve = "boot_volume" in self.keep
        if preserve:
            for row in attached:
                # Without the tag nobody would know later whose it was.
                tags = model("core", "UpdateBootVolumeDetails")(freeform_tags={TAG: self.owner})
                self.account.ask("block", "update_boot_volume", row.boot_volume_id, tags)
                self.kept.append(f"boot volume {row.boot_volume_id} of {machine['display_name']}")
        self.account.ask("compute", "terminate_instance", machine["id"], preserve_boot_volume=preserve)

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

    def _delete_boot_volume(self, volume: dict[str, Any]) -> None:
        try:
            self.account.ask("block", "delete_boot_volume", volume["id"])
        except Exception as error:
            # It was listed before its machine took it along.
            if not is_missing(error):
                raise

    def _detach(self, volume: dict[str, Any]) -> None:
        kind = KINDS["volume_attachment"]
        rows = self.account.rows(
            "compute",
            "list_volume_attachments",
            compartment_id=volume["compartment_id"],
            volume_id=volume["id"],
        )
        for row in map(as_dict, rows):
            if not is_dying(row):
                remove(self.account, kind, {}, row, self.wait_seconds)

    def _unroute(self, table: dict[str, Any]) -> None:
        """Empty a route table: a gateway that one leads to cannot be removed."""
        details = build("core", model("core", "UpdateRouteTableDetails"), {"route_rules": []}, "route_table")
        self.account.ask("network", "update_route_table", table["id"], details)

    def _strip(self, user: dict[str, Any]) -> None:
        """Take from a user what it cannot be removed with."""
        for row in self.account.rows("identity", "list_customer_secret_keys", user["id"]):
            self.account.ask("identity", "delete_customer_secret_key", user["id"], row.id)
        for row in self.account.rows(
            "identity", "list_user_group_memberships", self.account.tenancy, user_id=user["id"]
        ):
            self.account.ask("identity", "remove_user_from_group", row.id)

    def _empty(self, bucket: dict[str, Any]) -> None:
        """Remove every version of every object, and uploads that were never finished."""
        where = (self.account.namespace, bucket["name"])
        for row in self.account.rows("objects", "list_multipart_uploads", *where):
            self.account.ask("objects", "abort_multipart_upload", *where, row.object, row.upload_id)
        for row in list(self.account.rows("objects", "list_object_versions", *where)):
            self.account.ask("objects", "delete_object", *where, row.name, version_id=row.version_id)
