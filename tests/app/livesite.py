"""A running Atlas with something on every page, and a browser: made once for all tests of pages."""

import contextlib
import datetime as dt
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from webserver import Page as WebPage
from webserver import WebServer

from atlas import accounts, items, tags
from atlas.database import migrate
from atlas.database.engine import make_engine
from atlas.database.tables import feeds, highlights, import_rows, imports, transcripts
from atlas.database.tables import items as items_table
from atlas.settings import Settings

expect.set_options(timeout=15_000)  # tests may share a busy machine

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
APP = Path(__file__).resolve().parents[2] / "app"
PASSWORD = "a long enough password"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip

#: What a page reports of itself: scripts and styles the policy refused, and how far it jumped while loading.
WATCH = """
window.refused = []; window.jumped = 0;
document.addEventListener("securitypolicyviolation", (event) => refused.push(event.violatedDirective));
new PerformanceObserver((list) => list.getEntries().forEach((entry) => { jumped += entry.value; }))
  .observe({ type: "layout-shift", buffered: true });
"""

PARAGRAPH = (
    "The lamp was lit at dusk, as it had been every evening for a hundred and twelve years, and the keeper "
    "climbed the ninety-one steps with her hand on the rail that other hands had worn smooth."
)
#: Things that want to be wider than a phone.
WIDE = (
    f"<p>{'Unbrechbar' * 60}</p><pre>{'langer code ' * 40}</pre>"
    f"<table><tr>{''.join(f'<td>Spalte {n} mit Text</td>' for n in range(30))}</tr></table>"
    f"<p><a href='https://example.org/{'x' * 500}'>https://example.org/{'x' * 500}</a></p>"
    "<blockquote><p>Ein Zitat.</p></blockquote><ul><li>Eins<ul><li>Zwei</li></ul></li></ul>"
    "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw=' width=3000 height=200 alt='Ein Bild'>"
)


