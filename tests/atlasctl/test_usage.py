"""What the sources make of Oracle's answers: numbers, forecasts, leftovers; what the metrics say of them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atlasctl.cloud.configuration import Configuration
from atlasctl.cloud.metadata import Machine
from atlasctl.trouble import Trouble
from atlasctl.usage import block, compute, objects, traffic
from atlasctl.usage.idle import idle
from atlasctl.usage.metrics import render
from atlasctl.usage.parts import Part, Scene, wire_time
from atlasctl.usage.report import concerns

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)  # 9.5 days before the month ends
MACHINE = Machine(
    id="ocid1.instance.oc1..me",
    tenancy="ocid1.tenancy.oc1..t",
    compartment="ocid1.compartment.oc1..c",
    region="eu-frankfurt-1",
    domain="oraclecloud.com",
    shape="VM.Standard.A1.Flex",
    ocpus=2,
    memory_gb=12,
    network_gbps=2,
    created=datetime(2026, 9, 1, tzinfo=UTC),
    vnics=("ocid1.vnic.oc1..v",),
)


class Oracle:
    """A client that answers what a test wrote down: lists by collection, series by metric, usage by kind."""

    def __init__(self) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.series: dict[str, list[dict[str, Any]]] = {}
        self.usage: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[str] = []

    def listed(self, service: str, path: str, what: str, **query: str) -> list[dict[str, Any]]:
        self.asked.append(f"{path} {query}")
        return self.lists.get(path.rsplit("/", 1)[-1], [])

    def get(self, service: str, path: str, what: str, **query: str) -> Any:
        return "space"

    def items(self, service: str, path: str, what: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        self.asked.append(f"{body['queryType']} {body['timeUsageStarted']}")
        since, until = body["timeUsageStarted"], body["timeUsageEnded"]
        found = self.usage.get(body["queryType"], [])
        return [one for one in found if since <= one["timeUsageStarted"] < until]

    def post(self, service: str, path: str, what: str, body: dict[str, Any], **query: str) -> Any:
        self.asked.append(body["query"])
        return self.series.get(body["query"].partition("[")[0], [])

    def points(self, metric: str, values: dict[datetime, float], **dimensions: str) -> None:
        data = [{"timestamp": wire_time(at), "value": value} for at, value in values.items()]
        self.series.setdefault(metric, []).append({"dimensions": dimensions, "aggregatedDatapoints": data})

    def day(self, day: int, number: str, quantity: float, month: int = 11) -> None:
        started = wire_time(datetime(2026, month, day, tzinfo=UTC))
        item = {"skuPartNumber": number, "timeUsageStarted": started, "computedQuantity": quantity}
        self.usage.setdefault("USAGE", []).append(item)


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


def look(
    oracle: Oracle, source, *, now=NOW, machine=MACHINE, compartments=("ocid1.compartment.oc1..c",), **more
) -> Part:
    return source(Scene(oracle, machine, Configuration(**more), now, compartments))


def hourly(days: float, value: float, until: datetime = NOW) -> dict[datetime, float]:
    return {until - timedelta(hours=hour): value for hour in range(1, int(days * 24) + 1)}


class TestVolumes:
    def test_all_that_is_there_counts_and_what_is_gone_does_not(self, oracle):
        oracle.lists["volumes"] = [
            {"id": "a", "sizeInGBs": 50, "lifecycleState": "AVAILABLE"},
            {"id": "b", "sizeInGBs": 900, "lifecycleState": "TERMINATED"},
        ]
        oracle.lists["bootVolumes"] = [{"id": "c", "sizeInGBs": 47, "lifecycleState": "AVAILABLE"}]
        (reading,) = look(oracle, block.volumes).readings
        assert (reading.limit, reading.used, reading.allowed) == ("volume_gb", 97, 200)

    def test_what_nothing_is_attached_to_is_left_over(self, oracle):
        oracle.lists["volumes"] = [
            {"id": "a", "displayName": "data", "sizeInGBs": 50, "lifecycleState": "AVAILABLE"},
            {
                "id": "b",
                "displayName": "old",
                "sizeInGBs": 100,
                "vpusPerGB": 0,
                "lifecycleState": "AVAILABLE",
                "timeCreated": "2026-11-01T12:00:00Z",
            },
        ]
        oracle.lists["bootVolumes"] = [
            {"id": "c", "displayName": "boot", "lifecycleState": "AVAILABLE", "availabilityDomain": "AD-1"},
            {
                "id": "d",
                "displayName": "boot of none",
                "sizeInGBs": 50,
                "lifecycleState": "AVAILABLE",
                "availabilityDomain": "AD-2",
            },
        ]
        oracle.lists["volumeAttachments"] = [
            {"volumeId": "a", "lifecycleState": "ATTACHED"},
            {"volumeId": "b", "lifecycleState": "DETACHED"},
        ]
        oracle.lists["bootVolumeAttachments"] = [{"bootVolumeId": "c", "lifecycleState": "ATTACHED"}]
        found = look(oracle, block.volumes).leftovers
        assert [(one.kind, one.name, one.gigabytes) for one in found] == [
            ("volume", "old", 100),
            ("boot_volume", "boot of none", 50),
        ]
        assert found[0].age_days == 20
        assert found[0].monthly_dollars == 2.55
        assert found[1].monthly_dollars == 2.12  # with 10 performance units, as all volumes have by default
        assert {"AD-1", "AD-2"} <= set(re.findall(r"AD-\d", " ".join(oracle.asked)))

    def test_every_compartment_is_looked_into(self, oracle):
        oracle.lists["volumes"] = [{"id": "a", "sizeInGBs": 50, "lifecycleState": "AVAILABLE"}]
        (reading,) = look(oracle, block.volumes, compartments=("one", "two")).readings
        assert reading.used == 100

    def test_backups_beyond_the_newest_are_left_over(self, oracle):
        oracle.lists["volumeBackups"] = [
            {
                "displayName": f"daily {day}",
                "uniqueSizeInGBs": 4,
                "sizeInGBs": 50,
                "lifecycleState": "AVAILABLE",
                "timeCreated": f"2026-11-{day:02}T02:00:00Z",
            }
            for day in (18, 20, 19)
        ]
        oracle.lists["bootVolumeBackups"] = [
            {"displayName": "boot", "lifecycleState": "AVAILABLE", "timeCreated": "2026-11-10T02:00:00Z"}
        ]
        part = look(oracle, block.backups, backups_kept=2)
        assert part.readings[0].used == 4
        assert [(one.name, one.gigabytes) for one in part.leftovers] == [("daily 18", 4), ("boot", 0)]

    def test_addresses_nothing_uses(self, oracle):
        oracle.lists["publicIps"] = [
            {"ipAddress": "192.0.2.1", "lifecycleState": "ASSIGNED", "assignedEntityId": "x"},
            {"ipAddress": "192.0.2.2", "displayName": "spare", "lifecycleState": "AVAILABLE"},
        ]
        (found,) = look(oracle, block.addresses).leftovers
        assert found.name == "192.0.2.2 (spare)"


class TestObjects:
    def test_tiers_count_together_where_all_is_always_free(self, oracle):
        oracle.points("StoredBytes", hourly(7, 4e9), tier="Standard", resourceDisplayName="backup")
        oracle.points("StoredBytes", hourly(7, 3e9), tier="InfrequentAccess", resourceDisplayName="backup")
        reading = look(oracle, objects.objects).readings[0]
        assert (reading.limit, reading.used, reading.allowed) == ("object_gb", 7, 20)
        assert reading.forecast == 7, "what did not grow in a week is not expected to"

    def test_and_each_alone_where_the_account_is_paid(self, oracle):
        oracle.points("StoredBytes", hourly(7, 4e9), tier="Standard")
        oracle.points("StoredBytes", hourly(7, 3e9), tier="Archive")
        found = look(oracle, objects.objects, account="pay_as_you_go").readings
        assert {one.limit: (one.used, one.allowed) for one in found[:3]} == {
            "object_standard_gb": (4, 10),
            "object_infrequent_gb": (0, 10),
            "object_archive_gb": (3, 10),
        }

    def test_growth_goes_on_to_the_end_of_the_month(self, oracle):
        start = NOW - timedelta(days=7)
        oracle.points("StoredBytes", {start: 2e9, NOW: 9e9}, resourceDisplayName="backup")
        reading = look(oracle, objects.objects).readings[0]
        assert reading.forecast == pytest.approx(9 + 9.5)  # a gigabyte a day

    def test_a_new_bucket_is_growth_too(self, oracle):
        start = NOW - timedelta(days=7)
        oracle.points("StoredBytes", {start: 1e9, NOW: 1e9}, resourceDisplayName="old")
        oracle.points("StoredBytes", {NOW: 7e9}, resourceDisplayName="new")
        assert look(oracle, objects.objects).readings[0].forecast == pytest.approx(8 + 9.5)

    def test_requests_of_the_month_and_the_rate_of_the_week(self, oracle):
        oracle.points("AllRequests", hourly(30, 10))  # reaches back into October
        reading = look(oracle, objects.objects).readings[-1]
        assert reading.limit == "object_requests"
        assert reading.used == 20.5 * 24 * 10
        assert reading.forecast == pytest.approx(30 * 24 * 10, rel=0.01)

    def test_without_data_nothing_is_used(self, oracle):
        assert [one.used for one in look(oracle, objects.objects).readings] == [0, 0]

    def test_uploads_nobody_finished(self, oracle):
        oracle.lists["b"] = [{"name": "back up"}]
        oracle.lists["u"] = [
            {"object": "a", "timeCreated": "2026-11-01T12:00:00Z"},
            {"object": "b", "timeCreated": "2026-11-20T12:00:00Z"},
        ]
        oracle.points("UncommittedParts", {NOW: 2e9}, resourceDisplayName="back up")
        (found,) = look(oracle, objects.uploads).leftovers
        assert (found.name, found.things, found.age_days, found.gigabytes) == ("back up", 1, 20, 2)
        assert any(one.startswith("/n/space/b/back%20up/u") for one in oracle.asked)


class TestEgress:
    def test_what_all_cards_sent_since_the_month_began(self, oracle):
        oracle.points("VnicToNetworkBytes", hourly(30, 1e9), resourceId="one")
        oracle.points("VnicToNetworkBytes", hourly(2, 5e9), resourceId="two")
        (reading,) = look(oracle, traffic.egress).readings
        assert reading.used == 20.5 * 24 + 2 * 24 * 5
        assert reading.estimated

    def test_a_burst_of_an_hour_is_no_rate(self, oracle):
        oracle.points("VnicToNetworkBytes", {NOW - timedelta(hours=1): 24e9})
        (reading,) = look(oracle, traffic.egress).readings
        assert reading.forecast == pytest.approx(24 + 9.5 * 24)


class TestHours:
    def test_reported_days_and_what_must_have_come_since(self, oracle):
        for day in range(1, 20):
            oracle.day(day, "B93297", 48)
            oracle.day(day, "B93298", 288)
        ocpu, memory = look(oracle, compute.a1_hours).readings
        hours = 20.5 * 24
        assert (ocpu.used, memory.used) == (pytest.approx(2 * hours), pytest.approx(12 * hours))
        assert ocpu.forecast == pytest.approx(30 * 48)
        assert (ocpu.allowed, memory.allowed) == (1500, 9000)

    def test_what_other_machines_use_goes_on_too(self, oracle):
        for day in range(1, 19):
            oracle.day(day, "B93297", 96)  # two machines like this one
        ocpu = look(oracle, compute.a1_hours).readings[0]
        assert ocpu.used == pytest.approx(4 * 20.5 * 24)
        assert ocpu.forecast == pytest.approx(4 * 30 * 24)

    def test_days_that_are_reported_late_are_not_missed(self, oracle):
        for day in range(1, 19):
            oracle.day(day, "B93297", 48)
        oracle.day(19, "B93297", 3)
        ocpu = look(oracle, compute.a1_hours).readings[0]
        assert ocpu.used == pytest.approx(2 * 20.5 * 24)

    def test_the_first_days_know_the_rate_of_the_month_before(self, oracle):
        now = datetime(2026, 11, 2, 0, tzinfo=UTC)
        for day in range(26, 31):
            oracle.day(day, "B93297", 96, month=10)
        ocpu = look(oracle, compute.a1_hours, now=now).readings[0]
        assert ocpu.used == pytest.approx(4 * 24)

    def test_a_machine_born_yesterday(self, oracle):
        born = MACHINE._replace(created=NOW - timedelta(hours=20))
        ocpu = look(oracle, compute.a1_hours, machine=born).readings[0]
        assert ocpu.used == pytest.approx(40)

    def test_without_the_usage_api_it_is_this_machine_alone(self, oracle):
        ocpu, memory = look(oracle, compute.a1_hours, usage_api=False).readings
        assert (ocpu.used, memory.used) == (2 * 20.5 * 24, 12 * 20.5 * 24)
        assert oracle.asked == []

    def test_the_other_free_shape_has_no_such_hours(self, oracle):
        micro = MACHINE._replace(shape="VM.Standard.E2.1.Micro", ocpus=0.125, memory_gb=1)
        assert [one.used for one in look(oracle, compute.a1_hours, machine=micro).readings] == [0, 0]

    def test_a_part_number_that_changed_is_known_by_its_name(self, oracle):
        oracle.day(1, "B99999", 48)
        oracle.usage["USAGE"][0]["skuName"] = "Oracle Compute - Ampere A1 - OCPU"
        micro = MACHINE._replace(shape="VM.Standard.E2.1.Micro")
        assert look(oracle, compute.a1_hours, machine=micro).readings[0].used == 48

    def test_money(self, oracle):
        at = wire_time(datetime(2026, 11, 3, tzinfo=UTC))
        oracle.usage["COST"] = [
            {"service": "Compute", "computedAmount": 1.005, "currency": "EUR", "timeUsageStarted": at},
            {"service": "Block", "computedAmount": 0.5, "currency": "EUR", "timeUsageStarted": at},
        ]
        assert look(oracle, compute.cost).cost == (1.5, "EUR")

    def test_on_the_first_of_a_month_no_day_has_ended(self, oracle):
        assert look(oracle, compute.cost, now=datetime(2026, 11, 1, 5, tzinfo=UTC)).cost == (0, "")
        assert oracle.asked == []


class TestIdle:
    def busy(self, oracle, *, cpu=10.0, memory=10.0, megabytes=1.0):
        points = [NOW - timedelta(minutes=5 * step) for step in range(1, 7 * 24 * 12 + 1)]
        oracle.points("CpuUtilization", dict.fromkeys(points, cpu))
        oracle.points("MemoryUtilization", dict.fromkeys(points, memory))
        oracle.points("VnicFromNetworkBytes", dict.fromkeys(points, megabytes * 1e6))
        oracle.points("VnicToNetworkBytes", dict.fromkeys(points, megabytes * 5e5))

    def test_below_in_everything(self, oracle):
        self.busy(oracle)
        seen = look(oracle, idle).idle
        assert (seen.cpu, seen.memory) == (10, 10)
        assert seen.network == pytest.approx(1e6 / (2e9 / 8 * 300) * 100, abs=0.01)
        assert seen.margin == -10
        assert seen.observed_hours == 168

    def test_one_that_is_above_is_enough(self, oracle):
        self.busy(oracle, memory=35)
        assert look(oracle, idle).idle.margin == 15

    def test_memory_counts_on_arm_alone(self, oracle):
        self.busy(oracle, memory=35)
        micro = MACHINE._replace(shape="VM.Standard.E2.1.Micro")
        seen = look(oracle, idle, machine=micro).idle
        assert (seen.memory, seen.margin) == (None, -10)

    def test_bursts_of_less_than_a_twentieth_do_not_count(self, oracle):
        self.busy(oracle, cpu=5)
        data = oracle.series["CpuUtilization"][0]["aggregatedDatapoints"]
        for point in data[: len(data) // 25]:
            point["value"] = 100
        assert look(oracle, idle).idle.cpu == 5
        for point in data[: len(data) // 15]:
            point["value"] = 100
        assert look(oracle, idle).idle.cpu == 100

    def test_without_the_agent_nothing_is_claimed(self, oracle):
        part = look(oracle, idle)
        assert part.idle.margin is None
        assert "no data on CPU, the network, memory" in part.missing
        assert "oracle-cloud-agent" in part.missing

    def test_one_that_is_above_is_enough_even_if_others_are_unknown(self, oracle):
        self.busy(oracle, cpu=50)
        del oracle.series["MemoryUtilization"]
        part = look(oracle, idle)
        assert part.idle.margin == 30
        assert "no data on memory" in part.missing


def report(readings=(), leftovers=(), *, idle=None, cost=None, problems=()) -> dict[str, Any]:
    part = {"read_at": "2026-11-21T12:00:00Z", "readings": readings, "leftovers": leftovers}
    return {
        "read_at": "2026-11-21T12:00:00Z",
        "last_success": "2026-11-20T12:00:00Z",
        "success": not problems,
        "problems": list(problems),
        "parts": {"volumes": part | {"idle": None, "cost": None}}
        | (
            {"idle": {"read_at": part["read_at"], "readings": [], "leftovers": [], "idle": idle}}
            if idle
            else {}
        )
        | (
            {"cost": {"read_at": part["read_at"], "readings": [], "leftovers": [], "cost": cost}}
            if cost
            else {}
        ),
        "calls": {"compute": 7, "object_storage": 3},
        "seconds": 2.5,
        "machine": {},
    }


def number(limit: str, used: float, allowed: float, forecast: float | None = None) -> dict[str, Any]:
    return {
        "limit": limit,
        "title": limit,
        "used": used,
        "allowed": allowed,
        "forecast": forecast,
        "estimated": False,
    }


IDLE = {"cpu": 5.0, "network": None, "memory": 12.5, "observed_hours": 168.0, "margin": -7.5}


class TestConcerns:
    @pytest.mark.parametrize(
        ("reading", "words"),
        [
            (number("volume_gb", 159, 200), None),
            (number("volume_gb", 160, 200), "80% of what is free"),
            (number("volume_gb", 250, 200), "125% of what is free"),
            (number("a1_ocpu_hours", 1400, 1500, 1488), None),
            (number("a1_ocpu_hours", 400, 1500, 2976), "will pass what is free"),
            (number("a1_ocpu_hours", 1500, 1500, 1500), "100% of what is free"),
            (number("egress_gb", 10, 10000, 10001), "will pass"),
        ],
    )
    def test_limits(self, reading, words):
        found = concerns(report([reading]))
        assert len(found) == (0 if words is None else 1)
        assert words is None or words in found[0]

    def test_idle(self):
        assert "may call this machine idle" in concerns(report(idle=IDLE))[0]
        assert concerns(report(idle=IDLE | {"margin": 0.1})) == []
        assert concerns(report(idle=IDLE | {"margin": None})) == []
        assert concerns(report(idle=IDLE | {"observed_hours": 71})) == []

    def test_money(self):
        assert concerns(report(cost={"amount": 0.01, "currency": "EUR"})) == ["This month cost 0.01 EUR"]
        assert concerns(report(cost={"amount": 0, "currency": "EUR"})) == []


class TestMetrics:
    def test_every_line_is_of_the_format(self):
        text = render(
            report(
                [number("volume_gb", 97.25, 200), number("egress_gb", 1, 10000, 2.5)],
                [
                    {
                        "kind": "volume",
                        "things": 1,
                        "gigabytes": 50.0,
                        "monthly_dollars": 2.12,
                        "age_days": 3,
                    }
                ],
                idle=IDLE,
                cost={"amount": 0, "currency": "EUR"},
            )
        )
        assert text.endswith("\n")
        for line in text.splitlines():
            comment = re.fullmatch(r"# (HELP|TYPE) atlas_free_tier_[a-z_]+ .+", line)
            assert comment or re.fullmatch(r'atlas_free_tier_[a-z_]+(\{[a-z]+="[^"]*"\})? -?[\d.]+', line), (
                line
            )
        samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        assert samples['atlas_free_tier_used{limit="volume_gb"}'] == "97.25"
        assert samples['atlas_free_tier_limit{limit="volume_gb"}'] == "200"
        assert samples['atlas_free_tier_forecast{limit="egress_gb"}'] == "2.5"
        assert 'atlas_free_tier_forecast{limit="volume_gb"}' not in samples
        assert samples["atlas_free_tier_idle_margin_percent"] == "-7.5"
        assert 'atlas_free_tier_idle_percent{resource="network"}' not in samples
        assert samples['atlas_free_tier_leftovers{kind="volume"}'] == "1"
        assert samples['atlas_free_tier_leftovers{kind="upload"}'] == "0"
        assert samples["atlas_free_tier_success"] == "1"
        assert samples["atlas_free_tier_timestamp_seconds"] == "1795262400"

    def test_a_source_that_failed_is_named(self):
        text = render(report(problems=[{"source": "cost", "message": "refused"}]))
        assert 'atlas_free_tier_source_success{source="cost"} 0' in text
        assert 'atlas_free_tier_source_success{source="volumes"} 1' in text
        assert "atlas_free_tier_success 0" in text
        assert "atlas_free_tier_last_success_timestamp_seconds 1795176000" in text

    def test_no_number_of_an_idle_machine_that_nobody_watches(self):
        assert "idle" not in render(report())


class TestConfiguration:
    def test_a_slip_of_the_pen_is_named(self, tmp_path):
        from atlasctl.cloud.configuration import read_configuration

        file = tmp_path / "oci.json"
        assert read_configuration(file) == Configuration()
        for text, words in [
            ("{", "is not JSON"),
            ("[]", "one JSON object"),
            ('{"compartment": []}', "unknown key 'compartment'"),
            ('{"compartments": "x"}', "'compartments' cannot be \"x\""),
            ('{"limits": {"volumes_gb": 3}}', "'limits' cannot be"),
            ('{"metadata": "169.254.169.254"}', "'metadata' cannot be"),
        ]:
            file.write_text(text)
            with pytest.raises(Trouble, match=re.escape(words)):
                read_configuration(file)
        file.write_text('{"limits": {"volume_gb": 100}, "endpoint": "http://127.0.0.1:1/"}')
        found = read_configuration(file)
        assert found.limits["volume_gb"] == 100
        assert found.limits["backups"] == 5
        assert found.endpoint == "http://127.0.0.1:1"
