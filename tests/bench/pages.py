"""How quickly and how well pages are read, beside a bare trafilatura loop over the same files in one process.

    python tests/bench/pages.py [--table] [--rounds N]

Needs the corpus of saved pages (see `tests/app/reading_corpus.py`) and trafilatura.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import TypeVar

import trafilatura

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests" / "app")]

from reading_corpus import CORPUS, Saved, plain_title, saved_pages, token_f1  # noqa: E402

from atlas.stages.page import Page, PageError  # noqa: E402
from atlas.stages.read import read_page  # noqa: E402

Result = TypeVar("Result")


def ours(saved: Saved) -> Page | PageError:
    try:
        return read_page(saved.raw, "text/html", "http://pages.example/page.html")
    except PageError as error:
        return error


def bare(saved: Saved) -> str:
    return trafilatura.extract(saved.raw.decode("utf-8", "replace")) or ""


def timed(read: Callable[[Saved], Result], pages: list[Saved]) -> tuple[float, list[Result]]:
    gc.collect()
    start = time.perf_counter()
    results = [read(saved) for saved in pages]
    return time.perf_counter() - start, results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="print a line a page")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is reported")
    options = parser.parse_args()
    if not CORPUS.is_dir():
        sys.exit(f"The corpus of saved pages is not at {CORPUS}.")
    pages = list(saved_pages())
    # By turns, so that a busy machine slows both alike.
    rounds = [(timed(ours, pages), timed(bare, pages)) for _ in range(options.rounds)]
    our_seconds, results = min((ours_ for ours_, _ in rounds), key=lambda run: run[0])
    their_seconds, texts = min((theirs for _, theirs in rounds), key=lambda run: run[0])
    rows = []
    for saved, result, text in zip(pages, results, texts, strict=True):
        page = result if isinstance(result, Page) else None
        sites = (saved.expected["siteName"], page.site if page else None)
        rows.append(
            (
                saved.name,
                token_f1(page.text, saved.expected_text) if page else 0.0,
                token_f1(text, saved.expected_text),
                plain_title(page.title, *sites) == plain_title(saved.expected["title"], *sites)
                if page
                else False,
                result.code if isinstance(result, PageError) else "",
                saved.expected["readerable"],
            )
        )
    if options.table:
        for name, f1, their_f1, title, refused, readerable in rows:
            note = refused + ("" if readerable else " (not readerable)")
            print(f"{name:34} {f1:.3f} {their_f1:.3f} {'title' if title else '-----'} {note}")
    read = [row for row in rows if not row[4]]
    ours_f1, theirs_f1 = mean(row[1] for row in read), mean(row[2] for row in rows)
    print(f"atlas        {len(pages) / our_seconds:7.1f} pages/s   mean F1 {ours_f1:.4f} of {len(read)} read")
    print(f"trafilatura  {len(pages) / their_seconds:7.1f} pages/s   mean F1 {theirs_f1:.4f} of {len(rows)}")
    print(f"ratio        {their_seconds / our_seconds:7.2f}")
    print(f"titles       {sum(row[3] for row in read)} of {len(read)} read, {len(pages)} in all")
    print(f"refused      {', '.join(f'{row[0]} ({row[4]})' for row in rows if row[4]) or 'none'}")


if __name__ == "__main__":
    main()
