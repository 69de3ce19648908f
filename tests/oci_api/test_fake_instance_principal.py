"""A machine that proves what it is: metadata service, federation, and what policies let it do."""

import json
import urllib.error
import urllib.request

import pytest
from tests.oci_api import seeds
from tests.oci_api.clients import Clients, refused, sdk
from tests.oci_api.server import FakeOci

models = sdk.identity.models


@pytest.fixture
def machine(cloud: FakeOci, compartment: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OCI_METADATA_BASE_URL", f"{cloud.endpoint}/opc/v2")
    return seeds.machine(cloud, compartment)


def signer(cloud: FakeOci, **more):
    return sdk.auth.signers.InstancePrincipalsSecurityTokenSigner(
        federation_endpoint=f"{cloud.endpoint}/v1/x509",
        retry_strategy=sdk.retry.NoneRetryStrategy(),
        federation_client_retry_strategy=sdk.retry.NoneRetryStrategy(),
        federation_client_circuit_breaker_strategy=sdk.circuit_breaker.NoCircuitBreakerStrategy(),
        **more,
    )


def storage(cloud: FakeOci, signed):
    return sdk.object_storage.ObjectStorageClient({}, signer=signed, service_endpoint=cloud.endpoint)


def grant(oci: Clients, machine, *statements: str) -> None:
    group = {
        "compartmentId": oci.cloud.tenancy,
        "name": "machines",
        "matchingRule": f"Any {{instance.id = '{machine.id}'}}",
        "description": "Machines",
    }
    oci.identity.create_dynamic_group(models.CreateDynamicGroupDetails(**snake(group)))
    policy = models.CreatePolicyDetails(
        compartment_id=oci.cloud.tenancy, name="machines", description="Machines", statements=list(statements)
    )
    oci.identity.create_policy(policy)


def snake(body):
    names = {"compartmentId": "compartment_id", "matchingRule": "matching_rule"}
    return {names.get(key, key): value for key, value in body.items()}


def test_a_machine_may_what_a_policy_says_and_no_more(oci, cloud, compartment, machine):
    for name in ("backup", "other"):
        oci.objects.create_bucket(cloud.namespace, {"name": name, "compartmentId": compartment})
    grant(
        oci,
        machine,
        "Allow dynamic-group machines to read buckets in compartment atlas",
        "allow dynamic-group machines to manage objects in compartment atlas "
        "where target.bucket.name='backup'",
    )
    objects = storage(cloud, signer(cloud))
    assert objects.get_bucket(cloud.namespace, "backup").data.name == "backup"
    refused(404, objects.delete_bucket, cloud.namespace, "backup")
    refused(404, objects.create_bucket, cloud.namespace, {"name": "new", "compartmentId": compartment})
    network = sdk.core.VirtualNetworkClient({}, signer=signer(cloud), service_endpoint=cloud.endpoint)
    refused(404, network.list_vcns, compartment)


def test_who_may_keep_objects_may_not_remove_their_versions(oci, cloud, compartment, machine):
    body = {"name": "backup", "compartmentId": compartment, "versioning": "Enabled"}
    oci.objects.create_bucket(cloud.namespace, body)
    words = ("INSPECT", "READ", "CREATE", "DELETE")
    permissions = ", ".join(f"request.permission = 'OBJECT_{word}'" for word in words)
    grant(
        oci,
        machine,
        "Allow dynamic-group machines to manage objects in compartment atlas where all "
        f"{{target.bucket.name = 'backup', any {{{permissions}}}}}",
    )
    objects = storage(cloud, signer(cloud))
    version = objects.put_object(cloud.namespace, "backup", "x", b"1").headers["version-id"]
    refused(
        404, objects.put_object, cloud.namespace, "backup", "x", b"2"
    )  # OBJECT_OVERWRITE is not among them
    upload = sdk.object_storage.models.CreateMultipartUploadDetails(object="y")
    refused(404, objects.create_multipart_upload, cloud.namespace, "backup", upload)
    objects.delete_object(cloud.namespace, "backup", "x")
    refused(404, objects.delete_object, cloud.namespace, "backup", "x", version_id=version)
    assert len(objects.list_object_versions(cloud.namespace, "backup").data.items) == 2


def test_without_a_policy_there_is_nothing_but_the_namespace(cloud, compartment, machine):
    objects = storage(cloud, signer(cloud))
    assert objects.get_namespace().data == cloud.namespace
    assert refused(404, objects.list_buckets, cloud.namespace, compartment).code == "NotAuthorizedOrNotFound"


def test_a_policy_needs_its_time(oci, cloud, compartment, machine):
    grant(oci, machine, "Allow dynamic-group machines to read buckets in tenancy")
    cloud.misbehave.propagation = 2
    objects = storage(cloud, signer(cloud))
    refused(404, objects.list_buckets, cloud.namespace, compartment)
    refused(404, objects.list_buckets, cloud.namespace, compartment)
    assert objects.list_buckets(cloud.namespace, compartment).data == []


def test_an_expired_token_is_exchanged_for_a_new_one(cloud, machine):
    signed = signer(cloud)
    objects = storage(cloud, signed)
    objects.get_namespace()
    cloud.keys.sessions.clear()  # as if they had run out
    assert objects.get_namespace().data == cloud.namespace
    assert [call for call in cloud.calls if call[1] == "/v1/x509"] == [("POST", "/v1/x509", 200)] * 2


def test_what_is_wrong_with_tokens(cloud, machine):
    cloud.misbehave.federation = "refused"
    assert refused(401, lambda: signer(cloud).get_security_token()).code == "NotAuthenticated"
    cloud.misbehave.federation = "unknown"
    refused(401, storage(cloud, signer(cloud)).get_namespace)
    cloud.misbehave.federation = "expired"
    refused(401, storage(cloud, signer(cloud)).get_namespace)
    cloud.misbehave.federation = "garbage"
    with pytest.raises(Exception, match=r"(?i)decod|token|padding|invalid"):
        storage(cloud, signer(cloud)).get_namespace()


def test_the_certificate_must_be_of_this_cloud(cloud, machine):
    with FakeOci() as other:
        seeds.machine(other, other.tenancy)
        theirs = other.metadata.leaf(other.metadata.row())
        cloud.metadata._leaves[machine.id] = theirs
        assert "not of this cloud" in refused(401, lambda: signer(cloud).get_security_token()).message


def get(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_metadata_service(cloud, machine):
    base = f"{cloud.endpoint}/opc"
    oracle = {"Authorization": "Bearer Oracle"}
    about = json.loads(get(f"{base}/v2/instance/", **oracle)[1])
    assert about["id"] == machine.id
    assert about["shapeConfig"]["networkingBandwidthInGbps"] == 2.0
    assert get(f"{base}/v2/instance/region", **oracle) == (200, "fra")
    assert get(f"{base}/v2/instance/regionInfo/regionIdentifier", **oracle) == (200, "eu-frankfurt-1")
    assert get(f"{base}/v2/instance/nothing", **oracle)[0] == 404
    assert get(f"{base}/v2/instance/")[0] == 401
    assert get(f"{base}/v1/instance/")[0] == 404
    machine.body["instanceOptions"]["areLegacyImdsEndpointsDisabled"] = False
    assert get(f"{base}/v1/instance/id") == (200, machine.id)
    cloud.misbehave.metadata_down = True
    assert get(f"{base}/v2/instance/", **oracle)[0] == 404


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "Allow group nobody to read buckets in tenancy",
            "The group nobody specified in the policy statement does not exist",
        ),
        ("Allow any-user to read bukets in tenancy", "no resource-type 'bukets'"),
        ("Allow any-user to see buckets in tenancy", "no verb 'see'"),
        ("Allow any-user to read buckets", "Unable to parse"),
        ("Allow any-user to read buckets in compartment nowhere", "{nowhere} does not exist"),
        (
            "Allow any-user to read buckets in compartment ocid1.compartment.oc1..x",
            "ocid1.compartment.oc1..x} does",
        ),
        (
            "Allow any-user to read buckets in tenancy where target.bucket.name=backup",
            "cannot read the condition",
        ),
    ],
)
def test_statements_are_read_strictly(oci, cloud, statement, words):
    policy = models.CreatePolicyDetails(
        compartment_id=cloud.tenancy, name="p", description="p", statements=[statement]
    )
    assert words in refused(400, oci.identity.create_policy, policy).message


def test_a_matching_rule_is_read_strictly(oci, cloud):
    for rule in ("instance.id == 'x'", "Any {}", "machine.id = 'x'"):
        group = models.CreateDynamicGroupDetails(
            compartment_id=cloud.tenancy, name="g", description="g", matching_rule=rule
        )
        assert "matchingRule" in refused(400, oci.identity.create_dynamic_group, group).message
