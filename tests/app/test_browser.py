"""The product as its owner meets it: the real server and worker, a real browser, with and without JavaScript.

SCREENSHOTS_DIR=/tmp/shots .venv/bin/pytest tests/app/test_browser.py keeps a picture of every page.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from webserver import Page as WebPage
from webserver import WebServer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]

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


@dataclass
class Atlas:
    """A running Atlas, and a web with pages for it to read."""

    url: str
    web: WebServer

    def article(self, path: str, title: str, words: str) -> str:
        paragraphs = "".join(f"<p>{words} {word} {words}</p>" for word in ("One.", "Two.", "Three.", "Four."))
        self.web.pages[path] = WebPage(
            f"<!doctype html><html lang=en><head><title>{title}</title></head><body><article><h1>{title}</h1>"
            f"{paragraphs}</article></body></html>"
        )
        return self.web.url(path)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atlas]:
    directory = tmp_path_factory.mktemp("atlas")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ATLAS_")} | {
        "PYTHONPATH": str(APP),
        "ATLAS_DATA_DIR": str(directory / "data"),
        "ATLAS_API_PORT": str(port),
        "ATLAS_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "ATLAS_OWNER_PASSWORD": PASSWORD,
        "ATLAS_ALLOWED_NETWORKS": "127.0.0.0/8",
        "ATLAS_HOST_DELAY_SECONDS": "0",
    }

    def run(verb: str) -> subprocess.Popen[bytes]:
        with (directory / f"{verb}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "atlas", verb], cwd=directory, env=environment, stdout=log, stderr=log
            )

    assert run("migrate").wait(60) == 0, (directory / "migrate.log").read_text()
    processes = [run("serve"), run("work")]
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        with WebServer() as web:
            yield Atlas(f"http://127.0.0.1:{port}", web)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def visit(browser: Browser, atlas: Atlas, **options: Any) -> BrowserContext:
    """A browser of its own in which the owner logs in."""
    context = browser.new_context(base_url=atlas.url, **{"viewport": PHONE, **options})
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.goto("/settings")
    expect(page).to_have_url(f"{atlas.url}/login?next=/settings")
    page.get_by_label("Name").fill("owner")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{atlas.url}/settings")
    page.close()
    return context


def save(page: Page, url: str) -> None:
    page.goto("/add")
    page.get_by_label("Address").fill(url)
    page.get_by_role("button", name="Save").click()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_save_read_and_find(browser: Browser, atlas: Atlas, script: bool) -> None:
    name = f"lantern{script}"
    url = atlas.article(
        f"/{name}", f"The {name} of the north", f"A {name} on a cold coast, kept by three sisters."
    )
    context = visit(browser, atlas, java_script_enabled=script)
    page = context.new_page()
    save(page, url)
    # The page turns into the article by itself.
    expect(page.get_by_role("article").get_by_role("heading")).to_have_text(f"The {name} of the north")
    expect(page.locator(".prose")).to_contain_text("kept by three sisters")
    page.get_by_role("button", name="Mark as read").click()
    expect(page).to_have_url(f"{atlas.url}/")
    expect(page.locator(".row-read")).to_contain_text([f"The {name} of the north"])
    page.get_by_role("link", name="Search").click()
    page.get_by_role("searchbox").fill(name)
    page.keyboard.press("Enter")
    expect(page.locator(".found mark").first).to_have_text(re.compile(name, re.IGNORECASE))
    page.get_by_role("link", name=f"The {name} of the north").click()
    expect(page.get_by_role("button", name="Mark as unread")).to_be_visible()
    save(page, url)
    expect(page.get_by_role("heading", name="Already here")).to_be_visible()
    save(page, atlas.web.url("/nothing-here"))
    expect(page.get_by_role("heading", name="Could not be saved")).to_be_visible()
    expect(page.locator(".trouble")).to_contain_text("404")
    page.goto("/?state=failed")
    page.get_by_role("button", name="Try again").first.click()
    expect(page.get_by_role("heading", name="Could not be saved")).to_be_visible()
    page.goto("/settings")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{atlas.url}/login")
    page.goto("/")
    expect(page).to_have_url(f"{atlas.url}/login")
    context.close()


WIDE = (
    "<!doctype html><html lang=de><head>"
    "<title>Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft</title>"
    "</head><body><article><h1>Breit</h1><p>" + "Ein Satz, wie er in einem Artikel steht. " * 60 + "</p>"
    f"<p>{'Unbrechbar' * 60}</p><pre>{'langer code ' * 40}</pre>"
    f"<table><tr>{''.join(f'<td>Spalte {n} mit Text</td>' for n in range(30))}</tr></table>"
    f"<p><a href='https://example.org/{'x' * 500}'>https://example.org/{'x' * 500}</a></p>"
    "<blockquote><p>Ein Zitat.</p></blockquote><ul><li>Eins<ul><li>Zwei</li></ul></li></ul>"
    "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw=' width=3000 height=200 alt='Ein Bild'>"
    "</article></body></html>"
)


@pytest.fixture(scope="module")
def pages(browser: Browser, atlas: Atlas) -> dict[str, str]:
    """Addresses of every kind of page, with something on each."""
    atlas.web.pages["/wide"] = WebPage(WIDE)
    context = visit(browser, atlas)
    page = context.new_page()
    found = {}
    for name, url, heading in (
        (
            "reader",
            atlas.article("/bridges", "On bridges", "Steel and stone carry a road over the river."),
            "On bridges",
        ),
        ("wide", atlas.web.url("/wide"), "Donau"),
        ("failed", atlas.web.url("/gone"), "Could not be saved"),
        ("double", atlas.web.url("/bridges"), "Already here"),
    ):
        save(page, url)
        expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
        found[name] = page.url
    page.goto("/feeds")
    page.get_by_label("Address of a feed").fill(atlas.web.url("/feed.xml"))
    page.get_by_role("button", name="Follow").click()
    expect(page.get_by_text("Waiting for its first reading")).to_be_visible()
    context.close()
    return found | {
        "library": "/",
        "dead letters": "/?state=failed",
        "empty": "/?feed=1",
        "search": "/search",
        "results": "/search?q=river",
        "nothing found": "/search?q=xyzzy",
        "add": "/add",
        "share": f"/add?title=A+bridge&text={quote('Look: https://example.org/a.')}",
        "feeds": "/feeds",
        "settings": "/settings",
        "missing": "/nowhere",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_every_page_fits_obeys_the_policy_and_holds_still(
    browser: Browser, atlas: Atlas, pages: dict[str, str], viewport: dict[str, int], scheme: Any
) -> None:
    context = visit(browser, atlas, viewport=viewport, color_scheme=scheme)
    context.add_init_script(WATCH)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    shots = os.environ.get("SCREENSHOTS_DIR")
    for name, path in pages.items():
        complaints.clear()
        page.goto(path)
        page.wait_for_timeout(50)
        if name == "missing":
            complaints[:] = [text for text in complaints if "404" not in text]
        assert complaints == [], name
        assert page.evaluate("refused") == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], name
        assert page.evaluate("jumped") < 0.01, name
        for box in page.evaluate(TARGETS):
            assert box["height"] >= 43.5, (name, box)
        if shots:
            page.screenshot(path=Path(shots) / f"{name}-{viewport['width']}-{scheme}.png")
    context.close()


#: Sizes of what fingers are meant to hit; links within running text may be smaller (WCAG 2.5.8).
TARGETS = """
[...document.querySelectorAll("nav a, button, .button, input:not([type=hidden]), summary, .brand")]
  .filter((element) => element.checkVisibility())
  .map((element) => ({ text: element.textContent.trim(), height: element.getBoundingClientRect().height }))
