"""The one table of metrics: what /metrics serves, and what docs/metrics.md says of it.

No label holds a URL, a host or anything else that strangers choose. Counters marked `counted` are counted by
whoever does the thing, with `tally.count(NAME, *LABELS)`; all others are asked of the database or of the
process when someone scrapes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Type = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One metric: its name without the suffix Prometheus adds to counters, and what it means."""

    name: str
    type: Type
    meaning: str
    labels: tuple[str, ...] = ()
    #: For `tally.count`: what it is called there.
    counted: str = ""


_ENTRIES = (
    Entry("atlas_build", "info", "Which Atlas this is.", ("version",)),
    # Items
    Entry("atlas_items", "gauge", "Items by kind and stage.", ("kind", "stage")),
    Entry("atlas_dead_letters", "gauge", "Items given up, apart from those set aside."),
    Entry(
        "atlas_items_failed", "gauge", "Items that wait to be tried again or were given up.", ("kind", "code")
    ),
    Entry(
        "atlas_item_outcomes",
        "counter",
        "Items that left a worker's hands: how (complete, duplicate, failed, retried, released) and why.",
        ("outcome", "code", "kind"),
    ),
    Entry("atlas_step_seconds", "histogram", "How long the steps of items took.", ("step",)),
    # Queue and workers
    Entry("atlas_queue_length", "gauge", "Items a worker may take now.", ("lane",)),
    Entry("atlas_queue_oldest_wait_seconds", "gauge", "How long the oldest item has been due.", ("lane",)),
    Entry(
        "atlas_worker_heartbeat_age_seconds",
        "gauge",
        "How long ago a worker last said it lives; none are listed when all have signed off.",
        ("worker",),
    ),
    Entry("atlas_worker_uptime_seconds", "gauge", "How long a worker has lived.", ("worker",)),
    # What comes in
    Entry("atlas_feeds", "gauge", "Feeds: healthy, broken when last asked, or paused.", ("state",)),
    Entry(
        "atlas_podcast_episodes",
        "counter",
        "Episodes found in podcasts, by whether the feed names a transcript (announced, none).",
        ("transcript",),
        counted="podcast_episodes",
    ),
    Entry(
        "atlas_transcripts",
        "counter",
        "Transcripts looked for: where (feed, page, youtube, pushed), and with what outcome (fetched, "
        "missing, failed, blocked).",
        ("source", "outcome"),
        counted="transcripts",
    ),
    Entry("atlas_imports", "gauge", "Imports by state.", ("state",)),
    Entry(
        "atlas_import_records",
        "gauge",
        "Records of the imports that are not finished: all that are known of (total), and those read so far.",
        ("progress",),
    ),
    # Others we ask
    Entry("atlas_breakers", "gauge", "Circuit breakers by what they guard and state.", ("type", "state")),
    Entry(
        "atlas_provider_breaker_open",
        "gauge",
        "Whether the breaker of a provider lets nothing through (1), one probe (0.5) or everything (0).",
        ("provider",),
    ),
    Entry(
        "atlas_provider_requests",
        "counter",
        "Questions to providers (such as llm, imap, youtube), by outcome (ok, failed, or blocked: not asked, "
        "as the breaker is open).",
        ("provider", "outcome"),
        counted="provider_requests",
    ),
    # People and programs
    Entry(
        "atlas_request_seconds",
        "histogram",
        "How long requests took, by the pattern of their route.",
        ("method", "route", "status"),
    ),
    Entry(
        "atlas_searches",
        "counter",
        "Searches, by whether they found something (found, nothing).",
        ("outcome",),
        counted="searches",
    ),
    Entry(
        "atlas_logins",
        "counter",
        "Passwords that were checked, by outcome (ok, failed, throttled).",
        ("outcome",),
        counted="logins",
    ),
    # Troubles of our own
    Entry(
        "atlas_errors",
        "counter",
        "What broke inside Atlas, by where (request, worker, chore): `atlas error ID` tells of each.",
        ("where",),
        counted="errors",
    ),
    Entry(
        "atlas_reports",
        "counter",
        "Weekly reports by outcome (sent, failed).",
        ("outcome",),
        counted="reports",
    ),
    # The database
    Entry("atlas_database_up", "gauge", "Whether the database answered (1) or not (0)."),
    Entry("atlas_database_seconds", "gauge", "How long the database took for the smallest question."),
    Entry(
        "atlas_database_state_seconds", "gauge", "How long the database took to tell all that is shown here."
    ),
    Entry("atlas_database_bytes", "gauge", "How large the database is."),
)

#: Every metric of Atlas by its name.
CATALOGUE: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})

#: What `tally.count` knows, by its name there.
COUNTED: Mapping[str, Entry] = MappingProxyType({entry.counted: entry for entry in _ENTRIES if entry.counted})
