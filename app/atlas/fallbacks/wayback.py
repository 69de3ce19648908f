"""The Wayback Machine: the newest copy it keeps of an address."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from atlas.net.client import Response
from atlas.stages.context import Fetches

#: An address of a copy: when it was made, how it is to be shown, and what of.
_COPY = re.compile(r"/web/(?P<when>[0-9]{14})(?P<how>[a-z]{2}_)?/(?P<what>https?://?.+)$")


def newest(fetcher: Fetches, endpoint: str, url: str) -> str | None:
    """Return the address of the newest copy of `url`, as its site once sent it; None when there is none.

    Raises FetchError, and ValueError when the answer makes no sense.
    """
    answer = fetcher.get(f"{endpoint}?url={quote(url, safe='')}")
    closest = _closest(json.loads(answer.body))
    if closest is None:
        return None
    address = closest.get("url")
    copy = _COPY.search(address) if isinstance(address, str) else None
    if not isinstance(address, str) or copy is None:
        raise ValueError("the answer names no copy")
    address = re.sub(r"^http://(?=web\.archive\.org/)", "https://", address)
    when = copy["when"]
    return address.replace(f"/web/{when}{copy['how'] or ''}/", f"/web/{when}id_/", 1)  # the bytes themselves


def copied(address: str) -> tuple[str, str] | None:
    """Return when (2024-05-17) and what of an address of a copy is; None for any other address."""
    found = _COPY.search(address)
    if found is None:
        return None
    when = found["when"]
    return f"{when[:4]}-{when[4:6]}-{when[6:8]}", found["what"]


def page_address(address: str) -> str:
    """Return the address that links in a page start from: of an archived copy, the page's own."""
    copy = copied(address)
    return address if copy is None else copy[1]


def is_copy(response: Response) -> bool:
    """Tell whether what came is a copy still, and not somewhere else the archive sent us on to."""
    return copied(response.final_url) is not None


def _closest(answer: object) -> Mapping[str, Any] | None:
    snapshots = answer.get("archived_snapshots") if isinstance(answer, dict) else None
    if not isinstance(snapshots, dict):
        raise ValueError("the answer is not what was expected")  # noqa: TRY004 - it came from outside
    closest = snapshots.get("closest")
    if not isinstance(closest, dict) or not closest.get("available"):
        return None
    return closest if str(closest.get("status", "200")) == "200" else None
