"""What is beside the API: the switches (`/_control`), the metadata service and the federation endpoint."""

import json
from email.message import Message
from typing import TYPE_CHECKING

from tests.oci_api.calls import Answer

if TYPE_CHECKING:
    from tests.oci_api.server import FakeOci


def special(cloud: "FakeOci", method: str, path: str, headers: Message, body: bytes) -> Answer | None:
    """The answer, if the request is none of the API's."""
    if path == "/_control":
        return control(cloud, method, body)
    if path.startswith("/opc/"):
        cloud.note(method, path, "/opc")
        with cloud.lock:
            return cloud.metadata.answer(path, headers)
    if path == "/v1/x509":
        with cloud.lock:
            answer = cloud.metadata.federate(method, path, headers, body)
        cloud.note(method, path, path, answer.status)
        return answer
    return None


def control(cloud: "FakeOci", method: str, body: bytes) -> Answer:
    """POST sets: `{"misbehave":

    {...}, "limits": {...}}`. GET shows what the cloud holds and how often it was asked.
    """
    if method == "POST":
        wanted = json.loads(body or b"{}")
        try:
            cloud.misbehave.set(wanted.get("misbehave", {}))
        except (TypeError, ValueError) as error:
            return Answer({"code": "InvalidParameter", "message": str(error)}, 400)
    with cloud.lock:
        return Answer(
            {
                "calls": [list(call) for call in cloud.calls],
                "counts": {f"{verb} {path}": count for (verb, path), count in sorted(cloud.counts.items())},
                "resources": [
                    {"kind": row.kind, **row.body} for row in cloud.store.rows.values() if row.kind != "image"
                ],
            },
            200,
        )
