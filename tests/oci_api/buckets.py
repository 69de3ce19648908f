"""Object Storage: the namespace and its buckets. What is in them is in `objects.py`."""

import re
from collections.abc import Iterator
from typing import Any

from tests.oci_api import errors
from tests.oci_api.calls import Answer, Call, compartment, handles, many, tag
from tests.oci_api.store import Resource
from tests.oci_api.tables import models


def no_bucket(name: str, namespace: str) -> errors.Refused:
    return errors.Refused(
        404,
        "BucketNotFound",
        f"Either the bucket named '{name}' does not exist in the namespace '{namespace}' "
        "or you are not authorized to access it",
    )


def space(call: Call) -> str:
    if call.path["namespaceName"] != call.cloud.namespace:
        raise errors.Refused(
            404,
            "NamespaceNotFound",
            "You do not have authorization to perform this request, or the requested resource could not be "
            f"found. Namespace '{call.path['namespaceName']}'.",
        )
    return call.cloud.namespace


def key(namespace: str, name: str) -> str:
    return f"bucket:{namespace}/{name}"


def bucket(call: Call) -> Resource:
    namespace = space(call)
    row = call.cloud.store.find(key(namespace, call.path["bucketName"]), "bucket")
    if row is None or row.unseen > 0:
        if row is not None:
            row.unseen -= 1
        raise no_bucket(call.path["bucketName"], namespace)
    return row


def expect(call: Call, row: Resource) -> None:
    """Object Storage has codes of its own for a failed condition."""
    wanted = call.header("if-match")
    if wanted and wanted not in ("*", row.etag):
        raise errors.Refused(
            412, "IfMatchFailed", "The If-Match header does not match the ETag of the resource."
        )


@handles("object_storage.get_namespace")
def namespace(call: Call) -> Answer:
    return Answer(call.cloud.namespace)


@handles("object_storage.create_bucket")
def create(call: Call) -> Answer:
    owner, body, cloud = space(call), dict(call.body), call.cloud
    compartment(call, body["compartmentId"])
    if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,256}", body["name"]):
        raise errors.Refused(
            400,
            "InvalidBucketName",
            f"The bucket name '{body['name']}' is invalid: letters, digits, dashes, dots, underscores.",
        )
    if cloud.store.find(key(owner, body["name"]), "bucket"):
        raise errors.Refused(
            409,
            "BucketAlreadyExists",
            f"Either the bucket '{body['name']}' in namespace '{owner}' already exists "
            "or you are not authorized to create it",
        )
    cloud.charge("object-storage", {"bucket-count": 1})
    made = {
        "id": cloud.store.ocid("bucket"),
        "namespace": owner,
        "createdBy": call.principal.user or call.principal.instance,
        "metadata": {},
        "publicAccessType": "NoPublicAccess",
        "storageTier": "Standard",
        "versioning": "Disabled",
        "autoTiering": "Disabled",
        "objectEventsEnabled": False,
        "replicationEnabled": False,
        "isReadOnly": False,
    } | {name: value for name, value in body.items() if value is not None}
    tag(call, made, models()["object_storage.Bucket"].fields)
    row = cloud.store.add("bucket", made, ocid=key(owner, body["name"]))
    row.unseen = cloud.misbehave.stale
    return shown(row)


def shown(row: Resource, *, but: tuple[str, ...] = ("approximateCount", "approximateSize")) -> Answer:
    body = {name: value for name, value in row.body.items() if name not in but} | {"etag": row.etag}
    if policy := row.facts.get("lifecycle"):
        body["objectLifecyclePolicyEtag"] = policy["etag"]
    return Answer(body, 200, {"etag": row.etag})


@handles("object_storage.list_buckets")
def list_(call: Call) -> Answer:
    space(call)
    compartment(call, call.query["compartmentId"])
    rows = []
    for row in call.cloud.store.of("bucket", compartmentId=call.query["compartmentId"]):
        if row.unseen > 0:
            row.unseen -= 1
        else:
            rows.append(row)
    hidden = () if "tags" in (call.query.get("fields") or []) else ("freeformTags", "definedTags")
    found = [
        {name: value for name, value in row.body.items() if name not in hidden} | {"etag": row.etag}
        for row in sorted(rows, key=lambda row: str(row.body["name"]))
    ]
    return many(found, call.query)


@handles("object_storage.get_bucket")
def get(call: Call) -> Answer:
    row, fields = bucket(call), call.query.get("fields") or []
    answer = shown(row, but=() if "autoTiering" in fields else ("autoTiering",))
    held = list(stored(row))
    if "approximateCount" in fields:
        answer.body["approximateCount"] = len(held)
    if "approximateSize" in fields:
        answer.body["approximateSize"] = sum(held)
    return answer


def stored(row: Resource) -> Iterator[int]:
    """The size of each object, and of each version of it."""
    for versions in row.facts.get("objects", {}).values():
        yield from (len(version.data) for version in versions)


@handles("object_storage.head_bucket")
def head(call: Call) -> Answer:
    return Answer(None, 200, {"etag": bucket(call).etag})


@handles("object_storage.update_bucket")
def update(call: Call) -> Answer:
    row, body = bucket(call), {name: value for name, value in call.body.items() if value is not None}
    expect(call, row)
    if body.get("namespace", row.body["namespace"]) != row.body["namespace"]:
        raise errors.invalid("namespace: a bucket stays in its namespace.")
    if body.get("compartmentId"):
        compartment(call, body["compartmentId"])
    if body.get("versioning") == "Enabled" and row.facts.get("retention"):
        raise errors.conflict("versioning: a bucket with retention rules has none.")
    if "metadata" in body:
        body["metadata"] = {
            name: value for name, value in (row.body["metadata"] | body["metadata"]).items() if value
        }
    wanted = body.get("name", row.body["name"])
    if wanted != row.body["name"]:
        rename(call, row, wanted)
    row.body.update(body)
    row.touch()
    return shown(row)


def rename(call: Call, row: Resource, name: str) -> None:
    store, new = call.cloud.store, key(row.body["namespace"], name)
    if store.find(new, "bucket"):
        raise errors.Refused(
            409, "BucketAlreadyExists", f"Either the bucket '{name}' already exists or it is not yours."
        )
    store.remove(row)
    row.id = new
    store.rows[new] = row


@handles("object_storage.delete_bucket")
def delete(call: Call) -> Answer:
    row, store = bucket(call), call.cloud.store
    expect(call, row)
    name = row.body["name"]
    what: dict[str, Any] = {
        "objects or versions": row.facts.get("objects"),
        "uploads under way": row.facts.get("uploads"),
        "pre-authenticated requests": row.facts.get("requests"),
    }
    for noun, there in what.items():
        if there:
            raise errors.Refused(
                409, "BucketNotEmpty", f"Bucket named '{name}' is not empty. Delete all {noun} first."
            )
    store.remove(row)
    return Answer()
