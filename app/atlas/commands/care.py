"""`atlas reprocess`, `atlas audit` and `atlas clean`."""

import argparse
import datetime as dt
import os
import secrets
import sys
from dataclasses import asdict

from atlas.care import audit as auditing
from atlas.care import reprocess as reprocessing
from atlas.care.backup import BackupError
from atlas.care.clean import Cleaned
from atlas.care.clean import clean as mend
from atlas.commands import CommandError, complain, database, now, show
from atlas.settings import Settings
from atlas.stages.pool import ReaderPool

#: Examples printed of a finding.
_SHOWN = 8


def reprocess(options: argparse.Namespace, settings: Settings) -> int:
    """Read items again from their originals, on all cores."""
    cores = os.cpu_count() or 1
    wanted = reprocessing.Wanted(
        kind=options.kind,
        since=_day(options.since) if options.since else None,
        failed=options.failed,
        item_id=options.item,
        dry_run=options.dry_run,
    )
    pool = ReaderPool(cores, settings.reader_timeout_seconds, settings.reader_memory_mb)
    with database(settings) as engine, pool as reader:
        report = reprocessing.reprocess(
            settings,
            engine,
            reader,
            wanted,
            clock=now,
            threads=cores,
            correlation_id=f"reprocess-{secrets.token_hex(4)}",
        )
    data = {"counts": dict(report.counts), "changes": report.changes, "began_after": report.began_after}
    data["dry_run"] = options.dry_run
    lines = [f"Went on behind item {report.began_after}."] if report.began_after else []
    lines += [f"{count:>8,}  {name}" for name, count in report.counts.items()] or ["Nothing to read again."]
    lines += [
        f"{one['id']}  {one['title']}: {', '.join(one['changed'])} "
        f"({one['words_before'] or 0:,} → {one['words_after']:,} words)"
        for one in report.changes[:50]
    ]
    if options.dry_run:
        lines.append("Nothing was written.")
    return show(options, data, "\n".join(lines))


def audit(options: argparse.Namespace, settings: Settings) -> int:
    """Look for what is wrong; exit status 1 when something is."""

    def said(name: str) -> None:
        if sys.stderr.isatty():
            print(f"Looking at {name} …", file=sys.stderr)

    with database(settings) as engine:
        findings = auditing.audit(settings, engine, quick=options.quick, said=said)
    data = {"ok": not findings, "findings": [_told(finding) for finding in findings]}
    lines = []
    for finding in findings:
        lines.append(f"{finding.code} ({finding.count:,}): {finding.message} {finding.fix}")
        examples = finding.names or [f"item {item_id}" for item_id in finding.ids]
        lines += [f"    {example}" for example in examples[:_SHOWN]]
    show(options, data, "\n".join(lines) or "Nothing is wrong.")
    return 1 if findings else 0


def clean(options: argparse.Namespace, settings: Settings) -> int:
    """Mend what the audit finds; without --yes only say what that would be."""
    with database(settings) as engine:
        try:
            result = mend(settings, engine, now=now(), really=options.yes)
        except BackupError as error:
            return complain(str(error))
    data = {"dry_run": not options.yes, **asdict(result)}
    return show(options, data, _cleaned(result, really=options.yes))


def _cleaned(result: Cleaned, *, really: bool) -> str:
    lines = [f"{count:>8,}  {_WORDS[code]}" for code, count in result.done.items() if count]
    if not lines and not result.left:
        return "There is nothing to clean."
    for code, ids in result.left.items():
        lines.append(
            f"{len(ids):>8,}  left alone, as you wrote or marked something there ({code}): {ids[:20]}"
        )
    if really:
        lines.append(f"The database as it was before: {result.backup}")
    else:
        lines.append(
            "Nothing was changed. `atlas clean --yes` does it, after a copy of the database is made."
        )
    return "\n".join(lines)


_WORDS = {
    "junk": "items that are no articles removed",
    "same_text": "items made duplicates of those with the same text",
    "chain": "duplicates pointed at their original",
    "stuck": "stuck items queued",
    "orphan": "originals removed that nothing names",
    "stray": "stray files removed",
    "index": "faults of the search index mended by building it anew",
}


def _told(finding: auditing.Finding) -> dict[str, object]:
    most = auditing.MOST_EXAMPLES
    return {**asdict(finding), "ids": finding.ids[:most], "names": finding.names[:most]}


def _day(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is no date such as 2026-11-22.") from None
    return moment.replace(tzinfo=moment.tzinfo or dt.UTC)
