"""Budgets, quotas, limits and the usage report, by the SDK."""

import datetime as dt

import pytest
from tests.oci_api import seeds
from tests.oci_api.clients import refused, sdk

DAY = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def budget(oci, cloud, compartment):
    body = {
        "compartmentId": cloud.tenancy,
        "amount": 1,
        "resetPeriod": "MONTHLY",
        "targetType": "COMPARTMENT",
        "targets": [compartment],
        "displayName": "atlas",
    }
    return oci.budget.create_budget(body).data


def test_a_budget_counts_what_was_spent_below_it(oci, cloud, compartment, budget):
    assert (budget.alert_rule_count, budget.processing_period_type) == (0, "MONTH")
    seeds.spent(cloud, {"service": "Compute", "amount": 3.0, "compartmentId": compartment}, {"amount": 4.0})
    assert oci.budget.get_budget(budget.id).data.actual_spend == 3.0
    changed = oci.budget.update_budget(budget.id, {"amount": 5}).data
    assert (changed.amount, changed.version) == (5, 2)
    for wrong, words in [
        ({"amount": 0}, "amount: 0 must be at least 1"),
        ({"targets": []}, "Unknown field targets"),
        ({"resetPeriod": "YEARLY"}, "YEARLY is none of MONTHLY"),
    ]:
        assert words in refused(400, oci.budget.update_budget, budget.id, wrong).message
    oci.budget.delete_budget(budget.id)
    refused(404, oci.budget.get_budget, budget.id)


def test_budgets_on_tags_are_listed_when_told(oci, cloud, budget):
    body = {"compartmentId": cloud.tenancy, "amount": 1, "resetPeriod": "MONTHLY", "targetType": "TAG"}
    tagged = oci.budget.create_budget(body | {"targets": ["ns.key.value"]}).data
    assert [row.id for row in oci.budget.list_budgets(cloud.tenancy).data] == [budget.id]
    every = oci.budget.list_budgets(cloud.tenancy, target_type="ALL").data
    assert {row.id for row in every} == {budget.id, tagged.id}
    refused(400, oci.budget.create_budget, body)
    refused(404, oci.budget.create_budget, body | {"targetType": "COMPARTMENT", "targets": ["ocid1.x"]})


def test_alert_rules(oci, cloud, budget):
    body = {"type": "ACTUAL", "threshold": 50, "thresholdType": "PERCENTAGE", "recipients": "a@example.org"}
    made = oci.budget.create_alert_rule(budget.id, body).data
    assert oci.budget.get_budget(budget.id).data.alert_rule_count == 1
    refused(409, oci.budget.create_alert_rule, budget.id, body)
    wrong = body | {"threshold": 60, "recipients": "nobody"}
    assert "nobody is no mail address" in refused(400, oci.budget.create_alert_rule, budget.id, wrong).message
    assert oci.budget.update_alert_rule(budget.id, made.id, {"threshold": 60}).data.threshold == 60
    assert [row.id for row in oci.budget.list_alert_rules(budget.id).data] == [made.id]
    oci.budget.delete_alert_rule(budget.id, made.id)
    refused(404, oci.budget.get_alert_rule, budget.id, made.id)


STATEMENTS = [
    "zero compute-core quotas in tenancy",
    "set compute-core quota standard-a1-core-count to 1 in tenancy",
    "set block-storage quota total-storage-gb to 100 in tenancy",
]


def test_a_quota_is_a_hard_stop(oci, cloud, compartment):
    body = {"compartmentId": cloud.tenancy, "name": "free", "description": "x", "statements": STATEMENTS}
    made = oci.quotas.create_quota(body).data
    refused(409, oci.quotas.create_quota, body)
    volume = {"compartmentId": compartment, "availabilityDomain": cloud.domains[0], "sizeInGBs": 150}
    assert refused(400, oci.blocks.create_volume, volume).code == "QuotaExceeded"
    asked = oci.limits.get_resource_availability
    a1 = asked("compute", "standard-a1-core-count", cloud.tenancy, availability_domain=cloud.domains[0]).data
    assert (a1.available, a1.effective_quota_value) == (2, 1)
    oci.quotas.update_quota(made.id, {"statements": STATEMENTS[:2]})
    oci.blocks.create_volume(volume)
    assert [row.name for row in oci.quotas.list_quotas(cloud.tenancy).data] == ["free"]
    oci.quotas.delete_quota(made.id)
    refused(404, oci.quotas.get_quota, made.id)