@dataclass
class Site:
    """A running Atlas, and a web with pages for it to read."""

    url: str
    web: WebServer
    pages: dict[str, str] = field(default_factory=dict)

    def article(self, path: str, title: str, words: str) -> str:
        paragraphs = "".join(f"<p>{words} {word} {words}</p>" for word in ("One.", "Two.", "Three.", "Four."))
        self.web.pages[path] = WebPage(
            f"<!doctype html><html lang=en><head><title>{title}</title></head><body><article><h1>{title}</h1>"
            f"{paragraphs}</article></body></html>"
        )
        return self.web.url(path)


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Site]:
    """Start a server and a worker on a database with something in it; stop them in the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pages = _fill(directory / "data")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ATLAS_")} | {
        "PYTHONPATH": str(APP),
        "ATLAS_DATA_DIR": str(directory / "data"),
        "ATLAS_API_PORT": str(port),
        "ATLAS_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "ATLAS_ALLOWED_NETWORKS": "127.0.0.0/8",
        "ATLAS_HOST_DELAY_SECONDS": "0",
    }

    def run(verb: str) -> subprocess.Popen[bytes]:
        with (directory / f"{verb}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "atlas", verb], cwd=directory, env=environment, stdout=log, stderr=log
            )

    processes = [run("serve"), run("work")]
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        with WebServer() as web:
            yield Site(f"http://127.0.0.1:{port}", web, pages)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def visit(browser: Browser, site: Site, **options: Any) -> BrowserContext:
    """A browser of its own in which the owner logs in."""
    context = browser.new_context(base_url=site.url, **{"viewport": PHONE, **options})
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.goto("/settings")
    expect(page).to_have_url(f"{site.url}/login?next=/settings")
    page.get_by_label("Name").fill("owner")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{site.url}/settings")
    page.close()
    return context


def save(page: Page, url: str) -> None:
    """Add a page by the form."""
    page.goto("/add")
    page.get_by_label("Address").fill(url)
    page.get_by_role("button", name="Save").click()


def _fill(data_dir: Path) -> dict[str, str]:
    """Put something of everything into a new database; return the addresses of all pages by name."""
    data_dir.mkdir(parents=True)
    engine = make_engine(Settings(_env_file=None, data_dir=data_dir))
    migrate.upgrade(engine)
    now = dt.datetime.now(dt.UTC)

    def ready(url: str, title: str, *, html: str = f"<p>{PARAGRAPH}</p>" * 12, **columns: Any) -> int:
        added = items.add(
            conn, url, now=now, correlation_id="seed", source="web", internal=url.startswith("atlas:")
        )
        values = {
            "stage": 590,
            "due_at": None,
            "title": title,
            "word_count": 700,
            "site": "The Coast",
            **columns,
        }
        conn.execute(items_table.update().where(items_table.c.id == added.id).values(values))
        items.write_content(conn, added.id, title=title, text=f"{PARAGRAPH}\n\n" * 12, html=html)
        return added.id

    with engine.begin() as conn:
        accounts.ensure_owner(conn, "owner", PASSWORD, now)
        feed = {"due_at": now + dt.timedelta(days=1), "added_at": now, "interval_seconds": 3600}
        for key, title, folder, failures in (
            ("a", "Quanta Magazine", "Science", 0),
            ("b", "The Coast", None, 0),
            ("c", "Broken news", None, 7),
        ):
            error = {"code": "http_404", "message": "The site says there is no such page."}
            row = {
                "url": f"https://{key}.example.org/feed",
                "url_key": f"{key}.example.org/feed",
                "title": title,
            }
            row |= {"folder": folder, "failures": failures, "error": error if failures else None}
            row |= {"notified_at": now if failures else None, "succeeded_at": now, **feed}
            conn.execute(feeds.insert().values(row))
        for n in range(45):
            ready(
                f"https://example.org/old/{n}",
                f"An older story, number {n}",
                excerpt=PARAGRAPH,
                feed_id=1 + n % 2,
            )
        wide = ready(
            "https://example.org/wide", "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk", html=WIDE
        )
        rtl = ready(
            "https://example.org/ar",
            "المكتبة التي لا تنام",
            language="ar",
            html="<p>" + "كلمات " * 80 + "</p>",
        )
        podcast = ready(
            "https://example.org/episode",
            "An episode",
            kind="podcast",
            media={"audio": "https://media.example.org/episode.mp3", "duration": 2710},
        )
        lines = [
            [0, 4, "Ada", "Welcome."],
            [4, 61, "Ben", "It is good to be here."],
            [61, 70, None, "Music."],
        ]
        conn.execute(transcripts.insert().values(item_id=podcast, source="feed", segments=lines, at=now))
        keeper = ready(
            "https://example.org/keeper",
            "The last keeper",
            byline="Ada Merrin",
            excerpt=PARAGRAPH,
            summary="What a log is for.",
            keywords=["lighthouse", "log"],
            starred_at=now,
            language="en",
        )
        tags.attach(conn, {keeper: ["sea", "long read"]})
        conn.execute(
            highlights.insert().values(
                item_id=keeper, quote="lit at dusk", prefix="The lamp was ", note="Always.", created_at=now,
                updated_at=now,
            )
        )  # fmt: skip
        seen = {"source": "feed", "url": "https://b.example.org/keeper", "title": "Keeper", "feed_id": 2}
        items.note_sighting(conn, keeper, seen, now=now)
        failed = items.add(conn, "https://example.org/gone", now=now, correlation_id="seed").id
        error = {
            "code": "http_404",
            "message": "There is no such page.",
            "stage": 120,
            "at": now.isoformat(),
            "id": "ab12cd34",
        }
        change = items_table.update().where(items_table.c.id == failed)
        conn.execute(change.values(stage=777, due_at=None, error=error, attempts=5))
        double = items.add(conn, "https://example.org/keeper", now=now, correlation_id="seed").id
        job = {
            "format": "pocket_csv",
            "original_sha256": "0" * 64,
            "correlation_id": "seed",
            "created_at": now,
        }
        job |= {"dry_run": False, "total": 10, "position": 4}
        counts = {"added": 3, "refused": 1}
        conn.execute(imports.insert().values(name="running.csv", state="running", counts=counts, **job))
        conn.execute(
            imports.insert().values(name="done.csv", state="done", counts=counts, finished_at=now, **job)
        )
        row = {"import_id": 2, "outcome": "added", "url": "https://example.org/keeper", "item_id": keeper}
        conn.execute(import_rows.insert().values(position=1, **row))
    engine.dispose()
    return {
        "library": "/",
        "filtered": "/?kind=article&read=no&tag=sea&starred=yes",
        "one feed": "/?feed=1",
        "empty": "/?kind=video",
        "failed": "/failed",
        "paste": f"/failed/{failed}/content",
        "reader": f"/items/{keeper}",
        "wide": f"/items/{wide}",
        "right to left": f"/items/{rtl}",
        "podcast": f"/items/{podcast}",
        "dead": f"/items/{failed}",
        "double": f"/items/{double}",
        "search": "/search",
        "results": "/search?q=lamp",
        "nothing found": "/search?q=xyzzy",
        "add": "/add",
        "share": "/add?title=A+bridge&text=Look:+https://example.org/a.",
        "note": "/add/note",
        "text": "/add/text?url=https://example.org/&text=Words",
        "files": "/add/files",
        "paste a page": "/add/paste",
        "imports": "/imports",
        "import": "/imports/2",
        "exports": "/exports",
        "running import": "/imports/1",
        "feeds": "/feeds",
        "feed": "/feeds/1",
        "settings": "/settings",
        "appearance": "/settings/appearance",
        "users": "/settings/users",
        "log": "/settings/log",
        "offline": "/offline",
        "missing": "/nowhere",
    }
