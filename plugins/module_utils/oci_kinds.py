"""The kinds of things Atlas makes in Oracle Cloud: one entry a kind, one subclass where a kind is special.

An entry says which client and operations serve it, by which fields it is listed, and what its states mean.
What may be changed afterwards is not written down here: it is the fields of the SDK's model for an update.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.oci_account import TRIES, Account, CloudError, Unsure, is_missing
from ansible.module_utils.oci_models import PENDING, build, differences, fields, model, normal

DYING = frozenset({"TERMINATING", "DELETING", "DETACHING"})
GONE = frozenset({"TERMINATED", "DELETED", "DETACHED"})
BROKEN = frozenset({"FAULTY", "FAILED"})
# How many rules of a security group Oracle takes in one request.
RULES_AT_ONCE = 25
TAG = "atlas"


@dataclass(frozen=True)
class Kind:
    """How one kind is found, made, changed and removed."""

    client: str
    package: str
    # The SDK's word in operations and models: create_vcn, CreateVcnDetails.
    noun: str
    plural: str = ""
    # What people call it by. A name is unique only where Oracle says so.
    named: str = "display_name"
    unique: bool = False
    # Fields of the spec that say where to look.
    listed_by: tuple[str, ...] = ("compartment_id",)
    listed_with: dict[str, Any] = field(default_factory=dict)
    # Fields of the spec that operations take as arguments, before the identity.
    parents: tuple[str, ...] = ()
    # Lists show only a part of each: the whole must be asked for.
    summarised: bool = False
    tagged: bool = True
    # Fields of the spec that are not Oracle's at all.
    local: tuple[str, ...] = ()
    # Of these, what may be left out.
    optional: frozenset[str] = frozenset()
    # Fields that Oracle takes and never shows.
    silent: frozenset[str] = frozenset()
    # Lists in which the order counts.
    ordered: frozenset[str] = frozenset()
    # What the free-tier guard must know: "free" by nature, or the name of what is counted.
    costs: str = "free"

    @property
    def models(self) -> tuple[Any, Any]:
        """Return the SDK's models for creating and for updating."""
        words = "".join(word.capitalize() for word in self.noun.split("_"))
        return (
            model(self.package, f"Create{words}Details"),
            model(self.package, f"Update{words}Details"),
        )

    def details(self, spec: dict[str, Any], where: str, names: Iterable[str] | None = None) -> Any:
        """Make what is sent to create it, or, with the names of fields, to change those."""
        make, change = self.models
        if names is None:
            return build(self.package, make, self._sent(spec), where)
        return build(self.package, change, {name: spec[name] for name in names}, where)

    def lacking(self, spec: dict[str, Any], *, named: bool) -> list[str]:
        """Return the fields that say where it is, or are ours, and are not given."""
        needed = (*self.parents, *self.local, *(() if named else self.listed_by))
        return [name for name in needed if spec.get(name) is None and name not in self.optional]

    def changeable(self) -> frozenset[str]:
        """Return the fields that can be changed afterwards."""
        return frozenset(fields(self.models[1]))

    def find(self, account: Account, spec: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Return all living ones of that name, tagged as ours or not."""
        where = {key: spec.get(key) for key in (*self.parents, *self.listed_by)}
        if PENDING in where.values():
            return []
        found = [
            row
            for row in account.rows(self.client, f"list_{self._plural}", **where, **self.listed_with)
            if getattr(row, self.named) == name and _lives(row)
        ]
        if self.summarised:
            return [self.get(account, spec, row.id) for row in found]
        return [as_dict(row) for row in found]

    def get(self, account: Account, spec: dict[str, Any], identity: str) -> dict[str, Any]:
        """Return one."""
        answer = account.ask(self.client, f"get_{self.noun}", *self._path(spec), identity)
        return as_dict(answer.data)

    def create(
        self, account: Account, spec: dict[str, Any], where: str, token: str | None = None
    ) -> dict[str, Any]:
        """Make one, and return it as Oracle answers: it may not be ready yet.

        What was made with the same token (a random one by default) less than a day ago is not made twice.
        """
        details = self.details(spec, where)
        with_token = {"opc_retry_token": token} if token else {}
        answer = account.ask(self.client, f"create_{self.noun}", *self._path(spec), details, **with_token)
        return as_dict(answer.data)

    def update(
        self,
        account: Account,
        spec: dict[str, Any],
        current: dict[str, Any],
        names: Iterable[str],
        where: str,
    ) -> dict[str, Any]:
        """Change the named fields to what the spec says."""
        answer = account.ask(
            self.client,
            f"update_{self.noun}",
            *self._path(spec),
            current["id"],
            self.details(spec, where, names),
        )
        return as_dict(answer.data)

    def delete(self, account: Account, spec: dict[str, Any], current: dict[str, Any]) -> None:
        """Remove one."""
        account.ask(self.client, f"delete_{self.noun}", *self._path(spec), current["id"])

    def is_meant(self, spec: dict[str, Any], current: dict[str, Any]) -> bool:
        """Say whether what was found is what is to be removed."""
        return True

    def differing(self, spec: dict[str, Any], current: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Return the fields that are not as wanted: (as it is, as it should be)."""
        # As the SDK would send it: a number that a template made text is a number, a date is a date.
        sent = {name: value for name, value in self._sent(spec).items() if value is not None}
        typed = {**sent, **_as_sent(self.details(spec, self.noun), sent)}
        wanted = {name: value for name, value in typed.items() if name not in self.silent}
        found = differences(wanted, current)
        for name in self.ordered & wanted.keys():
            if wanted[name] != current.get(name):
                found[name] = (current.get(name), wanted[name])
        return found

    def _sent(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Return what of a spec belongs to the thing; the rest says where it is, or is ours."""
        known = fields(self.models[0])
        elsewhere = {*self.parents, *self.local, *(name for name in self.listed_by if name not in known)}
        return {name: value for name, value in spec.items() if name not in elsewhere}

    def _path(self, spec: dict[str, Any]) -> list[Any]:
        return [spec[name] for name in self.parents]

    @property
    def _plural(self) -> str:
        return self.plural or f"{self.noun}s"


class Network(Kind):
    """A VCN: whether it has IPv6 is told by its addresses, and decided when it is made."""

    def differing(self, spec: dict[str, Any], current: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Compare; one with IPv6 where none is asked for does no harm."""
        found = super().differing(spec, current)
        if spec.get("is_ipv6_enabled") and not current.get("ipv6_cidr_blocks"):
            found["is_ipv6_enabled"] = (False, True)
        return found


class Volume(Kind):
    """A block volume: it may grow, never shrink."""

    def differing(self, spec: dict[str, Any], current: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Compare.

        Raises CloudError for one that should be smaller, which Oracle would refuse later.
        """
        found = super().differing(spec, current)
        there, wanted = found.get("size_in_gbs", (0, 0))
        if float(wanted) < float(there or 0):
            raise CloudError(
                f"volume {current['display_name']}: a volume cannot be made smaller: it has {there} GB, "
                f"wanted are {wanted}. Put the old size back."
            )
        return found


class Bucket(Kind):
    """A bucket: known by its name in the tenancy's namespace, and updated with POST."""

    def find(self, account: Account, spec: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Return the bucket of that name, wherever in the tenancy it is."""
        try:
            return [self.get(account, spec, name)]
        except Exception as error:
            if is_missing(error):
                return []
            raise

    def get(self, account: Account, spec: dict[str, Any], identity: str) -> dict[str, Any]:
        """Return the bucket; `id` is its name, as operations want it."""
        found = as_dict(account.ask(self.client, "get_bucket", account.namespace, identity).data)
        return {**found, "ocid": found["id"], "id": found["name"]}

    def create(
        self, account: Account, spec: dict[str, Any], where: str, token: str | None = None
    ) -> dict[str, Any]:
        """Make the bucket."""
        details = self.details(spec, where)
        account.ask(self.client, "create_bucket", account.namespace, details)
        return self.get(account, spec, spec["name"])

    def update(
        self,
        account: Account,
        spec: dict[str, Any],
        current: dict[str, Any],
        names: Iterable[str],
        where: str,
    ) -> dict[str, Any]:
        """Change the bucket."""
        wanted = dict(spec)
        if wanted.get("versioning") == "Disabled":
            # What has been on can only be suspended: versions kept until then stay.
            wanted["versioning"] = "Suspended"
        details = self.details(wanted, where, names)
        account.ask(self.client, "update_bucket", account.namespace, current["name"], details)
        return self.get(account, spec, current["name"])

    def delete(self, account: Account, spec: dict[str, Any], current: dict[str, Any]) -> None:
        """Remove an empty bucket."""
        account.ask(self.client, "delete_bucket", account.namespace, current["name"])

    def differing(self, spec: dict[str, Any], current: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Take a suspended versioning for a disabled one."""
        found = super().differing(spec, current)
        if found.get("versioning") == ("Suspended", "Disabled"):
            del found["versioning"]
        return found


class Lifecycle(Kind):
    """The lifecycle policy of a bucket: one, replaced as a whole."""

    @property
    def models(self) -> tuple[Any, Any]:
        """Both are the same."""
        kind = model(self.package, "PutObjectLifecyclePolicyDetails")
        return kind, kind

    def find(self, account: Account, spec: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Return the policy of the bucket."""
        if spec["bucket"] == PENDING:
            return []
        try:
            return [self.get(account, spec, spec["bucket"])]
        except Exception as error:
            if is_missing(error):
                return []
            raise

    def get(self, account: Account, spec: dict[str, Any], identity: str) -> dict[str, Any]:
        """Return the policy."""
        answer = account.ask(self.client, "get_object_lifecycle_policy", account.namespace, spec["bucket"])
        return {**as_dict(answer.data), "id": spec["bucket"]}

    def create(
        self, account: Account, spec: dict[str, Any], where: str, token: str | None = None
    ) -> dict[str, Any]:
        """Put the policy in place."""
        details = self.details(spec, where)
        account.ask(self.client, "put_object_lifecycle_policy", account.namespace, spec["bucket"], details)
        return self.get(account, spec, spec["bucket"])

    def update(
        self,
        account: Account,
        spec: dict[str, Any],
        current: dict[str, Any],
        names: Iterable[str],
        where: str,
    ) -> dict[str, Any]:
        """Put the policy in the place of the other."""
        return self.create(account, spec, where)

    def delete(self, account: Account, spec: dict[str, Any], current: dict[str, Any]) -> None:
        """Remove the policy."""
        account.ask(self.client, "delete_object_lifecycle_policy", account.namespace, spec["bucket"])


class Retention(Kind):
    """A retention rule of a bucket: while it holds, nobody deletes or overwrites an object."""

    def find(self, account: Account, spec: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Return the rules of that name."""
        if spec["bucket"] == PENDING:
            return []
        try:
            rows = list(account.rows(self.client, "list_retention_rules", account.namespace, spec["bucket"]))
        except Exception as error:
            if is_missing(error):
                return []
            raise
        return [as_dict(row) for row in rows if row.display_name == name]


class Rules(Kind):
    """The rules of a network security group, as one set: they have identities and no update."""

    @property
    def models(self) -> tuple[Any, Any]:
        """Both are the same."""
        kind = model(self.package, "AddNetworkSecurityGroupSecurityRulesDetails")
        return kind, kind

    def find(self, account: Account, spec: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Return the set, which is always there when its group is."""
        group = spec["network_security_group_id"]
        return [] if group == PENDING else [self.get(account, spec, group)]

    def get(self, account: Account, spec: dict[str, Any], identity: str) -> dict[str, Any]:
        """Return all rules of the group."""
        rows = account.rows(self.client, "list_network_security_group_security_rules", identity)
        return {"id": identity, "security_rules": [as_dict(row) for row in rows]}

    def create(
        self, account: Account, spec: dict[str, Any], where: str, token: str | None = None
    ) -> dict[str, Any]:
        """Fill the rules of a group."""
        group = spec["network_security_group_id"]
        return self.update(account, spec, self.get(account, spec, group), ["security_rules"], where)

    def update(
        self,
        account: Account,
        spec: dict[str, Any],
        current: dict[str, Any],
        names: Iterable[str],
        where: str,
    ) -> dict[str, Any]:
        """Add what is missing first, then remove what should not be there: nothing is shut in between."""
        group = current["id"]
        missing, surplus = self._sorted_out(spec, current, where)
        tries = TRIES
        while missing:
            details = self.details({"security_rules": missing[:RULES_AT_ONCE]}, where)
            try:
                account.ask(self.client, "add_network_security_group_security_rules", group, details)
                missing = missing[RULES_AT_ONCE:]
            except Unsure:
                tries -= 1
                if not tries:
                    raise
                missing, surplus = self._sorted_out(spec, self.get(account, spec, group), where)
        kind = model(self.package, "RemoveNetworkSecurityGroupSecurityRulesDetails")
        for start in range(0, len(surplus), RULES_AT_ONCE):
            details = kind(security_rule_ids=surplus[start : start + RULES_AT_ONCE])
            account.ask(self.client, "remove_network_security_group_security_rules", group, details)
        return self.get(account, spec, group)

    def differing(self, spec: dict[str, Any], current: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Compare them as a set: one that is asked for twice is there once."""
        return super().differing(spec, current) if any(self._sorted_out(spec, current, self.noun)) else {}

    def _sorted_out(
        self, spec: dict[str, Any], current: dict[str, Any], where: str
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the rules that are missing, and the identities of those that are too many."""
        wanted = list(spec["security_rules"])
        typed = as_dict(self.details({"security_rules": wanted}, where))["security_rules"] or []
        missing = {repr(normal(one)): rule for one, rule in zip(typed, wanted, strict=True)}
        surplus, kept = [], set()
        for rule in current["security_rules"]:
            said = repr(normal(rule))
            if said in missing or said in kept:
                surplus += [rule["id"]] if said in kept else []
                kept.add(said)
                missing.pop(said, None)
            else:
                surplus.append(rule["id"])
        return list(missing.values()), surplus

    def delete(self, account: Account, spec: dict[str, Any], current: dict[str, Any]) -> None:
        """Remove all rules."""
        self.update(account, {**spec, "security_rules": []}, current, [], "")


class Link(Kind):
    """What ties two things together and has no name of its own: it is there, or it is not."""

    def find(self, account: Account, spec: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Return what ties these two."""
        where = {key: spec.get(key) for key in self.listed_by}
        if PENDING in where.values():
            return []
        rows = account.rows(self.client, f"list_{self._plural}", **where)
        return [as_dict(row) for row in rows if _lives(row)]


class Membership(Link):
    """A user in a group."""

    @property
    def models(self) -> tuple[Any, Any]:
        """It cannot be changed."""
        kind = model(self.package, "AddUserToGroupDetails")
        return kind, kind

    def create(
        self, account: Account, spec: dict[str, Any], where: str, token: str | None = None
    ) -> dict[str, Any]:
        """Add the user to the group."""
        return as_dict(account.ask(self.client, "add_user_to_group", self.details(spec, where)).data)

    def delete(self, account: Account, spec: dict[str, Any], current: dict[str, Any]) -> None:
        """Take the user out of the group."""
        account.ask(self.client, "remove_user_from_group", current["id"])

    def differing(self, spec: dict[str, Any], current: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Return nothing: it was found by all it has."""
        return {}


class Attachment(Link):
    """A volume at an instance."""

    @property
    def models(self) -> tuple[Any, Any]:
        """It cannot be changed, but for its name."""
        return model(self.package, "AttachVolumeDetails"), model(
            self.package, "UpdateVolumeAttachmentDetails"
        )

    def find(self, account: Account, spec: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Return what ties these two; a volume that hangs on another machine is not taken from it."""
        found = super().find(account, spec, name)
        if not found and PENDING not in (spec["volume_id"], spec["compartment_id"]):
            rows = account.rows(
                self.client,
                "list_volume_attachments",
                compartment_id=spec["compartment_id"],
                volume_id=spec["volume_id"],
            )
            other = next((row for row in rows if _lives(row)), None)
            if other:
                raise CloudError(
                    f"The volume {spec['volume_id']} is attached to another instance, {other.instance_id}. "
                    f"Atlas "
                    "does not take it away: detach it in Oracle Cloud, then run this again."
                )
        return found

    def create(
        self, account: Account, spec: dict[str, Any], where: str, token: str | None = None
    ) -> dict[str, Any]:
        """Attach the volume."""
        return as_dict(account.ask(self.client, "attach_volume", self.details(spec, where)).data)

    def delete(self, account: Account, spec: dict[str, Any], current: dict[str, Any]) -> None:
        """Detach the volume."""
        account.ask(self.client, "detach_volume", current["id"])

    def differing(self, spec: dict[str, Any], current: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Compare: its type is called otherwise in what is sent than in what is shown; its name is free."""
        found = super().differing(spec, {**current, "type": current.get("attachment_type")})
        found.pop("display_name", None)
        return found


class Assignment(Link):
    """The backup policy of a volume: another policy is another assignment."""

    def find(self, account: Account, spec: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Return the volume's assignment, of whichever policy."""
        if spec["asset_id"] == PENDING:
            return []
        rows = account.rows(self.client, "get_volume_backup_policy_asset_assignment", spec["asset_id"])
        return [as_dict(row) for row in rows]

    def is_meant(self, spec: dict[str, Any], current: dict[str, Any]) -> bool:
        """Say whether it is that policy: another one, its owner has assigned by hand."""
        return bool(spec["policy_id"] == current["policy_id"])

    @property
    def models(self) -> tuple[Any, Any]:
        """Both are the same: an update is another assignment."""
        kind = model(self.package, "CreateVolumeBackupPolicyAssignmentDetails")
        return kind, kind

    def get(self, account: Account, spec: dict[str, Any], identity: str) -> dict[str, Any]:
        """Return the volume's assignment."""
        return self.find(account, spec, "")[0]

    def update(
        self,
        account: Account,
        spec: dict[str, Any],
        current: dict[str, Any],
        names: Iterable[str],
        where: str,
    ) -> dict[str, Any]:
        """Assign the other policy in the place of this."""
        self.delete(account, spec, current)
        return self.create(account, spec, where)


class SecretKey(Kind):
    """A user's key for the S3 protocol. Oracle shows its secret once: it is put into a file at once."""

    def find(self, account: Account, spec: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Return the key of that name, if the file with its secret is here too."""
        kept = _kept(spec["secret_file"])
        if spec["user_id"] == PENDING:
            return []
        rows = account.rows(self.client, "list_customer_secret_keys", spec["user_id"])
        found = [as_dict(row) for row in rows if row.display_name == name and _lives(row)]
        if found and kept not in [row["id"] for row in found]:
            raise CloudError(
                f"The key {name} is there ({found[0]['id']}), but {spec['secret_file']} does not hold its "
                "secret, which Oracle shows only once. Put the file back; or delete the key in Oracle Cloud "
                "(Identity, Users, Customer secret keys) and run this again for a new one: backups fail in "
                "between."
            )
        return [row for row in found if row["id"] == kept]

    def create(
        self, account: Account, spec: dict[str, Any], where: str, token: str | None = None
    ) -> dict[str, Any]:
        """Make the key, and keep its secret; a key whose secret cannot be kept is removed again."""
        details = self.details(spec, where)
        made = account.ask(self.client, "create_customer_secret_key", details, spec["user_id"]).data
        if not made.key:
            # The answer with the secret was lost on its way, and it is not told twice: another key, then.
            account.ask(self.client, "delete_customer_secret_key", spec["user_id"], made.id)
            made = account.ask(self.client, "create_customer_secret_key", details, spec["user_id"]).data
        try:
            if not made.key:
                raise OSError("Oracle did not tell it")  # noqa: TRY301 - as with any that is not to be had
            _keep(spec["secret_file"], {"id": made.id, "key": made.key})
        except OSError as error:
            account.ask(self.client, "delete_customer_secret_key", spec["user_id"], made.id)
            raise CloudError(
                f"{where}: the secret cannot be kept in {spec['secret_file']}: {error}. The key was removed "
                f"again. Make the directory writable, and run this again."
            ) from error
        return {**as_dict(made), "key": None}

    def get(self, account: Account, spec: dict[str, Any], identity: str) -> dict[str, Any]:
        """Return the key, without its secret."""
        rows = account.rows(self.client, "list_customer_secret_keys", spec["user_id"])
        gone = {"id": identity, "lifecycle_state": "DELETED"}
        return next((as_dict(row) for row in rows if row.id == identity), gone)

    def delete(self, account: Account, spec: dict[str, Any], current: dict[str, Any]) -> None:
        """Remove the key; its file goes too."""
        account.ask(self.client, "delete_customer_secret_key", spec["user_id"], current["id"])
        if spec.get("secret_file"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(spec["secret_file"])

    def differing(self, spec: dict[str, Any], current: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Return nothing: it was found by all it has."""
        return {}


class Records(Kind):
    """The records of one name and type in a DNS zone, replaced as a whole."""

    @property
    def models(self) -> tuple[Any, Any]:
        """Both are the same."""
        kind = model(self.package, "UpdateRRSetDetails")
        return kind, kind

    def find(self, account: Account, spec: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Return the records; none is no record. An alias of that name is in the way of all others."""
        found = self.get(account, spec, name)
        if found["items"]:
            return [found]
        alias = self.get(account, {**spec, "type": "CNAME"}, name)["items"]
        if alias:
            raise CloudError(
                f"{name} is an alias (CNAME) of {alias[0]['rdata']}, and can have no record beside that. "
                "It is not overwritten: remove that record if nothing needs it, or choose another name."
            )
        return []

    def get(self, account: Account, spec: dict[str, Any], identity: str) -> dict[str, Any]:
        """Return the records."""
        zone = account.zone(identity, spec.get("zone"))
        try:
            rows = as_dict(account.ask("dns", "get_rr_set", zone, identity, spec["type"]).data)["items"]
        except Exception as error:
            # The zone is there, so it is the records that are not.
            if not is_missing(error):
                raise
            rows = []
        shown = [{name: row[name] for name in ("domain", "rtype", "rdata", "ttl")} for row in rows]
        return {"id": identity, "items": shown}

    def create(
        self, account: Account, spec: dict[str, Any], where: str, token: str | None = None
    ) -> dict[str, Any]:
        """Set the records."""
        name = spec["items"][0]["domain"]
        zone = account.zone(name, spec.get("zone"))
        account.ask("dns", "update_rr_set", zone, name, spec["type"], self.details(spec, where))
        return self.get(account, spec, name)

    def update(
        self,
        account: Account,
        spec: dict[str, Any],
        current: dict[str, Any],
        names: Iterable[str],
        where: str,
    ) -> dict[str, Any]:
        """Set the records in the place of the others."""
        return self.create(account, spec, where)

    def delete(self, account: Account, spec: dict[str, Any], current: dict[str, Any]) -> None:
        """Remove the records."""
        zone = account.zone(current["id"], spec.get("zone"))
        account.ask("dns", "delete_rr_set", zone, current["id"], spec["type"])


def _kind(client: str, package: str, noun: str, **more: Any) -> Kind:
    return Kind(client, package, noun, **more)


IN_VCN = ("compartment_id", "vcn_id")
# In the order in which they are made; the reverse is the order in which they go.
KINDS: dict[str, Kind] = {
    "compartment": _kind("identity", "identity", "compartment", named="name", unique=True),
    "dynamic_group": _kind("identity", "identity", "dynamic_group", named="name", unique=True),
    "user": _kind("identity", "identity", "user", named="name", unique=True),
    "group": _kind("identity", "identity", "group", named="name", unique=True),
    "membership": Membership(
        "identity",
        "identity",
        "user_group_membership",
        listed_by=("compartment_id", "user_id", "group_id"),
        tagged=False,
    ),
    "policy": _kind("identity", "identity", "policy", plural="policies", named="name", unique=True),
    "secret_key": SecretKey(
        "identity",
        "identity",
        "customer_secret_key",
        parents=("user_id",),
        listed_by=(),
        local=("secret_file",),
        tagged=False,
    ),
    "quota": _kind(
        "quotas",
        "limits",
        "quota",
        named="name",
        unique=True,
        summarised=True,
        ordered=frozenset({"statements"}),
    ),
    "budget": _kind("budget", "budget", "budget", listed_with={"target_type": "ALL"}, summarised=True),
    "alert_rule": _kind("budget", "budget", "alert_rule", parents=("budget_id",), listed_by=()),
    "vcn": Network("network", "core", "vcn", silent=frozenset({"is_ipv6_enabled"}), costs="vcn"),
    "internet_gateway": _kind("network", "core", "internet_gateway", listed_by=IN_VCN),
    "route_table": _kind("network", "core", "route_table", listed_by=IN_VCN),
    "security_list": _kind("network", "core", "security_list", listed_by=IN_VCN),
    "network_security_group": _kind("network", "core", "network_security_group", listed_by=IN_VCN),
    "security_rules": Rules(
        "network",
        "core",
        "network_security_group",
        parents=("network_security_group_id",),
        listed_by=(),
        tagged=False,
    ),
    "subnet": _kind("network", "core", "subnet", listed_by=IN_VCN),
    "public_ip": _kind(
        "network", "core", "public_ip", listed_with={"scope": "REGION", "lifetime": "RESERVED"}
    ),
    "bucket": Bucket(
        "objects", "object_storage", "bucket", named="name", unique=True, listed_by=(), costs="bucket"
    ),
    "lifecycle_policy": Lifecycle(
        "objects",
        "object_storage",
        "object_lifecycle_policy",
        parents=("bucket",),
        listed_by=(),
        tagged=False,
    ),
    "retention_rule": Retention(
        "objects",
        "object_storage",
        "retention_rule",
        parents=("namespace", "bucket"),
        listed_by=(),
        tagged=False,
    ),
    "backup_policy": _kind(
        "block",
        "core",
        "volume_backup_policy",
        plural="volume_backup_policies",
        costs="backup_policy",
    ),
    "volume": Volume("block", "core", "volume", costs="volume", silent=frozenset({"backup_policy_id"})),
    "volume_attachment": Attachment(
        "compute",
        "core",
        "volume_attachment",
        listed_by=("compartment_id", "instance_id", "volume_id"),
        tagged=False,
    ),
    "backup_assignment": Assignment(
        "block",
        "core",
        "volume_backup_policy_assignment",
        listed_by=("asset_id",),
        tagged=False,
        costs="backup_assignment",
    ),
    "dns_records": Records(
        "dns",
        "dns",
        "rr_set",
        local=("zone", "type"),
        optional=frozenset({"zone"}),
        listed_by=(),
        tagged=False,
    ),
}


def as_dict(data: Any) -> dict[str, Any]:
    """Return an answer as plain data, with the SDK's names for its fields."""
    import oci  # noqa: PLC0415 - only where it is installed

    return dict(oci.util.to_dict(data))


def _as_sent(details: Any, names: Iterable[str]) -> dict[str, Any]:
    found = as_dict(details)
    return {name: found[name] for name in names if name in found and found[name] is not None}


def is_dying(row: dict[str, Any]) -> bool:
    """Say whether it is on its way out, or gone."""
    return row.get("lifecycle_state") in DYING | GONE


def _lives(row: Any) -> bool:
    return getattr(row, "lifecycle_state", None) not in DYING | GONE


def _kept(path: str) -> str | None:
    """Return the identity of the key whose secret a file holds; None without a file that could be written."""
    try:
        with open(path) as file:
            return str(json.load(file)["id"])
    except FileNotFoundError:
        place = os.path.dirname(os.path.abspath(path))
        while not os.path.exists(place):
            place = os.path.dirname(place)
        if not os.access(place, os.W_OK):
            raise CloudError(f"{path} cannot be made: {place} cannot be written to by this user.") from None
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CloudError(f"{path} cannot be read as the secret it should hold: {error}") from error


def _keep(path: str, secret: dict[str, Any]) -> None:
    os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
    aside = f"{path}.new"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(secret, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
