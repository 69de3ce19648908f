"""DNS: zones and the records in them."""

import ipaddress
import re
from typing import Any

from tests.oci_api import errors
from tests.oci_api.calls import Answer, Call, Kind, handles, many
from tests.oci_api.store import Resource

NAME = re.compile(
    r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE
)
TYPES = {"A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "TLSA", "SSHFP", "ALIAS"}
SERVERS = [f"ns{number}.p68.dns.oraclecloud.net." for number in (1, 2, 3, 4)]


class Zones(Kind):
    """Found by name or by OCID; a name is taken once in the world."""

    def row(self, call: Call) -> Resource:
        return zone(call)

    def refuse_twin(self, call: Call, body: dict[str, Any]) -> None:
        for _ in call.cloud.store.of("dns-zone", name=body["name"].lower().rstrip(".")):
            raise errors.conflict(f"The zone {body['name']} exists already, here or in another tenancy.")


def zone(call: Call) -> Resource:
    wanted = call.path["zoneNameOrId"]
    for row in call.cloud.store.of("dns-zone"):
        if wanted == row.id or wanted.lower().rstrip(".") == row.body["name"]:
            call.cloud.store.look(row)
            return row
    raise errors.not_found(f"There is no zone {wanted}.")


def before_zone(call: Call, body: dict[str, Any]) -> None:
    name = body["name"].lower().rstrip(".")
    if not NAME.fullmatch(name) or "." not in name:
        raise errors.invalid(f"name: {body['name']} is no name of a zone.")
    body.pop("migrationSource", None)
    body |= {
        "name": name,
        "zoneType": body.get("zoneType") or "PRIMARY",
        "scope": body.get("scope") or "GLOBAL",
        "resolutionMode": "STATIC",
        "dnssecState": body.get("dnssecState") or "DISABLED",
        "externalMasters": [],
        "externalDownstreams": [],
        "version": "1",
        "serial": 1,
        "isProtected": False,
        "nameservers": [{"hostname": server.rstrip(".")} for server in SERVERS],
        "zoneTransferServers": [],
    }


def after_zone(call: Call, row: Resource) -> None:
    name = row.body["name"]
    row.body["self"] = f"{call.cloud.endpoint}/20180115/zones/{name}"
    own = f"{SERVERS[0]} hostmaster.{name}. 1 3600 600 604800 1800"
    row.facts["records"] = [record(name, "NS", server, 86400, protected=True) for server in SERVERS] + [
        record(name, "SOA", own, 300, protected=True)
    ]


Zones(
    "dns",
    "dns-zone",
    "zone",
    states=("CREATING", "ACTIVE", "DELETING", "DELETED"),
    unique="name",
    before=before_zone,
    after=after_zone,
    gone_seconds=1,
)


def record(domain: str, rtype: str, rdata: str, ttl: int, *, protected: bool = False) -> dict[str, Any]:
    digest = f"{abs(hash((domain, rtype, rdata))):x}"[:12]
    return {
        "domain": domain,
        "rtype": rtype,
        "rdata": rdata,
        "ttl": ttl,
        "isProtected": protected,
        "recordHash": digest,
        "rrsetVersion": "1",
    }


def check_record(item: dict[str, Any], number: int, domain: str, rtype: str) -> None:
    name = f"items[{number}]"
    if item["domain"].lower().rstrip(".") != domain or item["rtype"].upper() != rtype:
        raise errors.invalid(
            f"{name}: {item['domain']} {item['rtype']} is not of the record set {domain} {rtype}."
        )
    if not 1 <= item["ttl"] <= 604800:
        raise errors.invalid(f"{name}.ttl: {item['ttl']} is not within 1 and 604800 seconds.")
    reader = {"A": ipaddress.IPv4Address, "AAAA": ipaddress.IPv6Address}.get(rtype)
    if reader:
        try:
            reader(item["rdata"])
        except ValueError:
            raise errors.invalid(f"{name}.rdata: {item['rdata']} is no address for {rtype}.") from None
    elif not item["rdata"].strip():
        raise errors.invalid(f"{name}.rdata is empty.")


def named(call: Call, row: Resource) -> tuple[str, str]:
    """The domain and type of the path; the domain is in the zone."""
    domain, rtype = call.path["domain"].lower().rstrip("."), call.path.get("rtype", "").upper()
    inside = domain == row.body["name"] or domain.endswith("." + row.body["name"])
    if not inside or not NAME.fullmatch(domain):
        raise errors.invalid(f"domain: {domain} is not in the zone {row.body['name']}.")
    if rtype and rtype not in TYPES:
        raise errors.invalid(f"rtype: {rtype} is none of {', '.join(sorted(TYPES))}.")
    return domain, rtype


def of_set(row: Resource, domain: str, rtype: str) -> list[dict[str, Any]]:
    return [
        item for item in row.facts["records"] if item["domain"] == domain and rtype in ("", item["rtype"])
    ]


def replace(call: Call, row: Resource, domain: str, rtype: str, items: list[dict[str, Any]]) -> Answer:
    """Put these records in the place of a set's, as a whole."""
    etag = call.header("if-match")
    if etag and etag not in ("*", set_etag(row, domain, rtype)):
        raise errors.stale_etag()
    if any(item["isProtected"] for item in of_set(row, domain, rtype)) and (rtype == "SOA" or not items):
        raise errors.Refused(400, "InvalidParameter", f"The record set {domain} {rtype} is protected.")
    for number, item in enumerate(items):
        check_record(item, number, domain, rtype)
    alone = {item["rtype"] for item in of_set(row, domain, "")} - {rtype}
    if items and ((rtype == "CNAME" and alone) or "CNAME" in alone):
        raise errors.invalid(f"{domain}: a CNAME stands alone, and there is {', '.join(sorted(alone))}.")
    if rtype == "CNAME" and len(items) > 1:
        raise errors.invalid(f"{domain}: a CNAME is one record.")
    kept = [item for item in row.facts["records"] if (item["domain"], item["rtype"]) != (domain, rtype)]
    made = [record(domain, rtype, item["rdata"], item["ttl"]) for item in items]
    row.facts["records"] = kept + made
    row.body |= {"serial": row.body["serial"] + 1, "version": str(row.body["serial"] + 1)}
    row.touch()
    return Answer({"items": made}, 200, {"etag": set_etag(row, domain, rtype)})


def set_etag(row: Resource, domain: str, rtype: str) -> str:
    return f"{domain}-{rtype}-" + "-".join(item["recordHash"] for item in of_set(row, domain, rtype))


@handles("dns.get_rr_set")
def get_set(call: Call) -> Answer:
    row = zone(call)
    domain, rtype = named(call, row)
    return Answer({"items": of_set(row, domain, rtype)}, 200, {"etag": set_etag(row, domain, rtype)})


@handles("dns.update_rr_set")
def put_set(call: Call) -> Answer:
    row = zone(call)
    return replace(call, row, *named(call, row), call.body.get("items") or [])


@handles("dns.patch_rr_set")
def patch_set(call: Call) -> Answer:
    row = zone(call)
    domain, rtype = named(call, row)
    items = [dict(item) for item in of_set(row, domain, rtype)]
    for number, change in enumerate(call.body.get("items") or []):
        same = [item for item in items if change.get("rdata") in (None, item["rdata"])]
        verb = change.get("operation") or "ADD"
        if verb == "REQUIRE" and not same:
            raise errors.invalid(f"items[{number}]: a required record is not there.")
        if verb == "PROHIBIT" and same:
            raise errors.invalid(f"items[{number}]: a prohibited record is there.")
        if verb == "REMOVE":
            items = [item for item in items if item not in same]
        if verb == "ADD":
            if change.get("rdata") is None or change.get("ttl") is None:
                raise errors.missing(f"items[{number}].rdata and ttl", "field")
            added = record(domain, rtype, change["rdata"], change["ttl"])
            items = [item for item in items if item["rdata"] != added["rdata"]] + [added]
    return replace(call, row, domain, rtype, items)


@handles("dns.delete_rr_set")
def delete_set(call: Call) -> Answer:
    row = zone(call)
    replace(call, row, *named(call, row), [])
    return Answer()


@handles("dns.get_domain_records", "dns.get_zone_records")
def records(call: Call) -> Answer:
    row = zone(call)
    found = row.facts["records"] if "domain" not in call.path else of_set(row, named(call, row)[0], "")
    query = call.query
    found = [
        item
        for item in found
        if query.get("rtype", item["rtype"]).upper() == item["rtype"]
        and query.get("domain", item["domain"]).lower().rstrip(".") == item["domain"]
        and query.get("domainContains", "") in item["domain"]
    ]
    answer = many(found, query)
    answer.body = {"items": answer.body}
    return answer
