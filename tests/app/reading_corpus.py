"""The saved pages that Mozilla's Readability is tested with, and how close our reading comes to its own.

They lie beside the repository, not in it: what uses them has to do without when they are absent.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxml import html

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "pages"


@dataclass(frozen=True)
class Saved:
    """A page as saved, and what Readability makes of it."""

    name: str
    raw: bytes
    expected: dict[str, Any]
    expected_text: str


def saved_pages() -> Iterator[Saved]:
    for directory in sorted(CORPUS.iterdir()):
        article = html.document_fromstring((directory / "expected.html").read_text(encoding="utf-8"))
        yield Saved(
            name=directory.name,
            raw=(directory / "source.html").read_bytes(),
            expected=json.loads((directory / "expected-metadata.json").read_text(encoding="utf-8")),
            expected_text=str(article.text_content()),
        )


def tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def token_f1(text: str, expected: str) -> float:
    """Share of words that both have (harmonic mean of precision and recall); 1.0 is the same words."""
    ours, theirs = Counter(tokens(text)), Counter(tokens(expected))
    common = (ours & theirs).total()
    return 2 * common / (ours.total() + theirs.total()) if common else float(ours == theirs)


def plain_title(title: str | None, *sites: str | None) -> str:
    """A title without its whitespace and the site's name at its end."""
    title = " ".join((title or "").split())
    for site in sites:
        if site:
            name = re.escape(" ".join(site.split()))
            title = re.sub(rf"\s*[-|\u2013\u2014:·•»]\s*{name}$", "", title, flags=re.IGNORECASE)
    return title
