"""Buckets and objects, by the SDK."""

import datetime as dt

import pytest
from tests.oci_api.clients import refused, sdk

models = sdk.object_storage.models


@pytest.fixture
def bucket(oci, cloud, compartment) -> str:
    details = models.CreateBucketDetails(name="backup", compartment_id=compartment)
    return oci.objects.create_bucket(cloud.namespace, details).data.name


def test_a_bucket_is_made_changed_and_deleted(oci, cloud, compartment, bucket):
    details = models.UpdateBucketDetails(versioning="Enabled", freeform_tags={"atlas": "production"})
    changed = oci.objects.update_bucket(cloud.namespace, bucket, details).data
    assert (changed.versioning, changed.public_access_type) == ("Enabled", "NoPublicAccess")
    listed = oci.objects.list_buckets(cloud.namespace, compartment, fields=["tags"]).data
    assert [row.freeform_tags for row in listed] == [{"atlas": "production"}]
    assert oci.objects.head_bucket(cloud.namespace, bucket).headers["etag"] == changed.etag
    oci.objects.delete_bucket(cloud.namespace, bucket)
    assert refused(404, oci.objects.get_bucket, cloud.namespace, bucket).code == "BucketNotFound"


def test_what_a_bucket_may_not_be(oci, cloud, compartment, bucket):
    made = oci.objects.create_bucket
    body = {"name": "backup", "compartmentId": compartment}
    assert refused(409, made, cloud.namespace, body).code == "BucketAlreadyExists"
    assert refused(400, made, cloud.namespace, body | {"name": "a b"}).code == "InvalidBucketName"
    assert refused(404, made, "nobody", body).code == "NamespaceNotFound"
    wrong = body | {"name": "new", "storageTier": "Cold"}
    assert (
        "storageTier: Cold is none of Standard, Archive" in refused(400, made, cloud.namespace, wrong).message
    )
    update = oci.objects.update_bucket
    assert refused(412, update, cloud.namespace, bucket, {}, if_match="old").code == "IfMatchFailed"


def test_objects_with_any_name_are_kept(oci, cloud, bucket):
    put = oci.objects.put_object(cloud.namespace, bucket, "a b/c%d/é.txt", b"text", opc_meta={"from": "us"})
    got = oci.objects.get_object(cloud.namespace, bucket, "a b/c%d/é.txt")
    assert (got.data.content, got.headers["etag"], got.headers["opc-meta-from"]) == (
        b"text",
        put.headers["etag"],
        "us",
    )
    part = oci.objects.get_object(cloud.namespace, bucket, "a b/c%d/é.txt", range="bytes=1-2")
    assert (part.status, part.data.content) == (206, b"ex")
    head = oci.objects.head_object(cloud.namespace, bucket, "a b/c%d/é.txt")
    assert head.headers["content-length"] == "4"
    counted = oci.objects.get_bucket(
        cloud.namespace, bucket, fields=["approximateCount", "approximateSize"]
    ).data
    assert (counted.approximate_count, counted.approximate_size) == (1, 4)
    assert refused(409, oci.objects.delete_bucket, cloud.namespace, bucket).code == "BucketNotEmpty"
    oci.objects.delete_object(cloud.namespace, bucket, "a b/c%d/é.txt")
    assert (
        refused(404, oci.objects.get_object, cloud.namespace, bucket, "a b/c%d/é.txt").code
        == "ObjectNotFound"
    )
    again = refused(412, oci.objects.put_object, cloud.namespace, bucket, "x", b"", if_match="none")
    assert again.code == "IfMatchFailed"


def test_lists_are_by_prefix_and_page(oci, cloud, bucket):
    for name in ("a/1", "a/2", "b/1", "c"):
        oci.objects.put_object(cloud.namespace, bucket, name, b"x")
    first = oci.objects.list_objects(cloud.namespace, bucket, limit=3, fields="name,size").data
    assert [(row.name, row.size) for row in first.objects] == [("a/1", 1), ("a/2", 1), ("b/1", 1)]
    second = oci.objects.list_objects(cloud.namespace, bucket, start=first.next_start_with).data
    assert ([row.name for row in second.objects], second.next_start_with) == (["c"], None)
    top = oci.objects.list_objects(cloud.namespace, bucket, delimiter="/").data
    assert ([row.name for row in top.objects], top.prefixes) == (["c"], ["a/", "b/"])


