"""What Prometheus is told of backups."""

from collections.abc import Iterator
from typing import Any

from atlasctl.backup.settings import BackupSettings

#: Metric, its help, and where its value stands in what is remembered of a repository.
GAUGES = (
    ("atlas_backup_first_timestamp_seconds", "When the first full backup was written.", "first_at"),
    ("atlas_backup_success_timestamp_seconds", "When the last full backup was written.", "success_at"),
    ("atlas_backup_repository_bytes", "What the repository takes.", "stored"),
    (
        "atlas_drill_success_timestamp_seconds",
        "When a backup was last restored on trial, and well.",
        "drill_at",
    ),
    ("atlas_drill_seconds", "How long that took.", "drill_seconds"),
)


def metrics(settings: BackupSettings, state: dict[str, Any]) -> str:
    """Return the text of the metrics file."""
    known = {one.name: state["repositories"].get(one.name, {}) for one in settings.repositories}
    return "\n".join([*_limits(settings), *_lines(known, state["runs"])]) + "\n"


def _limits(settings: BackupSettings) -> Iterator[str]:
    """Yield what the alerts hold the rest against."""
    for metric, text, values in (
        (
            "atlas_backup_allowed_age_seconds",
            "Age at which a backup is too old.",
            {one.name: settings.warn_hours * 3600 for one in settings.repositories},
        ),
        (
            "atlas_drill_allowed_age_seconds",
            "Age at which the trial of a backup is too old.",
            {one.name: settings.drill_days * 86400 for one in settings.repositories},
        ),
        (
            "atlas_backup_repository_budget_bytes",
            "What the repository may take.",
            {one.name: one.budget for one in settings.repositories if one.budget},
        ),
    ):
        yield from (f"# HELP {metric} {text}", f"# TYPE {metric} gauge")
        yield from (f'{metric}{{repository="{name}"}} {value}' for name, value in values.items())


def _lines(known: dict[str, dict[str, Any]], runs: list[dict[str, Any]]) -> Iterator[str]:
    for metric, text, key in GAUGES:
        yield from (f"# HELP {metric} {text}", f"# TYPE {metric} gauge")
        yield from (
            f'{metric}{{repository="{name}"}} {one[key]}' for name, one in known.items() if one.get(key)
        )
    for metric, text, key in (
        ("atlas_backup_failed", "Whether the last try failed.", "words"),
        ("atlas_drill_failed", "Whether the last trial failed.", "drill_words"),
    ):
        yield from (f"# HELP {metric} {text}", f"# TYPE {metric} gauge")
        yield from (
            f'{metric}{{repository="{name}"}} {int(bool(one.get(key)))}' for name, one in known.items()
        )
    if not runs:
        return
    last = runs[-1]
    yield from (
        "# HELP atlas_backup_seconds How long the last run took.",
        "# TYPE atlas_backup_seconds gauge",
    )
    yield f"atlas_backup_seconds {last['seconds']}"
    yield from (
        "# HELP atlas_backup_run_failed Whether nothing could be written at all.",
        "# TYPE atlas_backup_run_failed gauge",
        f"atlas_backup_run_failed {int(bool(last['words']))}",
        "# HELP atlas_backup_added_bytes What the last run added, compressed or not as restic counts.",
        "# TYPE atlas_backup_added_bytes gauge",
    )
    yield from (
        f'atlas_backup_added_bytes{{repository="{n}"}} {one["added"]}'
        for n, one in last["repositories"].items()
    )
