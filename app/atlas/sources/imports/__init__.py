"""Imports: files of other services (and our own), read record by record by whichever worker has time.

`start` keeps the file and notes the import down; `work` does it, in batches that a kill cannot harm;
`get`, `list_imports`, `report` and `cancel` are for whoever looks on.
"""

import datetime as dt
from typing import IO, Any

from sqlalchemy.engine import Engine

from atlas import originals
from atlas.settings import Settings
from atlas.sources.imports.formats import FORMATS
from atlas.sources.imports.record import Unreadable
from atlas.sources.imports.store import ENDED, OUTCOMES, cancel, create, get, list_imports, report

__all__ = [
    "ENDED", "FORMATS", "OUTCOMES", "Unreadable", "cancel", "get", "list_imports", "report", "start",
]  # fmt: skip


def start(
    engine: Engine,
    settings: Settings,
    file: IO[bytes],
    *,
    name: str,
    now: dt.datetime,
    form: str | None = None,
    dry_run: bool = False,
    correlation_id: str | None = None,
) -> dict[str, Any]:
    """Keep a file (seekable) and have it imported; return the import, as `get` does.

    The format is told by what is in the file unless `form`, a key of FORMATS, says it. A dry run reports
    what would happen. Raises Unreadable.
    """
    from atlas.sources.imports.detect import detect  # noqa: PLC0415 - what only looks on needs no reader

    if form is not None and form not in FORMATS:
        raise Unreadable(f"There is no format {form!r}; there are: {', '.join(FORMATS)}.")
    form = form or detect(file)
    sha256 = originals.put_file(settings.data_dir, file)
    with engine.begin() as conn:
        return create(
            conn,
            form=form,
            name=name,
            sha256=sha256,
            now=now,
            dry_run=dry_run,
            correlation_id=correlation_id,
        )
