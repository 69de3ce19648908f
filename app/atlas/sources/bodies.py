"""The bodies of entries as their feed had them: one original for all that a poll brought.

A feed may bring hundreds of entries at once, and a file for each would cost a disk flush each. So an item
whose text came with its feed shares its original with others; the type says which part is its own.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from atlas import originals

#: What the type of such an original says after "handed=", before the digest of the entry's guid. As with all
#: that is handed in, no site can say so of its pages.
ENTRY = "entry:"

_KEPT = ("base", "title", "byline", "published_at", "image")


def keep(data_dir: Path, entries: Iterable[Mapping[str, Any]], site: str | None) -> str | None:
    """Keep the bodies of entries, as `read_feed` gives them; return the SHA-256; None when there are none."""
    found = {
        entry["digest"]: {"html": entry["raw"], "site": site, **{name: entry.get(name) for name in _KEPT}}
        for entry in entries
        if entry.get("raw")
    }
    if not found:
        return None
    return originals.put(data_dir, json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))


def type_of(digest: str) -> str:
    """Return what kind of original an entry's is."""
    return f"application/json; handed={ENTRY}{digest}"