@pytest.mark.parametrize(
    "statement",
    [
        "zero compute-cores quotas in tenancy",
        "set compute-core quota standard-a1-core-count in tenancy",
        "set compute-core quota standard-a1-memory-count to 1 in tenancy",
        "zero compute-core quota standard-a1-core-count to 1 in tenancy",
        "stop everything",
    ],
)
def test_statements_of_quotas_are_read_strictly(oci, cloud, statement):
    body = {"compartmentId": cloud.tenancy, "name": "free", "description": "x", "statements": [statement]}
    assert "Unable to parse quota statement" in refused(400, oci.quotas.create_quota, body).message


def test_limits_are_of_a_domain_or_of_the_region(oci, cloud, compartment):
    assert "compute" in [row.name for row in oci.limits.list_services(cloud.tenancy).data]
    rows = oci.limits.list_limit_values(cloud.tenancy, "compute", name="standard-a1-core-count").data
    assert [(row.scope_type, row.availability_domain, row.value) for row in rows] == [
        ("AD", domain, 2) for domain in cloud.domains
    ]
    definitions = oci.limits.list_limit_definitions(cloud.tenancy, service_name="vcn", name="vcn-count").data
    assert [row.scope_type for row in definitions] == ["REGION"]
    asked = oci.limits.get_resource_availability
    machine = seeds.machine(cloud, compartment)
    used = asked(
        "compute", "standard-a1-memory-count", cloud.tenancy, availability_domain=cloud.domains[0]
    ).data
    assert (used.used, used.available) == (12, 0)
    machine.body["lifecycleState"] = "TERMINATED"
    freed = asked(
        "compute", "standard-a1-memory-count", cloud.tenancy, availability_domain=cloud.domains[0]
    ).data
    assert freed.used == 0
    refused(400, asked, "compute", "standard-a1-memory-count", cloud.tenancy)
    refused(400, asked, "vcn", "vcn-count", cloud.tenancy, availability_domain=cloud.domains[0])
    refused(404, asked, "vcn", "nothing", cloud.tenancy)


def report(cloud, **more):
    details = {
        "tenantId": cloud.tenancy,
        "timeUsageStarted": (DAY - dt.timedelta(days=2)).isoformat(),
        "timeUsageEnded": (DAY + dt.timedelta(days=1)).isoformat(),
        "granularity": "DAILY",
        "groupBy": ["service", "unit"],
    }
    return details | more


def test_the_usage_report(oci, cloud):
    yesterday = (DAY - dt.timedelta(days=1)).date()
    hours = {"service": "COMPUTE", "unit": "OCPU Hours", "skuName": "A1"}
    seeds.spent(
        cloud,
        hours | {"quantity": 48.0, "day": yesterday},
        hours | {"quantity": 20.0},
        {"service": "BLOCK", "unit": "GB", "quantity": 5.0, "amount": 1.5},
    )
    ask = oci.usage.request_summarized_usages
    rows = ask(report(cloud)).data.items
    found = [(row.time_usage_started, row.service, row.computed_quantity) for row in rows]
    assert found == [
        (DAY - dt.timedelta(days=1), "COMPUTE", 48.0),
        (DAY, "COMPUTE", 20.0),
        (DAY, "BLOCK", 5.0),
    ]
    total = ask(report(cloud, granularity="TOTAL", groupBy=["skuName"])).data.items
    assert [(row.sku_name, row.computed_quantity) for row in total] == [("A1", 68.0), (None, 5.0)]
    dimensions = [{"key": "service", "value": "BLOCK"}]
    only = ask(
        report(cloud, filter={"operator": "AND", "dimensions": dimensions}, queryType="COST")
    ).data.items
    assert [(row.service, row.computed_amount, row.currency) for row in only] == [("BLOCK", 1.5, "EUR")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"timeUsageStarted": "2026-01-01T01:00:00Z"}, "does not have the right precision"),
        ({"timeUsageStarted": "2036-01-01T00:00:00Z"}, "must be after"),
        ({"timeUsageStarted": "yesterday"}, "is not a time"),
        ({"granularity": "WEEKLY"}, "WEEKLY is none of HOURLY, DAILY, MONTHLY, TOTAL"),
        ({"groupBy": ["weather"]}, "weather is none of"),
        ({"timeUsageStarted": "2026-01-01T00:00:00Z"}, "at most 90 days"),
    ],
)
def test_what_the_usage_report_is_not_asked(oci, cloud, change, words):
    assert words in refused(400, oci.usage.request_summarized_usages, report(cloud, **change)).message


def test_usage_is_of_ones_own_tenancy(oci, cloud):
    with pytest.raises(sdk.exceptions.ServiceError, match="NotAuthorizedOrNotFound"):
        oci.usage.request_summarized_usages(report(cloud, tenantId="ocid1.tenancy.oc1..x"))
