"""Keep the addresses of one name at Cloudflare as they should be."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cloudflare_records
short_description: Keep the addresses of one name at Cloudflare as they should be
description:
  - Sets the A and AAAA records of a name, through version 4 of Cloudflare's API. Of each of the two types
    that O(addresses) has, the name's records are made to be just these; a record whose address is wrong is
    changed rather than replaced. Records of other types and other names are left alone.
  - A name that is an alias (CNAME), or a zone of its own (NS), is never overwritten.
  - Supports check mode and diff mode.
options:
  token:
    description: An API token with the permissions Zone Read and DNS Edit for the zone.
    type: str
    required: true
  name:
    description: The name, in full.
    type: str
    required: true
  addresses:
    description: IPv4 and IPv6 addresses it leads to.
    type: list
    elements: str
    required: true
  zone:
    description: The zone's name. By default the longest one this token sees that O(name) ends with.
    type: str
  ttl:
    description: Seconds others may remember a record. Cloudflare has a value of its own where it is a proxy.
    type: int
    default: 300
  proxied:
    description: Let Cloudflare stand between the world and the machine, and read what passes.
    type: bool
    default: false
  api:
    description: Where the API is.
    type: str
    default: https://api.cloudflare.com/client/v4
attributes:
  check_mode: {support: full, description: Says what would be done.}
  diff_mode: {support: full, description: Shows the records before and after.}
author: Atlas
"""

EXAMPLES = r"""
- name: Have the name lead to the machine
  cloudflare_records:
    token: "{{ vault_atlas_cloudflare_token }}"
    name: atlas.example.org
    addresses: [203.0.113.10, "2001:db8::10"]
"""

RETURN = r"""
zone:
  description: Name of the zone they stand in.
  returned: success
  type: str
changes:
  description: What was done, one sentence each; also when the task failed half way.
  returned: always
  type: list
  elements: str
  sample: ["made A 203.0.113.10"]
"""

import ipaddress
import json
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

OPTIONS: dict[str, Any] = {
    "token": {"required": True, "no_log": True},
    "name": {"required": True},
    "addresses": {"type": "list", "elements": "str", "required": True},
    "zone": {},
    "ttl": {"type": "int", "default": 300},
    "proxied": {"type": "bool", "default": False},
    "api": {"default": "https://api.cloudflare.com/client/v4"},
}
TIMEOUT = 30
TRIES = 4
SLOWER = 429
BUSY = {500, 502, 503, 504, 520, 521, 522, 523, 524}
LONGEST_PAUSE = 30.0
# What Cloudflare sets where it is a proxy, and calls "automatic".
AUTOMATIC = 1
# Codes of what is wrong with a token: unreadable, unknown, or without the permission.
NO_TOKEN = {6003, 6103, 6111, 9106, 9109, 10000, 1000, 1001}
REFUSED = (
    "Cloudflare does not take the token: {}. It needs the permissions Zone: Read and DNS: Edit for the zone "
    "(Cloudflare: My Profile, API Tokens); put it into the vault as vault_atlas_cloudflare_token."
)


class CloudflareError(Exception):
    """It cannot be done; the message says why, and what to do."""


