"""Object Storage: objects and their versions, and uploads in parts."""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.oci_api import errors
from tests.oci_api.buckets import bucket
from tests.oci_api.calls import Answer, Call, handles, many
from tests.oci_api.store import Resource

TIERS = ("Standard", "InfrequentAccess", "Archive")
KEPT = ("content-type", "content-language", "content-encoding", "content-disposition", "cache-control")


@dataclass
class Version:
    """One state of an object. A marker says that it was deleted; only a versioned bucket has those."""

    name: str
    data: bytes
    made: str
    md5: str = ""
    tier: str = "Standard"
    headers: dict[str, str] = field(default_factory=dict)
    is_marker: bool = False
    etag: str = field(default_factory=lambda: secrets.token_hex(16))
    id: str = field(default_factory=lambda: secrets.token_hex(16))

    def shown(self, fields: list[str]) -> dict[str, Any]:
        """As a list shows it: its name, and the fields asked for."""
        found = {
            "size": len(self.data),
            "md5": self.md5,
            "etag": self.etag,
            "timeCreated": self.made,
            "timeModified": self.made,
            "storageTier": self.tier,
            "archivalState": "Archived" if self.tier == "Archive" else None,
        }
        return {"name": self.name} | {name: found[name] for name in fields if found.get(name) is not None}


def versions(row: Resource) -> dict[str, list[Version]]:
    """By name, the newest last."""
    found: dict[str, list[Version]] = row.facts.setdefault("objects", {})
    return found


def alive(row: Resource) -> Iterator[Version]:
    """The objects one sees, by name."""
    for _, found in sorted(versions(row).items()):
        if not found[-1].is_marker:
            yield found[-1]


def current(call: Call, row: Resource) -> Version:
    """The object of the path, or the version of it that is asked for."""
    name, wanted = call.path["objectName"], call.query.get("versionId")
    for version in reversed(versions(row).get(name, [])):
        if wanted == version.id or (not wanted and not version.is_marker):
            return version
        if not wanted:
            break
    raise errors.Refused(
        404,
        "ObjectNotFound",
        f"The object '{name}' was not found in the bucket '{row.body['name']}'",
    )


def meet(call: Call, found: Version | None) -> None:
    """The conditions of a request on what is there."""
    match, none = call.header("if-match"), call.header("if-none-match")
    if match and (found is None or match not in ("*", found.etag)):
        raise errors.Refused(
            412, "IfMatchFailed", "The If-Match header does not match the ETag of the object."
        )
    if none and found is not None and none in ("*", found.etag):
        raise errors.Refused(412, "IfNoneMatchFailed", f"The object '{found.name}' already exists")


def retained(call: Call, row: Resource, version: Version) -> None:
    """Refuse to change or delete what a retention rule keeps."""
    for rule in row.facts.get("retention", {}).values():
        if rule.until(version.made) is None or call.cloud.now() < rule.until(version.made):
            raise errors.Refused(
                409,
                "RetentionRuleViolation",
                f"The object '{version.name}' is kept by the retention rule {rule.body['displayName']}.",
            )


def keep(call: Call, row: Resource, name: str, data: bytes, headers: dict[str, str], tier: str) -> Version:
    """Write an object: the version before is replaced, or kept in a versioned bucket."""
    if len(name.encode()) > 1024 or not name or re.search(r"[\r\n\0]", name):
        raise errors.Refused(400, "InvalidObjectName", "The object name is invalid.")
    if tier not in TIERS:
        raise errors.invalid(f"storage-tier: {tier} is none of {', '.join(TIERS)}.")
    before = versions(row).get(name, [])
    if before and not before[-1].is_marker:
        meet(call, before[-1])
        retained(call, row, before[-1])
    else:
        meet(call, None)
    call.cloud.charge("object-storage", {"storage-bytes": len(data)})
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    version = Version(name, data, call.cloud.store.stamp(), md5, tier, headers)
    kept = before if row.body["versioning"] == "Enabled" else []
    versions(row)[name] = [*kept, version]
    return version


def read_headers(call: Call) -> dict[str, str]:
    return {
        name: value for name, value in call.headers.items() if name in KEPT or name.startswith("opc-meta-")
    }


@handles("object_storage.put_object")
def put(call: Call) -> Answer:
    row = bucket(call)
    data = bytes(call.body or b"")
    sums = {
        "content-md5": hashlib.md5(data, usedforsecurity=False),
        "opc-content-sha256": hashlib.sha256(data),
    }
    for name, digest in sums.items():
        said = call.header(name)
        if said and said != base64.b64encode(digest.digest()).decode():
            raise errors.Refused(
                400,
                "UnmatchedContentMD5",
                f"The computed checksum of the request body does not match {name}.",
            )
    tier = call.header("storage-tier") or row.body["storageTier"]
    version = keep(call, row, call.path["objectName"], data, read_headers(call), tier)
    return Answer(None, 200, written(version))


