"""The broken and oddly encoded feeds of feedparser's own tests: each is read or refused, and quickly.

Each file says at its top what feedparser makes of it. How many of these expectations hold here is printed by
`PYTHONPATH=app python tests/app/test_feed_corpus.py`.
"""

import ast
import codecs
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from atlas.sources.charset import decode
from atlas.sources.feed import Feed, FeedError, parse

CORPUS = (Path(__file__).parents[3] / "shared/corpus/feeds").resolve()
FILES = sorted(CORPUS.glob("illformed/**/*.xml")) + sorted(CORPUS.glob("encoding/*.xml"))

pytestmark = pytest.mark.skipif(not FILES, reason="the corpus of feeds (../shared/corpus/feeds) is not there")

SLOW_SECONDS = 2.0


@dataclass
class Case:
    raw: bytes
    content_type: str | None
    expect: str


def load(path: Path) -> Case:
    raw = path.read_bytes()
    comment = decode(raw, None)[0].partition("-->")[0]
    header = re.search(r"^\s*Header:\s*Content-type:\s*(.+)$", comment, re.IGNORECASE | re.MULTILINE)
    expect = re.search(r"^\s*Expect:\s*(.+)$", comment, re.MULTILINE)
    return Case(raw, header[1].strip() if header else None, expect[1] if expect else "")


def read(case: Case) -> Feed | FeedError:
    try:
        return parse(case.raw, case.content_type, "http://feed.example/feed.xml")
    except FeedError as error:
        return error


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_is_read_or_refused_and_quickly(path: Path) -> None:
    case = load(path)
    start = time.monotonic()

    result = read(case)

    assert time.monotonic() - start < SLOW_SECONDS
    assert isinstance(result, Feed) or (result.code and result.message)


def test_what_they_say_is_understood() -> None:
    held = {path.stem: check(load(path)) for path in FILES}

    # Half a character at the end of UTF-8: feedparser gives up UTF-8 for all of it, we give up the character.
    assert {stem for stem, outcome in held.items() if outcome == "differs"} == {"bozo_linenoise"}
    assert Counter(held.values())["same"] >= 80


def check(case: Case) -> str:
    """Whether what the file expects of encoding, title, body and link holds."""
    result = read(case)
    answers = [_same_encoding(case, name) for name in re.findall(r"encoding == '([^']+)'", case.expect)]
    for field, literal in re.findall(
        r"(feed\['title'\]|entries\[0\](?:\['description'\]|\.summary|\.link)) == ('(?:[^'\\]|\\.)*')",
        case.expect,
    ):
        answers.append(isinstance(result, Feed) and _value(result, field) == ast.literal_eval(literal))
    answers += [
        isinstance(result, Feed) and result.entries[0].html == chr(int(number))
        for number in re.findall(r"ord\(entries\[0\]\['description'\]\) == (\d+)", case.expect)
    ]
    return "nothing to compare" if not answers else "same" if all(answers) else "differs"


def _same_encoding(case: Case, name: str) -> bool:
    """Whether the text is the one that the expected encoding gives (which plain ASCII does not show)."""
    text, found = decode(case.raw, case.content_type)
    try:
        expected = case.raw.decode(name).lstrip("\ufeff")
    except UnicodeDecodeError:
        return codecs.lookup(found) == codecs.lookup(name)
    return text.lstrip("\ufeff") == expected


def _value(feed: Feed, field: str) -> str | None:
    if field.startswith("feed"):
        return feed.title
    entry = feed.entries[0]
    if field.endswith("link"):
        return entry.url
    # feedparser turns numbered Windows characters in HTML into the right ones; we leave HTML as it came.
    return (entry.html or "").replace("&#146;", "&#x2019;")


if __name__ == "__main__":
    table: dict[str, Counter[str]] = {}
    slowest = 0.0
    for path in FILES:
        case = load(path)
        start = time.perf_counter()
        result = read(case)
        slowest = max(slowest, time.perf_counter() - start)
        counts = table.setdefault(str(path.parent.relative_to(CORPUS)), Counter())
        counts.update([f"refused ({result.code})" if isinstance(result, FeedError) else "read", check(case)])
        if check(case) == "differs":
            print("differs:", path.name, case.expect)
    for folder, counts in table.items():
        print(f"{folder:20}", ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    print(f"{len(FILES)} files, the slowest took {slowest * 1000:.0f} ms")
