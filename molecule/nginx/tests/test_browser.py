"""A real browser at the door: asked once, known afterwards, and nothing that a page's own policy refuses."""

import re
import shutil

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from visiting import stopped

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]
SITE = "https://machine"
#: What the policy of a page refuses.
WATCH = """window.refused = [];
document.addEventListener("securitypolicyviolation", (event) => refused.push(event.violatedDirective));"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def browser(port):
    """A browser that believes the machine's certificate, as where its owner installed the authority's."""
    rules = ["--ignore-certificate-errors", f"--host-resolver-rules=MAP machine:443 127.0.0.1:{port(443)}"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *rules])
        yield running
        running.close()


@pytest.fixture
def context(browser: Browser, password):
    """A browser of its own whose owner types the password where nginx asks."""
    credentials = {"username": "owner", "password": password, "origin": SITE}
    opened = browser.new_context(base_url=SITE, http_credentials=credentials)
    opened.add_init_script(WATCH)
    opened.set_default_timeout(20_000)
    yield opened
    opened.close()


def log_in(page, password):
    page.goto("/settings")
    page.get_by_label("Name").fill("owner")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{SITE}/settings")


def test_asked_once_and_known_from_then_on(browser, context, password):
    log_in(context.new_page(), password)
    later = browser.new_context(base_url=SITE, storage_state=context.storage_state())
    page = later.new_page()
    for path in ("/", "/settings", "/feeds"):
        assert page.goto(path).status == 200, "after a restart of the browser nothing is asked"
        expect(page).to_have_url(f"{SITE}{path}")
    later.close()


def test_the_question_is_seen_although_a_service_worker_answers(context, password):
    page = context.new_page()
    log_in(page, password)
    page.goto("/")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    context.clear_cookies(name="__Host-atlas-door")
    page.goto("/feeds")
    expect(page).to_have_url(f"{SITE}/feeds")
    expect(page.get_by_role("link", name="Settings")).to_be_visible()


def test_logged_out_is_logged_out(context, password):
    page = context.new_page()
    log_in(page, password)
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{SITE}/logged-out")
    expect(page.get_by_role("heading")).to_have_text("You are logged out")
    assert [cookie["name"] for cookie in context.cookies() if not cookie["name"].endswith("login")] == []
    page.goto("/settings")
    expect(page).to_have_url(f"{SITE}/login?next=/settings")


def test_pages_of_the_web_server_keep_their_own_policy(host, context):
    page = context.new_page()
    for path in ("/status/public.html", "/status/", "/logged-out"):
        page.goto(path)
        assert page.evaluate("refused") == [], path
        assert page.evaluate("document.styleSheets.length") == 1, path
    with stopped(host, "atlas-api"):
        page.goto("/login")
        expect(page.get_by_role("heading")).to_have_text("One moment")
        expect(page.locator("main")).to_contain_text(re.compile("The last health check found"))
        assert page.evaluate("refused") == []
