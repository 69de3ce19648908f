"""Each switch for what goes wrong, as a client meets it."""

import json
import time
import urllib.error
import urllib.request

import pytest
from tests.oci_api import seeds
from tests.oci_api.clients import Clients, refused, sdk

models = sdk.core.models


def vcn(compartment: str, **more) -> dict[str, object]:
    return {"compartmentId": compartment, "cidrBlock": "10.0.0.0/16", "displayName": "atlas"} | more


def test_too_many_requests(oci, cloud, compartment):
    cloud.misbehave.throttle(2, method="GET", path="/20160918/vcns", retry_after=3)
    error = refused(429, oci.network.list_vcns, compartment)
    assert (error.code, error.headers["Retry-After"]) == ("TooManyRequests", "3")
    cloud.misbehave.throttle(1, path="/n")
    assert "Retry-After" not in refused(429, oci.objects.get_namespace).headers
    refused(429, oci.network.list_vcns, compartment)
    assert oci.network.list_vcns(compartment).data == []


def test_errors_of_the_server(oci, cloud, compartment):
    cloud.misbehave.fail(1, after=1, message="Oops.")
    oci.network.list_vcns(compartment)
    error = refused(500, oci.network.create_vcn, vcn(compartment))
    assert (error.code, error.message) == ("InternalError", "Oops.")
    assert oci.network.list_vcns(compartment).data == []
    cloud.misbehave.fail(1, status=409, code="IncorrectState", message="Busy.")
    assert refused(409, oci.network.list_vcns, compartment).code == "IncorrectState"


def test_states_that_take_their_time(oci, cloud, compartment):
    cloud.misbehave.slow_states = 3
    cloud.store.seconds = 0.0
    made = oci.network.create_vcn(vcn(compartment)).data
    states = [oci.network.get_vcn(made.id).data.lifecycle_state for _ in range(4)]
    assert states == ["PROVISIONING"] * 3 + ["AVAILABLE"]


def test_a_fresh_resource_is_seen_later(oci, cloud, compartment):
    cloud.misbehave.stale = 2
    made = oci.network.create_vcn(vcn(compartment)).data
    assert oci.network.list_vcns(compartment).data == []
    refused(404, oci.network.get_vcn, made.id)
    assert oci.network.get_vcn(made.id).data.id == made.id
    oci.objects.create_bucket(cloud.namespace, {"name": "b", "compartmentId": compartment})
    assert oci.objects.list_buckets(cloud.namespace, compartment).data == []
    refused(404, oci.objects.get_bucket, cloud.namespace, "b")
    assert oci.objects.get_bucket(cloud.namespace, "b").data.name == "b"


def test_a_create_whose_answer_is_lost_is_done_once_with_a_retry_token(oci, cloud, compartment):
    cloud.misbehave.lose_answer(1, method="POST", path="/20160918/vcns")
    with pytest.raises(sdk.exceptions.RequestException):
        oci.network.create_vcn(vcn(compartment), opc_retry_token="once")
    made = oci.network.create_vcn(vcn(compartment), opc_retry_token="once").data
    assert [row.id for row in oci.network.list_vcns(compartment).data] == [made.id]
    cloud.store.hurry()
    oci.network.delete_vcn(made.id)
    error = refused(409, oci.network.create_vcn, vcn(compartment), opc_retry_token="once")
    assert error.code == "InvalidatedRetryToken"


def test_an_answer_that_never_comes(oci, cloud, compartment):
    cloud.misbehave.lose_answer(1, seconds=1.0)
    impatient = Clients(cloud, oci.account, timeout=(0.2, 0.2))
    with pytest.raises(sdk.exceptions.RequestException):
        impatient.network.create_vcn(vcn(compartment))
    assert len(oci.network.list_vcns(compartment).data) == 1


def test_slow_answers(oci, cloud, compartment):
    cloud.misbehave.slow_down(1, seconds=0.3, path="/20160918/vcns")
    begun = time.monotonic()
    oci.network.list_vcns(compartment)
    assert time.monotonic() - begun >= 0.3


def test_a_key_taken_away(oci, cloud, compartment):
    cloud.misbehave.expired = True
    assert refused(401, oci.network.list_vcns, compartment).code == "NotAuthenticated"


def test_a_clock_that_is_wrong(oci, cloud, compartment):
    cloud.misbehave.clock_skew = 400
    assert "5 minutes" in refused(401, oci.network.list_vcns, compartment).message


def test_a_limit_that_is_reached_whatever_is_used(oci, cloud, compartment):
    cloud.misbehave.limits_exceeded = ["vcn-count"]
    error = refused(400, oci.network.create_vcn, vcn(compartment))
    assert (error.code, "vcn-count" in error.message) == ("LimitExceeded", True)


def control(cloud, wanted=None):
    body = None if wanted is None else json.dumps(wanted).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{cloud.endpoint}/_control", body)) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def test_switches_are_turned_over_http(oci, cloud, compartment):
    control(cloud, {"misbehave": {"fail": {"times": 1, "method": "GET"}}, "limits": {"vcn/vcn-count": 1}})
    refused(500, oci.network.list_vcns, compartment)
    oci.network.create_vcn(vcn(compartment))
    refused(400, oci.network.create_vcn, vcn(compartment))
    seen = control(cloud, {"hurry": True})
    assert seen["counts"] == {"GET /20160918/vcns": 1, "POST /20160918/vcns": 2}
    assert [row["lifecycleState"] for row in seen["resources"] if row["kind"] == "vcn"] == ["AVAILABLE"]
    made = control(cloud, {"forget_calls": True, "seed": [["machine", {"compartment_id": compartment}]]})
    assert (made["calls"], cloud.store.get(made["made"][0]).kind) == ([], "instance")
    control(cloud, {"misbehave": {"reset": True}, "metadata": made["made"][0]})
    assert "no switch slow" in control(cloud, {"misbehave": {"slow": 1}})["message"]
    assert "no wrong" in control(cloud, {"wrong": 1})["message"]


def test_other_peoples_things(oci, cloud, compartment):
    control(cloud, {"seed": [["others", {"compartment_id": compartment}]]})
    assert [row.display_name for row in oci.network.list_vcns(compartment).data] == ["atlas"]
    assert oci.network.list_internet_gateways(compartment).data[0].freeform_tags == {}
    assert [row.display_name for row in oci.blocks.list_volumes(compartment_id=compartment).data] == [
        "atlas-data"
    ]
    assert [row.name for row in oci.objects.list_buckets(cloud.namespace, compartment).data] == ["theirs"]


def test_time_passes_when_told(oci, cloud, compartment):
    machine = seeds.machine(cloud, compartment)
    oci.compute.terminate_instance(machine.id)
    cloud.store.hurry()
    assert oci.compute.get_instance(machine.id).data.lifecycle_state == "TERMINATED"
    control(cloud, {"advance": 13 * 3600})
    refused(404, oci.compute.get_instance, machine.id)
