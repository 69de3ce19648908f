"""Always Free: what it gives, and a guard that refuses, before it is sent, what would go beyond it.

Oracle's budgets only send mails, once a day. So the sums are made here, over all compartments of the
tenancy: what lives already, what this run has planned so far, and the one thing asked for now.
Source of the limits: docs.oracle.com/en-us/iaas/Content/FreeTier/freetier_topic-Always_Free_Resources.htm as
of October 2026 (A1: 1,500 OCPU hours and 9,000 GB hours a month, which is 2 OCPUs and 12 GB all month).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ansible.module_utils.oci_account import Account, CloudError

# OCPUs, GB, GB, volume backups, networks, machines, GB, volume performance units a GB.
LIMITS: dict[str, float] = {
    "a1_ocpus": 2,
    "a1_memory_gb": 12,
    "micro_instances": 2,
    "volumes_gb": 200,
    "volume_backups": 5,
    "vcns": 2,
    "objects_gb": 20,
    "volume_vpus_per_gb": 10,
}
A1 = "VM.Standard.A1.Flex"
MICRO = "VM.Standard.E2.1.Micro"
# GB of a boot volume that nobody set a size for.
BOOT_GB = 50
# What takes a machine's place in the sums: one that is stopped keeps its volumes, and may be started.
ALIVE = {"PROVISIONING", "STARTING", "RUNNING", "STOPPING", "STOPPED", "CREATING_IMAGE", "MOVING"}
VOLUME_ALIVE = {"PROVISIONING", "RESTORING", "AVAILABLE"}
BACKUP_ALIVE = {"REQUEST_RECEIVED", "CREATING", "AVAILABLE"}
ANYWAY = "Set allow_paid: true (oci_allow_paid) to make it and pay."
PERIODS = {"ONE_HOUR": 3600, "ONE_DAY": 86400, "ONE_WEEK": 604800, "ONE_MONTH": 2592000, "ONE_YEAR": 31536000}


class Guard:
    """Adds up what there is, once and only when something counted is asked for."""

    def __init__(
        self, account: Account, *, allow_paid: bool = False, limits: dict[str, float] | None = None
    ) -> None:
        """Take the limits; `limits` replaces some of them, for an account Oracle gave others."""
        unknown = sorted(set(limits or {}) - LIMITS.keys())
        if unknown:
            raise CloudError(
                f"free_limits: {', '.join(unknown)}: no such limit. Valid are: {', '.join(LIMITS)}."
            )
        self.account = account
        self.allow_paid = allow_paid
        self.limits = {**LIMITS, **{name: _amount(name, value) for name, value in (limits or {}).items()}}
        self.planned = dict.fromkeys(LIMITS, 0.0)
        self._sums: dict[str, float] = {}

    def check(
        self, costs: str, spec: dict[str, Any], where: str, current: dict[str, Any] | None = None
    ) -> None:
        """Check what a resource of a kind would add.

        Raises CloudError with the sum, the limit and what to do.
        """
        if self.allow_paid:
            return
        checks: dict[str, Callable[[dict[str, Any], str, dict[str, Any] | None], None]] = {
            "free": lambda *_: None,
            "vcn": self._vcn,
            "volume": self._volume,
            "bucket": self._bucket,
            "backup_policy": self._backup_policy,
            "backup_assignment": lambda *_: None,
        }
        self.home(where)
        checks[costs](spec, where, current)

    def home(self, where: str) -> None:
        """Refuse everything outside the home region: nothing is free there."""
        if not self.allow_paid and self.account.region != self.account.home_region:
            raise CloudError(
                f"{where}: {self.account.region} is not this account's home region. Always Free is only in "
                f"{self.account.home_region}: set region to it. {ANYWAY}"
            )

    def instance(
        self,
        shape: Any,
        ocpus: float,
        memory_gb: float,
        boot_gb: float,
        where: str,
    ) -> None:
        """Check a machine that is to be launched: its shape as Oracle describes it, and its sizes."""
        if self.allow_paid:
            return
        self.home(where)
        if shape.billing_type == "PAID" or shape.shape not in {A1, MICRO}:
            raise CloudError(
                f"{where}: the shape {shape.shape} costs money ({shape.billing_type}). Free are {A1} and "
                f"{MICRO}. {ANYWAY}"
            )
        if shape.shape == A1:
            self._add("a1_ocpus", ocpus, "OCPUs of A1", where)
            self._add("a1_memory_gb", memory_gb, "GB of A1's memory", where)
        else:
            self._add("micro_instances", 1, f"machines of shape {MICRO}", where)
        self._add("volumes_gb", boot_gb, "GB of volumes, boot volumes among them", where)

    def resize(
        self, shape: str, ocpus: float, memory_gb: float, before: tuple[float, float], where: str
    ) -> None:
        """Check a machine that is to be given more."""
        if self.allow_paid:
            return
        if shape != A1 and (ocpus > before[0] or memory_gb > before[1]):
            raise CloudError(f"{where}: more of the shape {shape} costs money. {ANYWAY}")
        self._add("a1_ocpus", max(0.0, ocpus - before[0]), "OCPUs of A1", where)
        self._add("a1_memory_gb", max(0.0, memory_gb - before[1]), "GB of A1's memory", where)

    def _vcn(self, spec: dict[str, Any], where: str, current: dict[str, Any] | None) -> None:
        if current is None:
            self._add("vcns", 1, "networks", where)

    def _volume(self, spec: dict[str, Any], where: str, current: dict[str, Any] | None) -> None:
        wanted = float(spec.get("size_in_gbs") or (current or {}).get("size_in_gbs") or 1024)
        more = wanted - float((current or {}).get("size_in_gbs") or 0)
        if more > 0:
            self._add("volumes_gb", more, "GB of volumes, boot volumes among them", where)
        units = spec.get("vpus_per_gb")
        if units is not None and float(units) > self.limits["volume_vpus_per_gb"]:
            raise CloudError(
                f"{where}: {units} performance units a GB; more than {self.limits['volume_vpus_per_gb']:.0f} "
                f"(Balanced) may cost money. {ANYWAY}"
            )

    def _bucket(self, spec: dict[str, Any], where: str, current: dict[str, Any] | None) -> None:
        there, limit = self.used("objects_gb"), self.limits["objects_gb"]
        if current is None and there > limit:
            raise CloudError(
                f"{where}: {there:g} GB of objects are in use anywhere in this account, and {limit:g} are "
                f"free. Remove what is not needed. {ANYWAY}"
            )

    def _backup_policy(self, spec: dict[str, Any], where: str, current: dict[str, Any] | None) -> None:
        kept, before = _kept(spec), _kept(current or {})
        if kept > self.limits["volume_backups"]:
            raise CloudError(
                f"{where}: it would keep {kept} backups at once; {self.limits['volume_backups']:.0f} volume "
                f"backups are free in the whole account. Keep fewer. {ANYWAY}"
            )
        if kept > before:
            self._add("volume_backups", kept - before, "volume backups", where)

    def _add(self, name: str, more: float, what: str, where: str) -> None:
        there, limit = self.used(name), self.limits[name]
        total = there + self.planned[name] + more
        if total > limit:
            planned = f", {self.planned[name]:g} planned by this run" if self.planned[name] else ""
            raise CloudError(
                f"{where}: {more:g} more would make {total:g} {what}, and {limit:g} are free ({there:g} are "
                f"in use{planned}, anywhere in this account). Make it smaller, or remove what is not needed. "
                f"{ANYWAY}"
            )
        self.planned[name] += more

    def used(self, name: str) -> float:
        """Return how much of a limit is in use in the whole tenancy; asked for once, when it is needed."""
        if name not in self._sums:
            self._sums |= USED[name](self.account)
        return self._sums[name]


def _amount(name: str, value: object) -> float:
    try:
        found = float(str(value))
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise CloudError(f"free_limits: {name} is {value!r}, not a number from 0.")
    return found


def _kept(policy: dict[str, Any]) -> int:
    """Return how many backups of a volume a policy has at once."""
    schedules = policy.get("schedules") or []
    return sum(-(-int(one["retention_seconds"]) // PERIODS.get(one["period"], 3600)) for one in schedules)


def _machines(account: Account) -> dict[str, float]:
    sums = {"a1_ocpus": 0.0, "a1_memory_gb": 0.0, "micro_instances": 0.0}
    for compartment in account.compartments():
        for instance in _living(account.rows("compute", "list_instances", compartment), ALIVE):
            if instance.shape == A1:
                sums["a1_ocpus"] += instance.shape_config.ocpus or 0
                sums["a1_memory_gb"] += instance.shape_config.memory_in_gbs or 0
            sums["micro_instances"] += instance.shape == MICRO
    return sums


def _volumes(account: Account) -> dict[str, float]:
    total = 0.0
    for compartment in account.compartments():
        for operation in ("list_volumes", "list_boot_volumes"):
            rows = account.rows("block", operation, compartment_id=compartment)
            total += sum(row.size_in_gbs or 0 for row in _living(rows, VOLUME_ALIVE))
    return {"volumes_gb": total}


def _backups(account: Account) -> dict[str, float]:
    total = 0
    for compartment in account.compartments():
        for operation in ("list_volume_backups", "list_boot_volume_backups"):
            total += sum(1 for _ in _living(account.rows("block", operation, compartment), BACKUP_ALIVE))
    return {"volume_backups": float(total)}


def _networks(account: Account) -> dict[str, float]:
    rows = (row for one in account.compartments() for row in account.rows("network", "list_vcns", one))
    return {"vcns": float(sum(row.lifecycle_state != "TERMINATED" for row in rows))}


def _objects(account: Account) -> dict[str, float]:
    total = 0.0
    for compartment in account.compartments():
        for row in account.rows("objects", "list_buckets", account.namespace, compartment):
            named = {"fields": ["approximateSize"]}
            bucket = account.ask("objects", "get_bucket", account.namespace, row.name, **named).data
            total += (bucket.approximate_size or 0) / 1e9
    return {"objects_gb": total}


USED: dict[str, Callable[[Account], dict[str, float]]] = {
    "a1_ocpus": _machines,
    "a1_memory_gb": _machines,
    "micro_instances": _machines,
    "volumes_gb": _volumes,
    "volume_backups": _backups,
    "vcns": _networks,
    "objects_gb": _objects,
}


def _living(rows: Iterable[Any], states: set[str]) -> Iterable[Any]:
    return (row for row in rows if row.lifecycle_state in states)
