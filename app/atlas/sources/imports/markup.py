"""HTML read as it comes, piece by piece, for the formats that are made of links in lists."""

from collections import deque
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import IO

from atlas.sources.imports.record import Entry
from atlas.sources.imports.stream import text_of

_PIECE = 65_536
#: Most bytes between two links. Small, as what does not end is looked at again with each piece.
_LARGEST = 4_000_000


class LinkParser(HTMLParser):
    """Gathers entries in `found`; formats say in `begin` and `end` what their elements mean."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: deque[Entry] = deque()
        self._text: list[str] = []

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        """Meet the beginning of an element."""

    def end(self, tag: str) -> None:
        """Meet the end of an element."""

    def finish(self) -> None:
        """Meet the end of the file."""

    def words(self) -> str:
        """Return the text since the last call, and forget it."""
        text, self._text = "".join(self._text), []
        return text

    def where(self) -> str:
        """Return where the parser is."""
        return f"line {self.getpos()[0]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: D102
        self.begin(tag, {name: value or "" for name, value in attrs})

    def handle_endtag(self, tag: str) -> None:  # noqa: D102
        self.end(tag)

    def handle_data(self, data: str) -> None:  # noqa: D102
        self._text.append(data)


def entries(file: IO[bytes], parser: LinkParser) -> Iterator[Entry]:
    """Return what `parser` finds in a file. Raises Unreadable when megabytes go by without a link."""
    text, metered = text_of(file, _LARGEST)
    while piece := text.read(_PIECE):
        parser.feed(piece)
        if parser.found:
            metered.mark()
        while parser.found:
            yield parser.found.popleft()
    parser.close()
    parser.finish()
    yield from parser.found
