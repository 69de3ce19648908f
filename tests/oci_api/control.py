"""What is beside the API: the switches (`/_control`), the metadata service and the federation endpoint."""

import json
from email.message import Message
from typing import TYPE_CHECKING, Any

from tests.oci_api import seeds
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
    """Turn switches by POST, see what the cloud holds and how often it was asked by GET.

    A POST may have:
    misbehave: switches by name, and verbs with their arguments (`{"fail": {"times": 2}, "stale": 1}`).
    limits: service limits, `{"compute/standard-a1-core-count": 4}`.
    advance: seconds the clock goes ahead. hurry: true lets all that is under way be done.
    forget_calls: true counts from here. metadata: OCID of the machine the metadata service speaks for.
    seed: functions of `seeds.py` with their arguments, `[["machine", {"compartment_id": "..."}]]`;
    the OCIDs of what they made are in the answer.
    """
    made: list[str | None] = []
    if method == "POST":
        try:
            with cloud.lock:
                made = turn(cloud, json.loads(body or b"{}"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return Answer({"code": "InvalidParameter", "message": f"{type(error).__name__}: {error}"}, 400)
    with cloud.lock:
        return Answer(
            {
                "calls": [list(call) for call in cloud.calls],
                "counts": {f"{verb} {path}": count for (verb, path), count in sorted(cloud.counts.items())},
                "made": made,
                "resources": [
                    {"kind": row.kind, **row.body} for row in cloud.store.rows.values() if row.kind != "image"
                ],
            },
            200,
        )


def turn(cloud: "FakeOci", wanted: dict[str, Any]) -> list[str | None]:
    words = {"misbehave", "limits", "advance", "hurry", "forget_calls", "metadata", "seed"}
    if unknown := sorted(wanted.keys() - words):
        raise ValueError(f"no {', '.join(unknown)}; there are {', '.join(sorted(words))}")
    cloud.misbehave.set(wanted.get("misbehave", {}))
    for name, value in wanted.get("limits", {}).items():
        service, _, limit = name.partition("/")
        cloud.limits[service, limit] = (value, cloud.limits[service, limit][1])
    cloud.ahead += wanted.get("advance", 0.0)
    if wanted.get("hurry"):
        cloud.store.hurry()
    if wanted.get("forget_calls"):
        cloud.calls.clear()
        cloud.counts.clear()
    cloud.metadata.instance = wanted.get("metadata", cloud.metadata.instance)
    made = []
    for name, arguments in wanted.get("seed", []):
        if name not in seeds.NAMES:
            raise ValueError(f"no seed {name}; there are {', '.join(seeds.NAMES)}")
        row = getattr(seeds, name)(cloud, **arguments)
        made.append(row.id if row else None)
    return made