def written(version: Version) -> dict[str, str]:
    return {
        "etag": version.etag,
        "opc-content-md5": version.md5,
        "last-modified": version.made,
        "version-id": version.id,
    }


def described(version: Version) -> dict[str, str]:
    """Headers of an object that is read."""
    found = {"content-type": "application/octet-stream", **version.headers, "etag": version.etag}
    found |= {"storage-tier": version.tier, "version-id": version.id, "accept-ranges": "bytes"}
    found |= {"last-modified": version.made, "content-length": str(len(version.data))}
    if version.md5:
        found["content-md5"] = version.md5
    if version.tier == "Archive":
        found["archival-state"] = "Archived"
    return found


@handles("object_storage.head_object")
def head(call: Call) -> Answer:
    version = current(call, bucket(call))
    meet(call, version)
    return Answer(None, 200, described(version))


@handles("object_storage.get_object")
def get(call: Call) -> Answer:
    version = current(call, bucket(call))
    meet(call, version)
    if version.tier == "Archive":
        raise errors.Refused(
            409, "NotRestored", f"The object '{version.name}' is archived; restore it first."
        )
    headers, data = described(version), version.data
    wanted = call.header("range")
    if not wanted:
        return Answer(data, 200, headers)
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
    if found is None or not (found[1] or found[2]) or (found[1] and int(found[1]) >= len(data)):
        raise errors.Refused(
            416, "RangeNotSatisfiable", f"The range {wanted} is not within {len(data)} bytes."
        )
    start = int(found[1]) if found[1] else max(0, len(data) - int(found[2]))
    end = min(int(found[2]) + 1 if found[1] and found[2] else len(data), len(data))
    headers |= {"content-range": f"bytes {start}-{end - 1}/{len(data)}", "content-length": str(end - start)}
    headers.pop("content-md5", None)
    return Answer(data[start:end], 206, headers)


@handles("object_storage.delete_object")
def delete(call: Call) -> Answer:
    """In a versioned bucket a marker is put upon it; a version by its id is gone."""
    row = bucket(call)
    version = current(call, row)
    match = call.header("if-match")
    if match and match not in ("*", version.etag):
        raise errors.Refused(
            412, "IfMatchFailed", "The If-Match header does not match the ETag of the object."
        )
    retained(call, row, version)
    headers = {"version-id": version.id}
    found = versions(row)[version.name]
    if call.query.get("versionId") or row.body["versioning"] == "Disabled":
        found.remove(version)
        if not found:
            del versions(row)[version.name]
    else:
        marker = Version(version.name, b"", call.cloud.store.stamp(), is_marker=True)
        found.append(marker)
        headers |= {"version-id": marker.id, "is-delete-marker": "true"}
    return Answer(None, 204, headers)


@handles("object_storage.rename_object")
def rename(call: Call) -> Answer:
    row, body = bucket(call), call.body
    found = versions(row).get(body["sourceName"])
    if not found or found[-1].is_marker:
        raise errors.Refused(404, "ObjectNotFound", f"The object '{body['sourceName']}' was not found.")
    retained(call, row, found[-1])
    other = versions(row).get(body["newName"])
    if other and not other[-1].is_marker and body.get("newObjIfNoneMatchETag") == "*":
        raise errors.Refused(412, "IfNoneMatchFailed", f"The object '{body['newName']}' already exists")
    version = found.pop()
    if not found:
        del versions(row)[body["sourceName"]]
    version.name = body["newName"]
    versions(row)[body["newName"]] = [version]
    return Answer(None, 200, written(version))


# Lists