def test_a_versioned_bucket_keeps_what_was_deleted(oci, cloud, bucket):
    oci.objects.update_bucket(cloud.namespace, bucket, models.UpdateBucketDetails(versioning="Enabled"))
    for data in (b"one", b"two"):
        oci.objects.put_object(cloud.namespace, bucket, "x", data)
    oci.objects.delete_object(cloud.namespace, bucket, "x")
    refused(404, oci.objects.get_object, cloud.namespace, bucket, "x")
    rows = oci.objects.list_object_versions(cloud.namespace, bucket).data.items
    assert [row.is_delete_marker for row in rows] == [True, False, False]
    old = oci.objects.get_object(cloud.namespace, bucket, "x", version_id=rows[2].version_id)
    assert old.data.content == b"one"
    assert refused(409, oci.objects.delete_bucket, cloud.namespace, bucket).code == "BucketNotEmpty"
    for row in rows:
        oci.objects.delete_object(cloud.namespace, bucket, "x", version_id=row.version_id)
    oci.objects.delete_bucket(cloud.namespace, bucket)


def test_an_upload_in_parts(oci, cloud, bucket, tmp_path):
    big = tmp_path / "big"
    big.write_bytes(bytes(range(256)) * 10000)
    manager = sdk.object_storage.UploadManager(oci.objects, allow_parallel_uploads=True)
    manager.upload_file(cloud.namespace, bucket, "big", str(big), part_size=1 << 20)
    assert oci.objects.get_object(cloud.namespace, bucket, "big").data.content == big.read_bytes()
    assert [call[0] for call in cloud.calls if call[1].endswith("/u/big")] == ["PUT", "PUT", "PUT", "POST"]


def test_an_upload_left_stays_until_it_is_aborted(oci, cloud, bucket):
    details = models.CreateMultipartUploadDetails(object="left")
    begun = oci.objects.create_multipart_upload(cloud.namespace, bucket, details).data
    oci.objects.upload_part(cloud.namespace, bucket, "left", begun.upload_id, 1, b"x" * 10)
    wrong = models.CommitMultipartUploadDetails(
        parts_to_commit=[models.CommitMultipartUploadPartDetails(part_num=2, etag="x")]
    )
    commit = oci.objects.commit_multipart_upload
    assert (
        refused(400, commit, cloud.namespace, bucket, "left", begun.upload_id, wrong).code
        == "InvalidUploadPart"
    )
    assert refused(409, oci.objects.delete_bucket, cloud.namespace, bucket).code == "BucketNotEmpty"
    assert [row.object for row in oci.objects.list_multipart_uploads(cloud.namespace, bucket).data] == [
        "left"
    ]
    parts = oci.objects.list_multipart_upload_parts(cloud.namespace, bucket, "left", begun.upload_id).data
    assert [(part.part_number, part.size) for part in parts] == [(1, 10)]
    oci.objects.abort_multipart_upload(cloud.namespace, bucket, "left", begun.upload_id)
    oci.objects.delete_bucket(cloud.namespace, bucket)


def rule(**more):
    row = {"name": "old", "action": "DELETE", "target": "objects", "timeAmount": 30, "timeUnit": "DAYS"}
    return row | {"isEnabled": True} | more


