"""Tables (CSV): rows by the names of their columns, in whatever order these stand."""

import csv
import itertools
from collections.abc import Iterator, Mapping
from typing import IO

from atlas.sources.imports.record import Refused
from atlas.sources.imports.stream import lines

Row = Mapping[str, str]

_DELIMITERS = ",;\t"


def header(first_line: str) -> tuple[frozenset[str], str]:
    """Return the names in a table's first line, in lower case, and what stands between them."""
    delimiter = max(_DELIMITERS, key=first_line.count)
    try:
        names = next(csv.reader([first_line], delimiter=delimiter), [])
    except csv.Error:
        names = []
    return frozenset(name.strip().lower() for name in names), delimiter


def rows(file: IO[bytes]) -> Iterator[tuple[int, Row | Refused]]:
    """Return the rows below the first with the numbers of the lines they end in; Refused for what is none."""
    numbered = lines(file)
    at = 0
    refused: list[tuple[int, Refused]] = []

    def texts() -> Iterator[str]:
        nonlocal at
        for number, found in numbered:
            at = number
            if isinstance(found, Refused):
                refused.append((number, found))
            elif number > 1 or found.strip():
                yield found + "\n"

    source = texts()
    first = next(source, "")
    _, delimiter = header(first)
    reader = csv.reader(itertools.chain([first], source), delimiter=delimiter)
    names: list[str] | None = None
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield at, Refused(f"This row cannot be read ({error}).", where=f"line {at}")
            continue
        yield from refused
        refused.clear()
        if cells is None:
            return
        if names is None:
            names = [name.strip().lower() for name in cells]
        elif any(cell.strip() for cell in cells):
            yield at, dict(zip(names, cells, strict=False))
