"""Work requests: what goes on by itself, asked after with its id."""

from typing import TYPE_CHECKING

from tests.oci_api import errors
from tests.oci_api.calls import Answer, Call, compartment, handles, many, one, seen
from tests.oci_api.store import Resource

if TYPE_CHECKING:
    from tests.oci_api.server import FakeOci


def begin(cloud: "FakeOci", operation: str, row: Resource) -> Resource:
    deleting = operation.startswith(("DELETE", "TERMINATE"))
    body = {
        "operationType": operation,
        "compartmentId": row.body.get("compartmentId", cloud.tenancy),
        "percentComplete": 0.0,
        "timeAccepted": cloud.store.stamp(),
        "resources": [
            {
                "actionType": "DELETED" if deleting else "IN_PROGRESS",
                "entityType": row.kind,
                "identifier": row.body["id"],
            }
        ],
    }
    made = cloud.store.add("workrequest", body)
    made.state_field = "status"

    def done() -> None:
        made.body |= {"percentComplete": 100.0, "timeFinished": cloud.store.stamp()}

    cloud.store.go(made, "ACCEPTED", "IN_PROGRESS", "SUCCEEDED", then=done)
    return made


@handles("work_requests.get_work_request")
def get(call: Call) -> Answer:
    return one(seen(call, call.cloud.store.get(call.path["workRequestId"], "workrequest")))


@handles("work_requests.list_work_requests")
def list_(call: Call) -> Answer:
    compartment(call, call.query["compartmentId"])
    rows = call.cloud.store.of("workrequest", compartmentId=call.query["compartmentId"])
    wanted = call.query.get("resourceId")
    found = [row.body for row in rows if not wanted or row.body["resources"][0]["identifier"] == wanted]
    return many(found, call.query)


@handles("work_requests.list_work_request_errors")
def list_errors(call: Call) -> Answer:
    if call.cloud.store.find(call.path["workRequestId"], "workrequest") is None:
        raise errors.not_found()
    return Answer([])