"""


def test_the_login_fits_too(browser: Browser, atlas: Atlas) -> None:
    for viewport in (PHONE, DESK, {"width": 320, "height": 480}):
        context = browser.new_context(base_url=atlas.url, viewport=viewport)
        page = context.new_page()
        page.goto("/login")
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        expect(page.get_by_label("Name")).to_be_focused()
        context.close()


def test_the_keyboard_is_enough(browser: Browser, atlas: Atlas, pages: dict[str, str]) -> None:
    context = visit(browser, atlas, viewport=DESK)
    page = context.new_page()
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".row h2 a").nth(1)).to_be_focused()
    page.keyboard.press("k")
    expect(page.locator(".row h2 a").first).to_be_focused()
    page.keyboard.press("/")
    expect(page).to_have_url(f"{atlas.url}/search")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("a/j/k")
    expect(page.get_by_role("searchbox")).to_have_value("a/j/k")
    # What was shared is saved by one Enter.
    page.goto(f"/add?url={quote(atlas.web.url('/by-key'))}")
    expect(page.get_by_role("button", name="Save")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/items/"))
    context.close()


def test_the_bookmarklet_brings_a_page(browser: Browser, atlas: Atlas) -> None:
    url = atlas.article("/marked", "Marked & saved?", "Some words about marking things in books.")
    context = visit(browser, atlas, viewport=DESK)
    page = context.new_page()
    page.goto("/settings")
    link = page.get_by_role("link", name="Save to Atlas").get_attribute("href")
    assert link
    page.goto(url)
    with context.expect_page() as opened:
        page.evaluate(link.removeprefix("javascript:"))
    form = opened.value
    expect(form.get_by_label("Address")).to_have_value(url)
    expect(form.get_by_text("Marked & saved?")).to_be_visible()
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("article").get_by_role("heading")).to_have_text("Marked & saved?")
    context.close()


def test_a_token_can_be_copied(browser: Browser, atlas: Atlas) -> None:
    context = visit(browser, atlas, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto("/settings")
    page.get_by_label("Name of the new token").fill("phone")
    page.get_by_role("button", name="New token").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    token = page.evaluate("navigator.clipboard.readText()")
    assert token == page.get_by_label("New token", exact=True).input_value()
    answer = context.request.get("/api/items", headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 200
    context.close()
