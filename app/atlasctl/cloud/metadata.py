"""Who this machine is in Oracle Cloud, by its metadata service (version 2)."""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from atlasctl.cloud.wire import Answer, exchange
from atlasctl.trouble import Trouble
from atlasctl.web import NoAnswerError

#: The service is a step away: who does not answer at once is not there.
PROBE_SECONDS = 2
SECONDS = 10
HEADERS = {"authorization": "Bearer Oracle"}
DOMAIN = "oraclecloud.com"


class Machine(NamedTuple):
    """This instance: OCIDs, where it is, and what it has."""

    id: str
    tenancy: str
    compartment: str
    region: str
    domain: str
    shape: str
    ocpus: float
    memory_gb: float
    network_gbps: float
    created: datetime
    vnics: tuple[str, ...]

    @property
    def is_a1(self) -> bool:
        """Whether it is of the Arm shape whose hours are counted."""
        return ".A1." in self.shape


class Certificates(NamedTuple):
    """What the machine proves with who it is, all PEM."""

    leaf: str
    key: str
    intermediate: str


def read_machine(base: str) -> Machine:
    """Ask the metadata service who we are; raises Trouble at once when there is none."""
    try:
        answer = exchange("GET", f"{base}/instance/", headers=HEADERS, timeout=PROBE_SECONDS)
    except NoAnswerError as error:
        raise Trouble(
            f"This machine is not in Oracle Cloud, or its metadata service is blocked: {base}: {error}."
        ) from None
    said = _object(base, answer)
    try:
        return _machine(said, _vnics(base))
    except (ValueError, TypeError, AttributeError) as error:
        raise Trouble(f"The metadata service answers in a form nobody expected: {base}: {error}") from None


def read_certificates(base: str) -> Certificates:
    """Fetch the machine's certificates; they change every few hours, so nothing keeps them."""
    return Certificates(*(_get(f"{base}/identity/{name}.pem") for name in ("cert", "key", "intermediate")))


def _vnics(base: str) -> tuple[str, ...]:
    found = json.loads(_get(f"{base}/vnics/") or "[]")
    return tuple(str(one["vnicId"]) for one in found if isinstance(one, dict) and "vnicId" in one)


def _get(url: str) -> str:
    try:
        answer = exchange("GET", url, headers=HEADERS, timeout=SECONDS)
    except NoAnswerError as error:
        raise Trouble(f"The metadata service does not answer: {url}: {error}.") from None
    if answer.status != 200:
        raise Trouble(f"The metadata service answers {answer.status} for {url}.")
    return answer.body.decode("utf-8", "replace")


def _object(base: str, answer: Answer) -> dict[str, Any]:
    try:
        value = json.loads(answer.body)
    except ValueError:
        value = None
    if answer.status != 200 or not isinstance(value, dict) or not str(value.get("id")).startswith("ocid1."):
        raise Trouble(
            f"This machine is not in Oracle Cloud: {base} answers {answer.status}, and not as Oracle does."
        )
    return value


def _machine(said: dict[str, Any], vnics: tuple[str, ...]) -> Machine:
    shape = said.get("shapeConfig") or {}
    region = said.get("regionInfo") or {}
    created = datetime.fromtimestamp(float(said.get("timeCreated") or 0) / 1000, UTC)
    return Machine(
        id=said["id"],
        tenancy=str(said.get("tenantId", "")),
        compartment=str(said.get("compartmentId", "")),
        # `region` may be a short name of old, such as fra; endpoints want the long one.
        region=str(
            region.get("regionIdentifier") or said.get("canonicalRegionName") or said.get("region", "")
        ),
        domain=str(region.get("realmDomainComponent") or DOMAIN),
        shape=str(said.get("shape", "")),
        ocpus=float(shape.get("ocpus") or 0),
        memory_gb=float(shape.get("memoryInGBs") or 0),
        network_gbps=float(shape.get("networkingBandwidthInGbps") or 0),
        created=created,
        vnics=vnics,
    )