def wanted_names(query: dict[str, Any], names: list[str]) -> tuple[list[str], list[str]]:
    """Names within prefix, start and end; those below the delimiter folded into prefixes."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    if delimiter not in ("", "/"):
        raise errors.invalid(f"delimiter: {delimiter} is not supported, only /.")
    found, folded = [], set()
    for name in names:
        if (
            not name.startswith(prefix)
            or name < query.get("start", "")
            or name <= query.get("startAfter", "")
        ):
            continue
        if "end" in query and name >= query["end"]:
            continue
        rest = name[len(prefix) :]
        if delimiter and delimiter in rest:
            folded.add(prefix + rest.split(delimiter)[0] + delimiter)
        else:
            found.append(name)
    return found, sorted(folded)


@handles("object_storage.list_objects")
def list_(call: Call) -> Answer:
    row, limit = bucket(call), int(call.query.get("limit", 1000))
    if not 1 <= limit <= 1000:
        raise errors.invalid(f"limit: {limit} is not within 1 and 1000.")
    seen = {version.name: version for version in alive(row)}
    names, prefixes = wanted_names(call.query, list(seen))
    fields = call.query.get("fields", ["name"])
    body: dict[str, Any] = {"objects": [seen[name].shown(fields) for name in names[:limit]]}
    if call.query.get("delimiter"):
        body["prefixes"] = prefixes
    if len(names) > limit:
        body["nextStartWith"] = names[limit]
    return Answer(body)


@handles("object_storage.list_object_versions")
def list_versions(call: Call) -> Answer:
    row = bucket(call)
    names, prefixes = wanted_names(call.query, sorted(versions(row)))
    fields = [*call.query.get("fields", []), "timeModified"]
    rows = [
        version.shown(fields) | {"versionId": version.id, "isDeleteMarker": version.is_marker}
        for name in names
        for version in reversed(versions(row)[name])
    ]
    answer = many(rows, {"limit": 1000} | call.query)
    answer.body = {"items": answer.body, "prefixes": prefixes}
    return answer


# Uploads in parts


@dataclass
class Upload:
    """An upload under way: what it will be, and its parts by number."""

    name: str
    made: str
    tier: str
    headers: dict[str, str]
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)


def uploads(row: Resource) -> dict[str, Upload]:
    found: dict[str, Upload] = row.facts.setdefault("uploads", {})
    return found


def upload(call: Call, row: Resource) -> Upload:
    found = uploads(row).get(call.query["uploadId"])
    if found is None or found.name != call.path["objectName"]:
        raise errors.Refused(404, "NoSuchUpload", f"There is no upload {call.query['uploadId']}.")
    return found


def shown_upload(row: Resource, ocid: str, found: Upload) -> dict[str, Any]:
    return {
        "namespace": row.body["namespace"],
        "bucket": row.body["name"],
        "object": found.name,
        "uploadId": ocid,
        "timeCreated": found.made,
        "storageTier": found.tier,
    }


@handles("object_storage.create_multipart_upload")
def begin(call: Call) -> Answer:
    row, body = bucket(call), call.body
    before = versions(row).get(body["object"])
    meet(call, before[-1] if before and not before[-1].is_marker else None)
    headers = {
        f"opc-meta-{name.removeprefix('opc-meta-')}": value
        for name, value in (body.get("metadata") or {}).items()
    }
    if body.get("contentType"):
        headers["content-type"] = body["contentType"]
    found = Upload(
        body["object"], call.cloud.store.stamp(), body.get("storageTier") or row.body["storageTier"], headers
    )
    ocid = secrets.token_hex(16)
    uploads(row)[ocid] = found
    return Answer(shown_upload(row, ocid, found), 200, {"location": call.path["bucketName"]})


@handles("object_storage.upload_part")
def part(call: Call) -> Answer:
    found, number, data = upload(call, bucket(call)), call.query["uploadPartNum"], bytes(call.body or b"")
    if not 1 <= number <= 10000:
        raise errors.invalid(f"uploadPartNum: {number} is not within 1 and 10000.")
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    if call.header("content-md5") not in (None, md5):
        raise errors.Refused(
            400, "UnmatchedContentMD5", "The computed MD5 of the part does not match Content-MD5."
        )
    etag = secrets.token_hex(16)
    found.parts[number] = (etag, data)
    return Answer(None, 200, {"etag": etag, "opc-content-md5": md5})


@handles("object_storage.commit_multipart_upload")
def commit(call: Call) -> Answer:
    row = bucket(call)
    found, wanted = upload(call, row), call.body["partsToCommit"]
    if not wanted:
        raise errors.invalid("partsToCommit: there must be at least one part.")
    for each in wanted:
        etag, _ = found.parts.get(each["partNum"], ("", b""))
        if etag != each["etag"]:
            raise errors.Refused(
                400, "InvalidUploadPart", f"There is no part {each['partNum']} with that etag."
            )
    left = (
        found.parts.keys() - {each["partNum"] for each in wanted} - set(call.body.get("partsToExclude") or [])
    )
    if left:
        raise errors.Refused(
            400, "InvalidUploadPart", f"Parts neither committed nor excluded: {sorted(left)}."
        )
    data = b"".join(found.parts[number][1] for number in sorted(each["partNum"] for each in wanted))
    version = keep(call, row, found.name, data, found.headers, found.tier)
    version.md5 = ""  # of the parts' sums one is made that is none of the whole
    del uploads(row)[call.query["uploadId"]]
    return Answer(
        None, 200, {"etag": version.etag, "opc-multipart-md5": secrets.token_hex(8), "version-id": version.id}
    )


@handles("object_storage.abort_multipart_upload")
def abort(call: Call) -> Answer:
    row = bucket(call)
    upload(call, row)
    del uploads(row)[call.query["uploadId"]]
    return Answer()


@handles("object_storage.list_multipart_uploads")
def list_uploads(call: Call) -> Answer:
    row = bucket(call)
    return many([shown_upload(row, ocid, found) for ocid, found in uploads(row).items()], call.query)


@handles("object_storage.list_multipart_upload_parts")
def list_parts(call: Call) -> Answer:
    found = upload(call, bucket(call))
    rows = [
        {
            "partNumber": number,
            "etag": etag,
            "size": len(data),
            "md5": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
        }
        for number, (etag, data) in sorted(found.parts.items())
    ]
    return many(rows, call.query)
