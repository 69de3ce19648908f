"""Metrics, alarms, topics, DNS and the process, by the SDK."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.oci_api import seeds
from tests.oci_api.clients import Clients, refused, sdk

ROOT = Path(__file__).resolve().parents[2]


def ask(oci, compartment, query, days=7, namespace="oci_computeagent", **more):
    end = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    body = {"namespace": namespace, "query": query, "endTime": end.isoformat()}
    body["startTime"] = (end - dt.timedelta(days=days)).isoformat()
    return oci.monitoring.summarize_metrics_data(compartment, body | more).data


def test_a_week_of_measurements(oci, cloud, compartment):
    for name, value in (("one", 10.0), ("two", 30.0)):
        seeds.series(
            cloud,
            "oci_computeagent",
            "CpuUtilization",
            value,
            compartment_id=compartment,
            dimensions={"resourceId": name},
            swing=5.0,
        )
    (only,) = ask(oci, compartment, 'CpuUtilization[1h]{resourceId = "one"}.mean()')
    values = [point.value for point in only.aggregated_datapoints]
    assert only.dimensions == {"resourceId": "one"}
    assert len(values) in (168, 169)
    assert 4.9 < min(values) < max(values) < 15.1
    both = ask(oci, compartment, "CpuUtilization[1d].percentile(0.95)", days=2)
    assert sorted(row.dimensions["resourceId"] for row in both) == ["one", "two"]
    (together,) = ask(oci, compartment, "CpuUtilization[1d].grouping().max()", days=1)
    assert 34.9 < max(point.value for point in together.aggregated_datapoints) < 35.1
    assert ask(oci, compartment, "MemoryUtilization[1h].mean()") == []
    assert ask(oci, compartment, "CpuUtilization[1h].mean()", namespace="oci_vcn") == []
    whole = oci.monitoring.list_metrics(compartment, {"namespace": "oci_computeagent"}).data
    assert {row.name for row in whole} == {"CpuUtilization"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("CpuUtilization", "cannot parse"),
        ("CpuUtilization[1h]", "cannot parse"),
        ("CpuUtilization[2w].mean()", "cannot parse"),
        ("CpuUtilization[90m].mean()", "is no interval"),
        ("CpuUtilization[1h].median()", "no statistic median"),
        ("CpuUtilization[1h].percentile(95)", "between 0 and 1"),
        ("CpuUtilization[1h]{resourceId = one}.mean()", "cannot parse the dimension"),
        ("CpuUtilization[1h].grouping()", "a statistic is missing"),
    ],
)
def test_queries_are_read_strictly(oci, compartment, query, words):
    with pytest.raises(sdk.exceptions.ServiceError) as caught:
        ask(oci, compartment, query)
    assert (caught.value.status, words in caught.value.message) == (400, True)


def test_minutes_reach_back_a_week(oci, compartment):
    with pytest.raises(sdk.exceptions.ServiceError, match="at most 7 days"):
        ask(oci, compartment, "CpuUtilization[1m].mean()", days=8)


def stream(compartment, **more):
    now = dt.datetime.now(dt.UTC)
    row = {"namespace": "atlas", "name": "used", "compartmentId": compartment, "dimensions": {"limit": "a1"}}
    return row | {"datapoints": [{"timestamp": now.isoformat(), "value": 5.0}]} | more


def test_measurements_are_posted(oci, cloud, compartment):
    old = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=3)).isoformat()
    data = [
        stream(compartment),
        stream(compartment, namespace="oci_atlas"),
        stream(compartment, datapoints=[{"timestamp": old, "value": 1.0}]),
    ]
    answer = oci.monitoring.post_metric_data({"metricData": data}).data
    assert answer.failed_metrics_count == 2
    assert "older than 2 hours" in answer.failed_metrics[1].message
    (row,) = ask(oci, compartment, "used[1m].max()", days=1, namespace="atlas")
    assert [point.value for point in row.aggregated_datapoints] == [5.0]
    refused(400, oci.monitoring.post_metric_data, {"metricData": [stream(compartment)] * 51})
    refused(400, oci.monitoring.post_metric_data, {"metricData": data, "batchAtomicity": "ATOMIC"})


def test_an_alarm_tells_a_topic(oci, cloud, compartment):
    topic = oci.topics.create_topic({"compartmentId": compartment, "name": "atlas"}).data
    refused(409, oci.topics.create_topic, {"compartmentId": cloud.tenancy, "name": "atlas"})
    assert [row.topic_id for row in oci.topics.list_topics(compartment).data] == [topic.topic_id]
    oci.topics.update_topic(topic.topic_id, {"description": "new"})
    mail = {
        "topicId": topic.topic_id,
        "compartmentId": compartment,
        "protocol": "EMAIL",
        "endpoint": "a@example.org",
    }
    subscription = oci.subscriptions.create_subscription(mail).data
    assert subscription.lifecycle_state == "PENDING"
    refused(400, oci.subscriptions.create_subscription, mail | {"endpoint": "nobody"})
    body = {
        "compartmentId": compartment,
        "metricCompartmentId": compartment,
        "displayName": "busy",
        "namespace": "oci_computeagent",
        "query": "CpuUtilization[5m].mean() > 80",
        "severity": "WARNING",
        "destinations": [topic.topic_id],
        "isEnabled": True,
    }
    alarm = oci.monitoring.create_alarm(body).data
    for wrong, words in [
        ({"severity": "LOUD"}, "severity: LOUD is none of"),
        ({"query": "CpuUtilization[5m].mean()"}, "ends with a comparison"),
        ({"destinations": []}, "at least one"),
    ]:
        assert words in refused(400, oci.monitoring.update_alarm, alarm.id, wrong).message
    assert oci.monitoring.update_alarm(alarm.id, {"isEnabled": False}).data.is_enabled is False
    assert [row.id for row in oci.monitoring.list_alarms(compartment).data] == [alarm.id]
    oci.monitoring.delete_alarm(alarm.id)
    assert oci.monitoring.get_alarm(alarm.id).data.lifecycle_state == "DELETING"
    oci.subscriptions.delete_subscription(subscription.id)
    oci.topics.delete_topic(topic.topic_id)
    refused(404, oci.topics.get_topic, topic.topic_id)


@pytest.fixture
def zone(oci, cloud, compartment) -> str:
    details = sdk.dns.models.CreateZoneDetails(
        name="example.org", compartment_id=compartment, zone_type="PRIMARY"
    )
    oci.dns.create_zone(details)
    cloud.store.hurry()
    return "example.org"


def test_a_zone_is_found_by_name_and_by_ocid(oci, cloud, compartment, zone):
    found = oci.dns.get_zone(zone).data
    assert oci.dns.get_zone(found.id).data.name == zone
    assert (found.lifecycle_state, len(found.nameservers)) == ("ACTIVE", 4)
    assert [row.name for row in oci.dns.list_zones(compartment, name=zone).data] == [zone]
    details = sdk.dns.models.CreateZoneDetails(name="Example.org.", compartment_id=compartment)
    refused(409, oci.dns.create_zone, details)
    refused(404, oci.dns.get_zone, "example.net")
    oci.dns.delete_zone(zone)
    cloud.store.hurry()
    refused(404, oci.dns.get_zone, zone)


def test_record_sets_are_replaced_as_a_whole(oci, cloud, zone):
    name, dns = "atlas.example.org", oci.dns
    row = {"domain": name, "rtype": "A", "rdata": "203.0.113.1", "ttl": 300}
    assert dns.get_rr_set(zone, name, "A").data.items == []
    for address in ("203.0.113.1", "203.0.113.2"):
        dns.update_rr_set(zone, name, "A", {"items": [row | {"rdata": address}]})
    got = dns.get_rr_set(zone, name, "A")
    assert [(item.rdata, item.ttl) for item in got.data.items] == [("203.0.113.2", 300)]
    refused(412, dns.update_rr_set, zone, name, "A", {"items": []}, if_match="old")
    for wrong, words in [
        ({"rdata": "example.net"}, "is no address for A"),
        ({"domain": "other.example.org"}, "is not of the record set"),
        ({"ttl": 0}, "not within 1 and 604800"),
        ({"ttl": None}, "items[0].ttl is missing"),
    ]:
        assert words in refused(400, dns.update_rr_set, zone, name, "A", {"items": [row | wrong]}).message
    alias = {"items": [{"domain": name, "rtype": "CNAME", "rdata": "x.example.org.", "ttl": 300}]}
    assert "stands alone" in refused(400, dns.update_rr_set, zone, name, "CNAME", alias).message
    refused(400, dns.get_rr_set, zone, "example.net", "A")
    dns.patch_rr_set(zone, name, "A", {"items": [row | {"operation": "ADD"}]})
    assert len(dns.get_domain_records(zone, name).data.items) == 2
    assert {item.rtype for item in dns.get_zone_records(zone).data.items} == {"A", "NS", "SOA"}
    dns.delete_rr_set(zone, name, "A")
    assert dns.get_rr_set(zone, name, "A").data.items == []
    assert refused(400, dns.delete_rr_set, zone, zone, "SOA").code == "InvalidParameter"


def test_it_runs_as_a_process(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tests.oci_api",
        "--directory",
        str(tmp_path),
        "--public-address",
        "127.0.0.1",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=os.environ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it listens
            account = json.loads((tmp_path / "account.json").read_text())
            config = {key: account[key] for key in ("tenancy", "user", "fingerprint", "key_file", "region")}
            client = sdk.identity.IdentityClient(config, service_endpoint=account["endpoint"])
            assert len(client.list_availability_domains(account["tenancy"]).data) == 3
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_a_request_takes_milliseconds(oci: Clients, compartment: str):
    oci.network.list_vcns(compartment)
    begun = time.perf_counter()
    for _ in range(50):
        oci.network.list_vcns(compartment)
    assert (time.perf_counter() - begun) / 50 < 0.03  # 2 ms when nothing else runs; 40 ms is Nagle's