def test_a_lifecycle_policy_needs_the_services_permission(oci, cloud, compartment, bucket):
    put, get = oci.objects.put_object_lifecycle_policy, oci.objects.get_object_lifecycle_policy
    assert refused(404, get, cloud.namespace, bucket).code == "LifecyclePolicyNotFound"
    error = refused(400, put, cloud.namespace, bucket, {"items": [rule()]})
    assert error.code == "InsufficientServicePermissions"
    statement = "Allow service objectstorage-eu-frankfurt-1 to manage object-family in compartment atlas"
    policy = {"compartmentId": cloud.tenancy, "name": "p", "description": "p", "statements": [statement]}
    oci.identity.create_policy(policy)
    stale = rule(name="stale", action="ABORT", target="multipart-uploads", timeAmount=1)
    put(cloud.namespace, bucket, {"items": [rule(), stale]})
    assert [row.name for row in get(cloud.namespace, bucket).data.items] == ["old", "stale"]
    assert oci.objects.get_bucket(cloud.namespace, bucket).data.object_lifecycle_policy_etag
    for wrong, words in [
        (rule(action="ABORT"), "ABORT is none of ARCHIVE"),
        (rule(target="things"), "things is none of objects"),
        (rule(timeUnit="HOURS"), "HOURS is none of DAYS, YEARS"),
    ]:
        assert words in refused(400, put, cloud.namespace, bucket, {"items": [wrong]}).message
    oci.objects.delete_object_lifecycle_policy(cloud.namespace, bucket)
    refused(404, get, cloud.namespace, bucket)


def test_a_retention_rule_keeps_objects(oci, cloud, bucket):
    oci.objects.put_object(cloud.namespace, bucket, "x", b"kept")
    day = models.Duration(time_amount=1, time_unit="DAYS")
    create = oci.objects.create_retention_rule
    soon = models.CreateRetentionRuleDetails(
        display_name="r", duration=day, time_rule_locked=dt.datetime.now(dt.UTC)
    )
    assert "at least 14 days" in refused(400, create, cloud.namespace, bucket, soon).message
    made = create(
        cloud.namespace, bucket, models.CreateRetentionRuleDetails(display_name="r", duration=day)
    ).data
    assert (
        refused(409, oci.objects.delete_object, cloud.namespace, bucket, "x").code == "RetentionRuleViolation"
    )
    refused(409, oci.objects.put_object, cloud.namespace, bucket, "x", b"other")
    longer = models.UpdateRetentionRuleDetails(duration=models.Duration(time_amount=2, time_unit="DAYS"))
    oci.objects.update_retention_rule(cloud.namespace, bucket, made.id, longer)
    rows = oci.objects.list_retention_rules(cloud.namespace, bucket).data.items
    assert [(row.display_name, row.duration.time_amount) for row in rows] == [("r", 2)]
    oci.objects.delete_retention_rule(cloud.namespace, bucket, made.id)
    oci.objects.delete_object(cloud.namespace, bucket, "x")


def test_a_link_is_said_once(oci, cloud, bucket):
    until = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    details = models.CreatePreauthenticatedRequestDetails(
        name="link", access_type="ObjectRead", object_name="x", time_expires=until
    )
    made = oci.objects.create_preauthenticated_request(cloud.namespace, bucket, details).data
    assert made.access_uri.startswith("/p/")
    assert refused(409, oci.objects.delete_bucket, cloud.namespace, bucket).code == "BucketNotEmpty"
    assert [row.id for row in oci.objects.list_preauthenticated_requests(cloud.namespace, bucket).data] == [
        made.id
    ]
    oci.objects.delete_preauthenticated_request(cloud.namespace, bucket, made.id)
    refused(404, oci.objects.get_preauthenticated_request, cloud.namespace, bucket, made.id)


def test_an_object_gets_another_name(oci, cloud, bucket):
    for name in ("old", "other"):
        oci.objects.put_object(cloud.namespace, bucket, name, b"x")
    rename = oci.objects.rename_object
    details = models.RenameObjectDetails(source_name="old", new_name="other", new_obj_if_none_match_e_tag="*")
    refused(412, rename, cloud.namespace, bucket, details)
    rename(cloud.namespace, bucket, models.RenameObjectDetails(source_name="old", new_name="new"))
    names = [row.name for row in oci.objects.list_objects(cloud.namespace, bucket).data.objects]
    assert names == ["new", "other"]
    refused(404, rename, cloud.namespace, bucket, models.RenameObjectDetails(source_name="old", new_name="x"))


def test_a_bucket_gets_another_name_with_what_is_in_it(oci, cloud, compartment, bucket):
    oci.objects.put_object(cloud.namespace, bucket, "x", b"x")
    oci.objects.create_bucket(cloud.namespace, {"name": "taken", "compartmentId": compartment})
    update = oci.objects.update_bucket
    assert refused(409, update, cloud.namespace, bucket, {"name": "taken"}).code == "BucketAlreadyExists"
    update(cloud.namespace, bucket, {"name": "new"})
    assert oci.objects.get_object(cloud.namespace, "new", "x").data.content == b"x"
    refused(404, oci.objects.get_bucket, cloud.namespace, bucket)


