"""The machine: CPU, memory, disk, network, services, database."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard
from parts import GREEN, GREY, RED, THIRD, YELLOW, Panel, Query, graph, nothing, page, tile, timeline

OURS = "(atlas-(api|worker)|nginx|postgresql@.+|prometheus(-.+)?|grafana-server)[.]service"
REAL = 'device!~"lo|veth.*|docker.*|br-.*"'


def build() -> Dashboard:
    """Build the dashboard of the machine and what runs on it."""
    return page(
        "atlas-system",
        "CPU, memory, disk, network, services and the database.",
        "now-6h",
        [*_now(), *_machine(), *_services(), *_database()],
    )


def _now() -> list[Panel]:
    used = [(0.8, YELLOW), (0.9, RED)]
    return [
        tile(
            "CPU",
            "Used over 5 minutes.",
            "instance:cpu:ratio5m",
            unit="percentunit",
            width=THIRD,
            decimals=0,
            steps=used,
        ),
        tile(
            "Memory",
            "Used, without what can be freed.",
            "instance:memory:ratio",
            unit="percentunit",
            width=THIRD,
            decimals=0,
            steps=used,
        ),
        tile(
            "Disk",
            "Of the fullest file system.",
            "max(instance:disk:ratio)",
            unit="percentunit",
            width=THIRD,
            decimals=0,
            steps=used,
        ),
    ]


def _machine() -> list[Panel]:
    return [
        graph(
            "CPU by what it does",
            "Of all processors together. iowait: they wait for the disk. steal: another machine had them.",
            Query(
                'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[$__rate_interval]))'
                ' / scalar(count(node_cpu_seconds_total{mode="idle"}))',
                "{{mode}}",
            ),
            unit="percentunit",
            stacked=True,
        ),
        graph(
            "CPU by program",
            "Processors' worth of time.",
            Query(
                "sum by (groupname) (rate(namedprocess_namegroup_cpu_seconds_total[$__rate_interval]))",
                "{{groupname}}",
            ),
            stacked=True,
        ),
        graph(
            "Memory by program",
            "Resident; what programs share is counted at each.",
            Query(
                'sum by (groupname) (namedprocess_namegroup_memory_bytes{memtype="resident"})',
                "{{groupname}}",
            ),
            unit="bytes",
            stacked=True,
        ),
        graph(
            "Memory that is left",
            "What can be had at once, and what was moved to the disk.",
            Query("node_memory_MemTotal_bytes", "All"),
            Query("node_memory_MemAvailable_bytes", "Available"),
            Query("node_memory_SwapTotal_bytes - node_memory_SwapFree_bytes", "Swapped out"),
            unit="bytes",
        ),
        graph(
            "Disk by file system",
            "How much is used.",
            Query("instance:disk:ratio", "{{mountpoint}}"),
            unit="percentunit",
            steps=[(0.8, YELLOW), (0.9, RED)],
            top=1,
        ),
        graph(
            "Disk, read and written",
            "All disks together.",
            Query("sum(rate(node_disk_read_bytes_total[$__rate_interval]))", "Read"),
            Query("sum(rate(node_disk_written_bytes_total[$__rate_interval]))", "Written"),
            unit="Bps",
        ),
        graph(
            "Network",
            "What came in and went out.",
            Query(f"sum(rate(node_network_receive_bytes_total{{{REAL}}}[$__rate_interval]))", "In"),
            Query(f"sum(rate(node_network_transmit_bytes_total{{{REAL}}}[$__rate_interval]))", "Out"),
            unit="Bps",
        ),
    ]


def _services() -> list[Panel]:
    return [
        timeline(
            "Services",
            "Whether each unit runs, as systemd says.",
            Query(
                f'max by (name) (node_systemd_unit_state{{state="active", name=~"{OURS}"}})',
                "{{name}}",
            ),
            {0: ("Not running", RED), 1: ("Running", GREEN)},
        ),
        timeline(
            "Measured",
            "Whether Prometheus reaches what it asks.",
            Query("min by (job) (up)", "{{job}}"),
            {0: ("Away", RED), 1: ("Answers", GREEN)},
        ),
        graph(
            "Restarts",
            "How often systemd, or the health checks, restarted a unit within an hour.",
            Query(
                f'sum by (name) (increase(node_systemd_service_restart_total{{name=~"{OURS}"}}[1h]))'
                f" > 0 or on () {nothing('name')}",
                "{{name}}",
            ),
            Query(
                f"sum by (unit) (increase(atlas_health_restarts_total[1h])) > 0 or on () {nothing('unit')}",
                "{{unit}} by the health checks",
            ),
        ),
        graph(
            "Requests a second",
            "As nginx counts them, and as the app does.",
            Query("sum(rate(nginx_http_requests_total[$__rate_interval]))", "nginx"),
            Query("sum(atlas:requests:rate5m) or vector(0)", "Atlas"),
            unit="reqps",
        ),
        graph(
            "How long answers take",
            "Half of them are quicker than the first line, 19 of 20 than the second.",
            *(
                Query(
                    f"histogram_quantile({share}, sum by (le) (rate(atlas_request_seconds_bucket[5m])))", name
                )
                for share, name in ((0.5, "Half"), (0.95, "95 %"))
            ),
            unit="s",
        ),
        graph(
            "Failed requests",
            "The share of answers that blame Atlas (5xx).",
            Query("max(atlas:request_errors:ratio5m) or vector(0)", "Failed"),
            unit="percentunit",
            steps=[(0.05, RED)],
        ),
    ]


def _database() -> list[Panel]:
    return [
        tile(
            "Database",
            "Whether the app reaches its database.",
            "min(atlas_database_up)",
            width=THIRD,
            first=GREY,
            mapping={0: ("Away", RED), 1: ("Answers", GREEN)},
        ),
        tile("Database, size", "On the disk.", "max(atlas_database_bytes)", unit="bytes", width=THIRD),
        tile(
            "Database, connections",
            "Of all PostgreSQL takes. With SQLite there are none.",
            "sum(pg_stat_database_numbackends) / max(pg_settings_max_connections)",
            unit="percentunit",
            width=THIRD,
            decimals=0,
            steps=[(0.7, YELLOW), (0.9, RED)],
        ),
        graph(
            "Database, answers",
            "How long the smallest question takes.",
            Query("max(atlas_database_seconds)", "Smallest question"),
            unit="s",
            steps=[(1, RED)],
        ),
        graph(
            "Database, transactions a second",
            "Ended well, and taken back.",
            Query("sum(rate(pg_stat_database_xact_commit[$__rate_interval]))", "Ended well"),
            Query("sum(rate(pg_stat_database_xact_rollback[$__rate_interval]))", "Taken back"),
            unit="ops",
        ),
    ]
