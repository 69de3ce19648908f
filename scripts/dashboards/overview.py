"""The dashboard that says whether everything is all right, and what changed."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard
from parts import (
    GREY,
    HEALTH,
    ORANGE,
    RED,
    THIRD,
    YELLOW,
    Query,
    graph,
    listing,
    nothing,
    page,
    tile,
    timeline,
)

FIRING = 'ALERTS{alertstate="firing", severity=~"warning|critical"}'
SYSTEM, CONTENT = ("System health", "/grafana/d/atlas-system"), ("Content", "/grafana/d/atlas-content")


def build() -> Dashboard:
    """Build the dashboard that is looked at first."""
    return page(
        "atlas-overview",
        "Is everything all right, and what changed?",
        "now-24h",
        [
            tile(
                "Is everything all right?",
                "The worst of the health checks, as atlasctl health found them.",
                "max(atlas_health_state)",
                mapping={0: ("Yes", "green"), **{value: HEALTH[value] for value in (1, 2, 3)}},
                first=GREY,
                link=("Status page", "/status/"),
            ),
            tile(
                "Alerts",
                "How many alerts fire, besides those that only inform.",
                f"count({FIRING}) or vector(0)",
                steps=[(1, RED)],
                mapping={0: ("None", "green")},
                link=("What fires, and silences", "/alerts/"),
            ),
            tile(
                "Certificate",
                "Days until the certificate that is served runs out. It is renewed 30 days before.",
                '(min(probe_ssl_earliest_cert_expiry{job=~"blackbox.*"}) - time()) / 86400',
                unit="d",
                width=THIRD,
                decimals=0,
                first=RED,
                steps=[(7, YELLOW), (21, "green")],
            ),
            tile(
                "Last backup",
                "How old the last backup is, where that is longest ago.",
                "(time() - min(atlas_backup_success_timestamp_seconds)) or vector(-1)",
                unit="s",
                width=THIRD,
                decimals=0,
                steps=[(26 * 3600, RED)],
                mapping={-1: ("None yet", ORANGE)},
            ),
            tile(
                "Last drill",
                "How long ago a backup was last restored on trial, and well, where that is longest ago.",
                "(time() - min(atlas_drill_success_timestamp_seconds)) or vector(-1)",
                unit="s",
                width=THIRD,
                decimals=0,
                steps=[(8 * 86400, RED)],
                mapping={-1: ("None yet", ORANGE)},
            ),
            tile(
                "Longest wait in the queue",
                "How long the item that has waited longest has been due.",
                "max(atlas_queue_oldest_wait_seconds)",
                unit="s",
                decimals=0,
                steps=[(600, YELLOW), (3600, RED)],
                link=CONTENT,
            ),
            tile(
                "Fullest disk",
                "How much of the fullest file system is used.",
                "max(instance:disk:ratio)",
                unit="percentunit",
                decimals=0,
                steps=[(0.8, YELLOW), (0.9, RED)],
                link=SYSTEM,
            ),
            listing(
                "Alerts that fire",
                "One line each; what to do stands in the mail and on the page of alerts.",
                f"max by (alertname, severity) ({FIRING}) or on () {nothing('alertname')}",
                {"alertname": "Alert", "severity": "Severity"},
            ),
            timeline(
                "Health",
                "Each health check, since when it is how it is.",
                Query("max by (title) (atlas_health_state)", "{{title}}"),
                HEALTH,
                height=11,
            ),
            graph(
                "Items an hour",
                "What came in, by kind.",
                Query(f"sum by (kind) (atlas:ingested:rate5m) * 3600 or on () {nothing('kind')}", "{{kind}}"),
                stacked=True,
            ),
            graph(
                "CPU, memory and disk",
                "How much of each is used.",
                Query("instance:cpu:ratio5m", "CPU"),
                Query("instance:memory:ratio", "Memory"),
                Query("max(instance:disk:ratio)", "Fullest disk"),
                unit="percentunit",
                top=1,
            ),
        ],
    )
