"""The metadata service of a machine, and the federation that gives it a token for what it is.

One machine is served: `cloud.metadata.instance` (an OCID), or the newest one.
"""

import base64
import datetime as dt
import json
from email.message import Message
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from tests.oci_api import errors, signing
from tests.oci_api.calls import Answer
from tests.oci_api.errors import Refused
from tests.oci_api.identity import REGIONS
from tests.oci_api.store import Resource

if TYPE_CHECKING:
    from tests.oci_api.server import FakeOci

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host")


class Metadata:
    """What a machine is told of itself, and the certificates it proves it with."""

    def __init__(self, cloud: "FakeOci") -> None:
        self.cloud = cloud
        self.instance = ""
        self.seconds = 7200.0  # how long a leaf certificate is good for
        self._authority: tuple[x509.Certificate, rsa.RSAPrivateKey] | None = None
        self._leaves: dict[str, tuple[x509.Certificate, rsa.RSAPrivateKey]] = {}

    def row(self) -> Resource | None:
        if self.instance:
            return self.cloud.store.find(self.instance, "instance")
        rows = [row for row in self.cloud.store.of("instance") if not row.is_going]
        return max(rows, key=lambda row: str(row.body["timeCreated"]), default=None)

    # Certificates

    def authority(self) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
        """The intermediate certificate that vouches for machines."""
        if self._authority is None:
            key = signing.new_key()
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "PKISVC Identity Intermediate")])
            self._authority = self._sign(name, name, key, key), key
        return self._authority

    def leaf(self, row: Resource) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
        """The machine's certificate and key; a new pair when the old one is about to expire."""
        known = self._leaves.get(row.id)
        if known is None or known[0].not_valid_after_utc < self.cloud.now() + dt.timedelta(seconds=60):
            issuer, authority = self.authority()
            key = signing.new_key()
            words = ("instance", f"instance:{row.id}", f"compartment:{row.body['compartmentId']}")
            parts = [f"opc-{word}" if ":" in word else f"opc-certtype:{word}" for word in words]
            parts.append(f"opc-tenant:{self.cloud.tenancy}")
            name = x509.Name(
                [
                    x509.NameAttribute(NameOID.COMMON_NAME, row.id[-60:]),
                    *(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, part) for part in parts),
                ]
            )
            self._leaves[row.id] = known = self._sign(name, issuer.subject, key, authority), key
        return known

    def _sign(
        self, subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, authority: rsa.RSAPrivateKey
    ) -> x509.Certificate:
        now = self.cloud.now()
        builder = x509.CertificateBuilder(
            issuer,
            subject,
            key.public_key(),
            x509.random_serial_number(),
            now - dt.timedelta(minutes=5),
            now + dt.timedelta(seconds=self.seconds),
        )
        return builder.sign(authority, hashes.SHA256())

    # The service

    def answer(self, path: str, headers: Message) -> Answer:
        """As 169.254.169.254 answers: `/opc/v2/...` with a header, `/opc/v1/...` unless switched off."""
        row = self.row()
        if row is None or self.cloud.misbehave.metadata_down:
            return text("Not Found", 404)
        version, _, rest = path.removeprefix("/opc/").partition("/")
        if version == "v1" and row.body["instanceOptions"]["areLegacyImdsEndpointsDisabled"]:
            return text("Not Found", 404)
        if version == "v2":
            if headers.get("Authorization") != "Bearer Oracle":
                return text("Unauthorized", 401)
            if any(headers.get(name) for name in FORWARDED):
                return text("Forbidden", 403)
        elif version != "v1":
            return text("Not Found", 404)
        return self.named(row, [part for part in rest.split("/") if part])

    def named(self, row: Resource, parts: list[str]) -> Answer:
        if parts[:1] == ["identity"]:
            return self.identity(row, parts[1:])
        value: Any = {"instance": self.about(row), "vnics": self.vnics(row)}
        for part in parts:
            if isinstance(value, list):
                value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
            else:
                value = value.get(part) if isinstance(value, dict) else None
        if value is None or not parts:
            return text("Not Found", 404)
        return Answer(value, 200) if isinstance(value, dict | list) else text(str(value), 200)

    def identity(self, row: Resource, parts: list[str]) -> Answer:
        certificate, key = self.leaf(row)
        pem = serialization.Encoding.PEM
        found = {
            "cert.pem": certificate.public_bytes(pem),
            "intermediate.pem": self.authority()[0].public_bytes(pem),
            "key.pem": signing.private_pem(key),
        }.get("/".join(parts))
        return text("Not Found", 404) if found is None else text(found.decode(), 200)

    def about(self, row: Resource) -> dict[str, Any]:
        same = (
            "availabilityDomain",
            "faultDomain",
            "compartmentId",
            "displayName",
            "id",
            "shape",
        )
        config = row.body["shapeConfig"]
        return {
            **{name: row.body[name] for name in same},
            # Here it is a number of milliseconds, as nowhere else.
            "timeCreated": int(dt.datetime.fromisoformat(row.body["timeCreated"]).timestamp() * 1000),
            "hostname": row.body["displayName"],
            "image": row.body.get("imageId"),
            "metadata": row.body["metadata"],
            "region": REGIONS.get(self.cloud.region, self.cloud.region).lower(),
            "canonicalRegionName": self.cloud.region,
            "ociAdName": row.body["availabilityDomain"].split(":")[-1].lower(),
            "regionInfo": {
                "realmKey": "oc1",
                "realmDomainComponent": "oraclecloud.com",
                "regionKey": REGIONS.get(self.cloud.region, self.cloud.region),
                "regionIdentifier": self.cloud.region,
            },
            "shapeConfig": {
                name: config[name]
                for name in ("ocpus", "memoryInGBs", "networkingBandwidthInGbps", "maxVnicAttachments")
            },
            "state": row.state.capitalize(),
            "tenantId": self.cloud.tenancy,
            "agentConfig": row.body["agentConfig"],
            "freeformTags": row.body["freeformTags"],
            "definedTags": row.body["definedTags"],
        }

    def vnics(self, row: Resource) -> list[dict[str, Any]]:
        found = []
        for vnic in self.cloud.store.of("vnic"):
            if vnic.facts.get("instance") == row.id:
                subnet = self.cloud.store.get(vnic.body["subnetId"], "subnet").body
                found.append(
                    {
                        "vnicId": vnic.id,
                        "privateIp": vnic.body["privateIp"],
                        "macAddr": vnic.body["macAddress"],
                        "virtualRouterIp": subnet["virtualRouterIp"],
                        "subnetCidrBlock": subnet["cidrBlock"],
                        "vlanTag": 100,
                        "nicIndex": 0,
                    }
                )
        return found

    # Federation

    def federate(self, method: str, target: str, headers: Message, body: bytes) -> Answer:
        """A token for a machine that proves it has the leaf's key; the session's key signs from then on."""
        try:
            return self._federate(method, target, headers, body)
        except Refused as refusal:
            return Answer({"code": refusal.code, "message": refusal.message}, refusal.status)

    def _federate(self, method: str, target: str, headers: Message, body: bytes) -> Answer:
        trouble = self.cloud.misbehave.federation
        if method != "POST" or trouble == "refused":
            raise errors.not_authenticated(signing.WRONG)
        try:
            wanted = json.loads(body)
            leaf = x509.load_der_x509_certificate(base64.b64decode(wanted["certificate"]))
            session = serialization.load_der_public_key(base64.b64decode(wanted["publicKey"]))
        except (KeyError, TypeError, ValueError) as error:
            raise errors.unparsable(f"certificate and publicKey must be base64 of DER: {error}") from None
        row = self.vouched(leaf)
        parts = signing.parse(headers.get("Authorization") or "")
        print_ = leaf.fingerprint(hashes.SHA1()).hex(":").upper()
        if parts.get("keyId") != f"{self.cloud.tenancy}/fed-x509/{print_}":
            raise errors.not_authenticated(f"{signing.WRONG} keyId is not that of the certificate.")
        key = leaf.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        assert isinstance(session, rsa.RSAPublicKey)
        needed = {"date", "(request-target)", *signing.WITH_BODY}
        signing.check(self.cloud.clock(), parts, key, method, target, headers, body, needed)
        return Answer({"token": self.token(row, session, trouble)}, 200)

    def vouched(self, leaf: x509.Certificate) -> Resource:
        """The machine the certificate is of; it must be issued here and be good now."""
        _, authority = self.authority()
        try:
            authority.public_key().verify(
                leaf.signature, leaf.tbs_certificate_bytes, padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            raise errors.not_authenticated(f"{signing.WRONG} The certificate is not of this cloud.") from None
        if not leaf.not_valid_before_utc <= self.cloud.now() <= leaf.not_valid_after_utc:
            raise errors.not_authenticated(f"{signing.WRONG} The certificate has expired.")
        words = [str(part.value) for part in leaf.subject]
        ocid = next((word.split(":", 1)[1] for word in words if word.startswith("opc-instance:")), "")
        row = self.cloud.store.find(ocid, "instance")
        if row is None or row.is_gone:
            raise errors.not_authenticated(f"{signing.WRONG} The instance is not there.")
        return row

    def token(self, row: Resource, session: rsa.RSAPublicKey, trouble: str) -> str:
        """A token, or (`cloud.misbehave.federation`) one that is expired, unknown or no token at all."""
        if trouble == "garbage":
            return "no.token.atall"
        seconds = -60.0 if trouble == "expired" else self.cloud.misbehave.token_seconds
        principal = signing.Principal(self.cloud.tenancy, "", row.id)
        token = self.cloud.keys.issue(principal, session, dt.timedelta(seconds=seconds))
        if trouble == "unknown":
            del self.cloud.keys.sessions[token]
        return token


def text(words: str, status: int) -> Answer:
    return Answer(words.encode(), status, {"content-type": "text/plain"})
