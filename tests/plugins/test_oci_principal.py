"""The machine acts for itself: oci_resource without any key, where a policy lets it."""

from typing import Any

import oci_account
import pytest
from oci_account import Account
from oci_operator import CloudError, Operator
from tests.oci_api import seeds
from tests.oci_api.server import FakeOci

pytestmark = pytest.mark.usefixtures("cloud")


def principal(cloud: FakeOci) -> dict[str, Any]:
    return {
        "auth_type": "instance_principal",
        "endpoint": cloud.endpoint,
        "federation_endpoint": f"{cloud.endpoint}/v1/x509",
        "poll_seconds": 0.01,
    }


@pytest.fixture
def machine(cloud: FakeOci, compartment: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OCI_METADATA_BASE_URL", f"{cloud.endpoint}/opc/v2")
    return seeds.machine(cloud, compartment)


@pytest.fixture
def allowed(operator: Operator, machine: Any) -> None:
    """A policy lets the machine keep buckets in the compartment, and ask what the guard asks."""
    tenancy = {"compartment_id": {"ref": "tenancy"}, "description": "x"}
    statements = [
        "Allow dynamic-group machines to manage buckets in compartment atlas",
        "Allow dynamic-group machines to inspect tenancies in tenancy",
        "Allow dynamic-group machines to inspect compartments in tenancy",
        "Allow dynamic-group machines to read buckets in tenancy",
    ]
    operator.apply(
        {
            "kind": "dynamic_group",
            "name": "machines",
            "spec": {**tenancy, "matching_rule": f"ALL {{instance.id = '{machine.id}'}}"},
        },
        {"kind": "policy", "name": "machines", "spec": {**tenancy, "statements": statements}},
    )


BUCKET = {"kind": "bucket", "name": "box", "spec": {}}


@pytest.fixture
def itself(operator: Operator, machine: Any) -> Operator:
    operator.options = principal(operator.cloud)
    return operator


def test_it_knows_where_it_is(cloud, itself):
    account = itself.account()
    assert (account.tenancy, account.region) == (cloud.tenancy, cloud.region)


def test_what_it_may_it_does(cloud, allowed, itself, compartment):
    assert itself.apply(BUCKET, compartment=compartment).changes == ["made bucket box"]
    assert not itself.apply(BUCKET, compartment=compartment).changed
    (bucket,) = cloud.store.of("bucket")
    assert bucket.body["freeformTags"] == {"atlas": "production"}


def test_what_it_may_not_is_said_as_what_is_not_there(cloud, allowed, itself, compartment):
    entry = {"kind": "vcn", "name": "net", "spec": {"cidr_blocks": ["10.0.0.0/16"]}}
    said = itself.refused(entry, compartment=compartment)
    assert "It is not there, or this user may not see it" in said
    assert "Policies made a moment ago take some minutes" in said


def test_a_token_that_ran_out_is_asked_for_anew(cloud, allowed, itself, compartment):
    account = itself.account()
    assert list(account.rows("objects", "list_buckets", cloud.namespace, compartment)) == []
    cloud.keys.sessions.clear()
    assert list(account.rows("objects", "list_buckets", cloud.namespace, compartment)) == []


@pytest.mark.parametrize("trouble", ["garbage", "refused"])
def test_a_federation_that_gives_no_token(cloud, allowed, itself, compartment, trouble):
    cloud.misbehave.federation = trouble
    with pytest.raises(CloudError) as caught:
        itself.apply(BUCKET, compartment=compartment)
    assert str(caught.value).startswith("This instance may not act for itself")
    assert "playbooks/provision.yml" in str(caught.value)


def test_metadata_that_answers_nothing(cloud, itself, monkeypatch):
    cloud.misbehave.metadata_down = True
    with pytest.raises(CloudError, match="This instance may not act for itself"):
        itself.account()


def test_on_a_computer_that_is_no_instance(monkeypatch):
    monkeypatch.setenv("OCI_METADATA_BASE_URL", "http://127.0.0.1:1/opc/v2")
    with pytest.raises(CloudError, match=r"This machine is no instance of Oracle Cloud.*auth_type: api_key"):
        Account({"auth_type": "instance_principal"})


def test_where_nobody_answers_it_does_not_hang(monkeypatch):
    """The metadata service's address leads nowhere elsewhere; the SDK itself would wait minutes."""
    monkeypatch.setenv("OCI_METADATA_BASE_URL", "http://192.0.2.1/opc/v2")
    monkeypatch.setattr(oci_account, "METADATA_SECONDS", 0.2)
    with pytest.raises(CloudError, match="no instance of Oracle Cloud"):
        Account({"auth_type": "instance_principal"})


def test_another_region_than_its_own(cloud, itself):
    assert itself.account(region="eu-zurich-1").region == "eu-zurich-1"