class Cloudflare:
    """Cloudflare's API, asked with one token."""

    def __init__(self, api: str, token: str) -> None:
        self._api = api.rstrip("/")
        self._token = token

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, **query: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the answer to one request, asked again while Cloudflare is busy.

        Raises CloudflareError.
        """
        for attempt in range(1, TRIES + 1):
            try:
                return self._ask(method, path, body, query)
            except HTTPError as error:
                answer = _json(error.read())
                # What was sent may have been done, unless Cloudflare did not look at it yet.
                again = error.code == SLOWER or (error.code in BUSY and method == "GET")
                if not again or attempt == TRIES:
                    raise CloudflareError(_explain(error.code, answer)) from error
                asked = error.headers.get("retry-after", "")
                pause = float(asked) if asked.isdigit() else 0.5 * 2**attempt
            except (URLError, OSError) as error:
                if method != "GET" or attempt == TRIES:
                    reason = getattr(error, "reason", error)
                    raise CloudflareError(f"{self._api} does not answer: {reason}") from error
                pause = 0.5 * 2**attempt
            time.sleep(min(pause, LONGEST_PAUSE))
        raise AssertionError("unreachable")

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None, query: dict[str, Any]
    ) -> dict[str, Any]:
        answer = open_url(
            f"{self._api}{path}" + (f"?{urlencode(query)}" if query else ""),
            method=method,
            data=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            timeout=TIMEOUT,
            # The token is not for whoever a redirect leads to.
            follow_redirects="none",
        )
        found = _json(answer.read())
        if not found.get("success"):
            raise CloudflareError(_explain(answer.status, found))
        return found

    def rows(self, path: str, **query: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """List everything, page by page."""
        found: list[dict[str, Any]] = []
        page = pages = 1
        while page <= pages:
            answer = self.ask("GET", path, per_page=50, page=page, **query)
            found += answer["result"]
            pages = (answer.get("result_info") or {}).get("total_pages", 1)
            page += 1
        return found

    def zone_of(self, name: str, zone: str | None) -> dict[str, Any]:
        """Return the zone of that name, or the longest one that a name ends with.

        Raises CloudflareError when this token sees none.
        """
        labels = name.split(".")
        candidates = [zone] if zone else [".".join(labels[start:]) for start in range(len(labels) - 1)]
        for candidate in candidates:
            for row in self.rows("/zones", name=candidate):
                if row["name"] == candidate:
                    return row
        raise CloudflareError(
            f"This token sees no zone at Cloudflare for {name} (looked for {', '.join(candidates)}). Add the "
            "domain at Cloudflare first; or let the token see it (My Profile, API Tokens, Zone Resources)."
        )


def keep_records(api: Cloudflare, options: dict[str, Any], done: list[str], *, check: bool) -> dict[str, Any]:
    """Make the records as they should be; what was done is added to `done` as it is done.

    Raises CloudflareError.
    """
    name = options["name"].rstrip(".").lower()
    zone = api.zone_of(name, options["zone"])
    path = f"/zones/{zone['id']}/dns_records"
    there = [row for row in api.rows(path, **{"name.exact": name}) if row["name"].lower() == name]
    for row in there:
        if row["type"] in {"CNAME", "NS"}:
            kind = "an alias (CNAME) of" if row["type"] == "CNAME" else "a zone of its own (NS) at"
            raise CloudflareError(
                f"{name} is {kind} {row['content']} at Cloudflare, and can have no address beside that. "
                "It is not overwritten: remove that record if nothing needs it, or choose another name."
            )
    ttl = AUTOMATIC if options["proxied"] else options["ttl"]
    fields = {"ttl": ttl, "proxied": options["proxied"]}
    steps = []
    before, after = [], []
    for kind, addresses in by_type(options["addresses"]).items():
        rows = [row for row in there if row["type"] == kind]
        wanted = [{"type": kind, "name": name, "content": address, **fields} for address in addresses]
        steps += plan(rows, wanted)
        before += [line(row) for row in rows]
        after += [line(row) for row in wanted]
    for method, identity, body, told in steps:
        if not check:
            api.ask(method, f"{path}/{identity}" if identity else path, body)
        done.append(told)
    result = {
        "changed": bool(steps),
        "zone": zone["name"],
        "diff": {"before": "".join(sorted(before)), "after": "".join(sorted(after))},
    }
    if zone.get("status") not in {None, "active"}:
        servers = " and ".join(zone.get("name_servers") or ["those of Cloudflare"])
        words = (
            f"The zone {zone['name']} is {zone['status']} at Cloudflare: nobody asks it until your registrar"
        )
        result["warnings"] = [f"{words} names {servers} as the domain's name servers."]
    return result


def by_type(addresses: list[str]) -> dict[str, list[str]]:
    """Sort addresses by the type of their record.

    Raises CloudflareError for what is none.
    """
    found: dict[str, list[str]] = {}
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise CloudflareError(f"{text} is no address.") from error
        kept = found.setdefault("A" if address.version == 4 else "AAAA", [])
        if str(address) not in kept:
            kept.append(str(address))
    return found


def plan(
    rows: list[dict[str, Any]], wanted: list[dict[str, Any]]
) -> list[tuple[str, str, dict[str, Any] | None, str]]:
    """Return the requests that make one type's rows those wanted: method, id, body, and a sentence."""
    steps: list[tuple[str, str, dict[str, Any] | None, str]] = []
    kept = {_same(row["content"]): row for row in rows}
    contents = {one["content"] for one in wanted}
    # What is there and not wanted serves for what is missing.
    spare = [row for row in rows if _same(row["content"]) not in contents]
    for one in wanted:
        row = kept.get(one["content"]) or (spare.pop(0) if spare else None)
        if row is None:
            steps.append(("POST", "", one, f"made {one['type']} {one['content']}"))
            continue
        differing = {key: one[key] for key in ("content", "ttl", "proxied") if _differs(row, one, key)}
        if differing:
            told = ", ".join(f"{key} from {row.get(key)} to {value}" for key, value in differing.items())
            steps.append(("PATCH", row["id"], differing, f"changed {one['type']} {row['content']}: {told}"))
    steps += [("DELETE", row["id"], None, f"removed {row['type']} {row['content']}") for row in spare]
    return steps


def line(row: dict[str, Any]) -> str:
    """Return a record as a line of a zone file."""
    proxied = " ; proxied" if row.get("proxied") else ""
    return f"{row['name']}. {row['ttl']} IN {row['type']} {row['content']}{proxied}\n"


def _differs(row: dict[str, Any], wanted: dict[str, Any], key: str) -> bool:
    return (_same(row[key]) if key == "content" else row.get(key)) != wanted[key]


def _same(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


def _json(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _explain(status: int, answer: dict[str, Any]) -> str:
    errors = [one for one in answer.get("errors") or [] if isinstance(one, dict)]
    errors += [inner for one in errors for inner in one.get("error_chain") or []]
    said = "; ".join(f"{one.get('message')} (code {one.get('code')})" for one in errors) or f"HTTP {status}"
    if status in {401, 403} or NO_TOKEN & {one.get("code") for one in errors}:
        return REFUSED.format(said)
    return f"Cloudflare refuses: {said} (HTTP {status})"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(OPTIONS, supports_check_mode=True)
    done: list[str] = []
    try:
        api = Cloudflare(module.params["api"], module.params["token"])
        result = keep_records(api, module.params, done, check=module.check_mode)
    except CloudflareError as error:
        told = f" Done before that: {'; '.join(done)}." if done else " Nothing was changed."
        module.fail_json(msg=f"{str(error).rstrip('.')}.{told}", changes=done, changed=bool(done))
    for words in result.pop("warnings", []):
        module.warn(words)
    module.exit_json(changes=done, **result)


if __name__ == "__main__":
    main()
