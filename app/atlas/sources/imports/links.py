"""Plain lists of links: a text with an address in each line, Markdown's `[title](address)` too."""

import re
from collections.abc import Iterator
from typing import IO

from atlas.sources.imports.record import Entry, Record, Refused, line
from atlas.sources.imports.stream import lines

_MARKDOWN = re.compile(
    r"\[([^\[\]]{0,500})\]\(<?(https?://(?:[^\s<>()]|\([^\s<>()]*\))+)>?(?:\s+\"[^\"]*\")?\)", re.IGNORECASE
)
URL = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
_TRAILING = ".,;:!?)]}'*_"


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Return what a list of links holds; a line without any is refused, one that begins with # left out."""
    for number, found in lines(file):
        if isinstance(found, Refused):
            yield found
            continue
        where = f"line {number}"
        named = [(url, line(title)) for title, url in _MARKDOWN.findall(found)]
        bare = [(_trimmed(url), None) for url in URL.findall(_MARKDOWN.sub(" ", found))]
        for url, title in named + bare:
            yield Record(url, title, where=where)
        if not named and not bare and found.strip() and not found.lstrip().startswith("#"):
            yield Refused("There is no web address in this line.", url=found.strip()[:200], where=where)


def _trimmed(url: str) -> str:
    """Return an address without the punctuation of the sentence around it."""
    while url and url[-1] in _TRAILING:
        if url[-1] == ")" and url.count("(") >= url.count(")"):
            break
        url = url[:-1]
    return url