def test_what_is_sent_must_be_what_was_meant(oci, cloud, bucket):
    put = oci.objects.put_object
    wrong = refused(400, put, cloud.namespace, bucket, "x", b"text", content_md5="AAAAAAAAAAAAAAAAAAAAAA==")
    assert wrong.code == "UnmatchedContentMD5"
    assert (
        "Cold is none of" in refused(400, put, cloud.namespace, bucket, "x", b"", storage_tier="Cold").message
    )
    put(cloud.namespace, bucket, "x", b"text", if_none_match="*")
    assert (
        refused(412, put, cloud.namespace, bucket, "x", b"text", if_none_match="*").code
        == "IfNoneMatchFailed"
    )
    refused(416, oci.objects.get_object, cloud.namespace, bucket, "x", range="bytes=9-")
    assert oci.objects.get_object(cloud.namespace, bucket, "x", range="bytes=-2").data.content == b"xt"
    refused(412, oci.objects.delete_object, cloud.namespace, bucket, "x", if_match="old")


def test_an_archived_object_is_not_read(oci, cloud, bucket):
    oci.objects.put_object(cloud.namespace, bucket, "x", b"text", storage_tier="Archive")
    assert refused(409, oci.objects.get_object, cloud.namespace, bucket, "x").code == "NotRestored"
    head = oci.objects.head_object(cloud.namespace, bucket, "x")
    assert (head.headers["storage-tier"], head.headers["archival-state"]) == ("Archive", "Archived")


def test_twenty_gigabytes_are_free(oci, cloud, bucket):
    cloud.limits["object-storage", "storage-bytes"] = (10, False)
    oci.objects.put_object(cloud.namespace, bucket, "x", b"0123456789")
    assert refused(400, oci.objects.put_object, cloud.namespace, bucket, "y", b"0").code == "LimitExceeded"


def test_a_locked_rule_only_grows(oci, cloud, bucket):
    day = models.Duration(time_amount=10, time_unit="DAYS")
    locked = dt.datetime.now(dt.UTC) + dt.timedelta(days=15)
    details = models.CreateRetentionRuleDetails(display_name="r", duration=day, time_rule_locked=locked)
    made = oci.objects.create_retention_rule(cloud.namespace, bucket, details).data
    cloud.ahead = 16 * 86400
    update = oci.objects.update_retention_rule
    less = models.UpdateRetentionRuleDetails(
        duration=models.Duration(time_amount=9, time_unit="DAYS"), time_rule_locked=locked
    )
    assert refused(409, update, cloud.namespace, bucket, made.id, less).code == "RetentionRuleLocked"
    more = models.UpdateRetentionRuleDetails(
        duration=models.Duration(time_amount=1, time_unit="YEARS"), time_rule_locked=locked
    )
    assert update(cloud.namespace, bucket, made.id, more).data.duration.time_unit == "YEARS"
    delete = oci.objects.delete_retention_rule
    assert refused(409, delete, cloud.namespace, bucket, made.id).code == "RetentionRuleLocked"
    refused(404, oci.objects.get_retention_rule, cloud.namespace, bucket, "none")


def test_versions_and_retention_do_not_go_together(oci, cloud, bucket):
    day = models.CreateRetentionRuleDetails(duration=models.Duration(time_amount=1, time_unit="DAYS"))
    made = oci.objects.create_retention_rule(cloud.namespace, bucket, day).data
    refused(409, oci.objects.update_bucket, cloud.namespace, bucket, {"versioning": "Enabled"})
    oci.objects.delete_retention_rule(cloud.namespace, bucket, made.id)
    oci.objects.update_bucket(cloud.namespace, bucket, {"versioning": "Enabled"})
    refused(409, oci.objects.create_retention_rule, cloud.namespace, bucket, day)
    error = refused(400, oci.objects.update_bucket, cloud.namespace, bucket, {"versioning": "Disabled"})
    assert "Disabled is none of Enabled, Suspended" in error.message
