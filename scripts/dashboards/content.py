"""What comes in, what does not, and what waits."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard
from parts import GREEN, ORANGE, RED, YELLOW, Panel, Query, graph, listing, nothing, page, tile, timeline

DONE = 'outcome=~"complete|duplicate"'
ENDED = 'outcome=~"complete|duplicate|failed"'


def build() -> Dashboard:
    """Build the dashboard of the content platform."""
    return page(
        "atlas-content",
        "Articles, podcasts and transcripts: what comes in, what fails, what waits.",
        "now-7d",
        [*_now(), *_incoming(), *_waiting(), *_spoken()],
    )


def _now() -> list[Panel]:
    return [
        tile(
            "In the library",
            "Items that can be read and found.",
            'sum(atlas_items{stage=~"590|595"}) or vector(0)',
        ),
        tile(
            "Today",
            "Items that came in within 24 hours.",
            'sum(increase(atlas_item_outcomes_total{outcome="complete"}[1d])) or vector(0)',
            decimals=0,
        ),
        tile(
            "Waiting",
            "Items a worker may take now.",
            "sum(atlas_queue_length)",
            steps=[(1000, YELLOW), (10000, RED)],
        ),
        tile(
            "Dead letters",
            "Items that were given up and wait for a decision.",
            "max(atlas_dead_letters)",
            steps=[(1, YELLOW), (50, RED)],
            link=("Dead letters", "/failed"),
        ),
    ]


def _incoming() -> list[Panel]:
    return [
        graph(
            "Items an hour",
            "What came in, by kind.",
            Query(f"sum by (kind) (atlas:ingested:rate5m) * 3600 or on () {nothing('kind')}", "{{kind}}"),
            stacked=True,
        ),
        graph(
            "How many succeed, by kind",
            "Of the items that ended within 6 hours, those that can be read or were here already.",
            Query(
                f"sum by (kind) (increase(atlas_item_outcomes_total{{{DONE}}}[6h]))"
                f" / sum by (kind) (increase(atlas_item_outcomes_total{{{ENDED}}}[6h]))",
                "{{kind}}",
            ),
            unit="percentunit",
            top=1,
        ),
        listing(
            "Why items failed",
            "The commonest reasons within a day.",
            'topk(8, sum by (code) (increase(atlas_item_outcomes_total{outcome="failed"}[1d])) > 0)'
            f" or on () {nothing('code')}",
            {"code": "Reason"},
            value="Items",
        ),
        graph(
            "How long steps take",
            "19 of 20 are quicker.",
            Query(
                "histogram_quantile(0.95, sum by (le, step) (rate(atlas_step_seconds_bucket[1h])))",
                "{{step}}",
            ),
            unit="s",
        ),
    ]


def _waiting() -> list[Panel]:
    return [
        graph(
            "Queue",
            "Items a worker may take now, by lane.",
            Query("sum by (lane) (atlas_queue_length)", "{{lane}}"),
            stacked=True,
        ),
        graph(
            "Longest wait",
            "How long the item that waits longest has been due, by lane.",
            Query("max by (lane) (atlas_queue_oldest_wait_seconds)", "{{lane}}"),
            unit="s",
            steps=[(3600, RED)],
        ),
        graph(
            "Dead letters and failed items",
            "Given up, and waiting to be tried again or given up.",
            Query("max(atlas_dead_letters)", "Dead letters"),
            Query("sum(atlas_items_failed) or vector(0)", "Failed"),
        ),
        graph(
            "Sites and services not asked at the moment",
            "Circuit breakers that are open, or let one probe through.",
            Query('sum by (type, state) (atlas_breakers{state!="closed"})', "{{type}}, {{state}}"),
        ),
        timeline(
            "Services we ask",
            "The breaker of each provider.",
            Query(
                f"max by (provider) (atlas_provider_breaker_open) or on () {nothing('provider')}",
                "{{provider}}",
            ),
            {0: ("Asked", GREEN), 0.5: ("Probed", YELLOW), 1: ("Not asked", RED)},
        ),
        graph(
            "Feeds",
            "Healthy, broken when last asked, or paused.",
            Query("sum by (state) (atlas_feeds)", "{{state}}"),
            stacked=True,
        ),
    ]


def _spoken() -> list[Panel]:
    return [
        graph(
            "Episodes a day",
            "Found in podcasts: with a transcript in the feed, and without.",
            Query(
                "sum by (transcript) (increase(atlas_podcast_episodes_total[1d]))"
                f" or on () {nothing('transcript')}",
                "transcript: {{transcript}}",
            ),
            stacked=True,
        ),
        graph(
            "Transcripts a day",
            "Looked for, by where and with what outcome.",
            Query(
                "sum by (source, outcome) (increase(atlas_transcripts_total[1d]))"
                f" or on () {nothing('source')}",
                "{{source}}: {{outcome}}",
            ),
            stacked=True,
        ),
        tile(
            "Transcripts found",
            "Of those that were looked for within a week.",
            'sum(increase(atlas_transcripts_total{outcome="fetched"}[7d]))'
            " / (sum(increase(atlas_transcripts_total[7d])) > 0)"
            " or vector(-1)",
            unit="percentunit",
            decimals=0,
            first=ORANGE,
            steps=[(0.5, GREEN)],
            mapping={-1: ("None looked for", GREEN)},
        ),
        tile(
            "Feeds that do not answer",
            "When they were last asked.",
            'sum(atlas_feeds{state="broken"})',
            steps=[(1, YELLOW)],
        ),
    ]
