"""The saved pages of Readability's tests, through the API of the running machine."""

import sys
from pathlib import Path
from statistics import mean, median

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "tests" / "app"))

from reading_corpus import CORPUS, plain_title, saved_pages, token_f1

pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason=f"the corpus is not beside the repository: {CORPUS}"
)
LIMIT_SECONDS = 300


@pytest.mark.timeout(LIMIT_SECONDS + 120)
def test_saved_pages_are_read_as_readability_reads_them(library, pages, capsys):
    saved = list(saved_pages())
    address = pages(CORPUS)
    numbers = [library.add(f"{address}/{page.name}/") for page in saved]
    items = library.ended(numbers, LIMIT_SECONDS)
    # Some pages have the text of others; what counts for those is the text of the first.
    texts = [library.item(item["duplicate_of"] or item["id"])["text"] for item in items]
    rows = [row(page, item, text) for page, item, text in zip(saved, items, texts, strict=True)]
    with capsys.disabled():
        print(table(rows))
    read = [each for each in rows if each["stage"] in {590, 599}]
    refused = [each for each in rows if each["stage"] not in {590, 599}]
    assert [each for each in refused if not each["reason"]] == []
    assert [each for each in refused if each["readerable"]] == []
    assert mean(each["title_equal"] for each in read) >= 0.9
    assert median(each["f1"] for each in read) >= 0.95
    assert mean(each["f1"] for each in read) >= 0.9


def row(page, item, text):
    site = page.expected.get("siteName")
    return {
        "name": page.name,
        "stage": item["stage"],
        "reason": (item["error"] or {}).get("code", ""),
        "readerable": page.expected.get("readerable", True),
        "title_equal": plain_title(item["title"], item["site"], site)
        == plain_title(page.expected["title"], item["site"], site),
        "f1": token_f1(text or "", page.expected_text),
    }


def table(rows):
    lines = [f"\n{'page':<40} {'stage':>5} {'title':>6} {'F1':>6}"]
    lines += [
        f"{each['name']:<40} {each['stage']:>5} {'equal' if each['title_equal'] else 'other':>6} "
        f"{each['f1']:>6.3f} {each['reason']}"
        for each in rows
    ]
    return "\n".join(lines)
