"""The product as its owner meets it: the real server, a real browser, with and without JavaScript."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from livesite import CHROMIUM, DESK, Site, save, visit
from playwright.sync_api import Browser, expect

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_save_read_and_find(browser: Browser, site: Site, script: bool) -> None:
    name = f"lantern{script}"
    url = site.article(
        f"/{name}", f"The {name} of the north", f"A {name} on a cold coast, kept by three sisters."
    )
    context = visit(browser, site, java_script_enabled=script)
    page = context.new_page()
    save(page, url)
    # The page turns into the article by itself.
    expect(page.get_by_role("article").get_by_role("heading")).to_have_text(f"The {name} of the north")
    expect(page.locator(".prose")).to_contain_text("kept by three sisters")
    page.get_by_role("button", name="Mark as read").click()
    expect(page).to_have_url(f"{site.url}/")
    expect(page.locator(".row-read")).to_contain_text([f"The {name} of the north"])
    page.get_by_role("link", name="Search").click()
    page.get_by_role("searchbox").fill(name)
    page.keyboard.press("Enter")
    expect(page.locator(".found mark").first).to_have_text(re.compile(name, re.IGNORECASE))
    page.get_by_role("link", name=f"The {name} of the north").click()
    expect(page.get_by_role("button", name="Mark as unread")).to_be_visible()
    save(page, url)
    expect(page.get_by_role("heading", name="Already here")).to_be_visible()
    save(page, site.web.url("/nothing-here"))
    expect(page.get_by_role("heading", name="Could not be saved")).to_be_visible()
    expect(page.locator(".trouble")).to_contain_text("404")
    page.goto("/failed")
    page.get_by_role("button", name="Try again", exact=True).first.click()
    expect(page.get_by_role("heading", name="Could not be saved")).to_be_visible()
    page.goto("/settings")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{site.url}/login")
    page.goto("/")
    expect(page).to_have_url(f"{site.url}/login")
    context.close()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_marking_passages_starring_and_tagging(browser: Browser, site: Site, script: bool) -> None:
    url = site.article(f"/marks{script}", "On marks", f"Some words about marking things in books {script}.")
    context = visit(browser, site, java_script_enabled=script, viewport=DESK)
    page = context.new_page()
    save(page, url)
    expect(page.get_by_role("article").get_by_role("heading")).to_have_text("On marks")
    star = page.get_by_role("button", name="Star: On marks")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    if script:
        page.locator(".prose p").nth(1).click(click_count=3)
        form = page.locator("#marker")
        form.get_by_label("Note").fill("The second one.")
        form.get_by_role("button", name="Highlight").click()
        expect(page.locator(".prose mark").first).to_contain_text("Two.")
    else:
        page.get_by_text("Add a highlight").click()
        page.get_by_label("Passage").fill("marking things in books False. Two.")
        page.locator("#quote-note").fill("The second one.")
        page.get_by_role("button", name="Highlight", exact=True).click()
    entry = page.locator(".highlights li")
    expect(entry.locator("blockquote")).to_contain_text("Two.")
    expect(entry).to_contain_text("The second one.")
    entry.locator("summary").click()
    entry.get_by_role("button", name="Remove highlight").click()
    expect(page.locator(".highlights li")).to_have_count(0)
    page.get_by_text("Tags", exact=True).click()
    page.get_by_label("Tags, with commas between them").fill("books, marks")
    page.get_by_role("button", name="Keep the tags").click()
    page.get_by_role("article").locator(".tags a", has_text="marks").click()
    expect(page.locator(".row")).to_have_count(1)
    page.get_by_role("link", name="On marks").first.click()
    page.locator(".remove summary").click()
    page.get_by_role("button", name="Delete for good").click()
    expect(page).to_have_url(f"{site.url}/")
    context.close()


def test_the_place_is_kept_and_taken_up_again(browser: Browser, site: Site) -> None:
    context = visit(browser, site)
    page = context.new_page()
    page.goto(site.pages["podcast"])
    middle = "document.querySelector('.prose').getBoundingClientRect().height / 2"
    with page.expect_request("**/progress") as sent:
        page.evaluate(f"scrollTo(0, {middle})")
    assert sent.value.method == "POST"
    page.wait_for_timeout(300)
    page.goto("about:blank")
    page.goto(site.pages["podcast"])
    expect(page.locator("#said")).to_contain_text("Back where you stopped")
    assert page.evaluate("scrollY") > 300
    context.close()


def test_the_look_is_kept_with_and_without_a_script(browser: Browser, site: Site) -> None:
    for script, theme, colour in ((False, "dark", "rgb(20, 22, 24)"), (True, "light", "rgb(250, 248, 243)")):
        context = visit(browser, site, java_script_enabled=script)
        page = context.new_page()
        page.goto("/settings/appearance")
        page.get_by_label("Colours").select_option(theme)
        page.get_by_label("Size of the text").select_option("5")
        page.get_by_role("button", name="Keep").click()
        page.goto(site.pages["reader"])
        assert page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor") == colour
        assert page.locator(".prose p").first.evaluate("e => getComputedStyle(e).fontSize") == "26px"
        page.goto("/settings/appearance")
        page.get_by_label("Colours").select_option("auto")
        page.get_by_label("Size of the text").select_option("3")
        page.get_by_role("button", name="Keep").click()
        context.close()


def test_the_keyboard_is_enough(browser: Browser, site: Site) -> None:
    context = visit(browser, site, viewport=DESK)
    page = context.new_page()
    page.goto("/?feed=1")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    second = page.locator(".row").nth(1)
    expect(second.locator("h2 a")).to_be_focused()
    for key, name in (("s", "star"), ("m", "read")):
        page.keyboard.press(key)
        expect(second.locator(f"[data-toggle={name}]")).to_have_attribute("aria-pressed", "true")
        page.keyboard.press(key)
        expect(second.locator(f"[data-toggle={name}]")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#said")).to_have_text("Marked as unread.")
    page.keyboard.press("k")
    expect(page.locator(".row h2 a").first).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("o")
    expect(page.get_by_role("article")).to_be_visible()
    page.keyboard.press("/")
    expect(page).to_have_url(f"{site.url}/search")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("a/j/k")
    expect(page.get_by_role("searchbox")).to_have_value("a/j/k")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Search").focus()
    page.keyboard.press("g")
    page.keyboard.press("f")
    expect(page).to_have_url(f"{site.url}/feeds")
    # What was shared is saved by one Enter.
    page.goto(f"/add?url={quote(site.web.url('/by-key'))}")
    expect(page.get_by_role("button", name="Save")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/items/"))
    context.close()


def test_the_bookmarklets_bring_a_page(browser: Browser, site: Site) -> None:
    url = site.article("/marked", "Marked & saved?", "Some words about bookmarklets in bars.")
    context = visit(browser, site, viewport=DESK)
    page = context.new_page()
    page.goto("/settings")
    links = [
        page.get_by_role("link", name=name).get_attribute("href") or ""
        for name in ("Save to Atlas", "Save as I see it")
    ]

    def click(link: str) -> Any:
        with context.expect_page() as opened:
            page.evaluate(link.removeprefix("javascript:"))
        return opened.value

    page.goto(url)
    form = click(links[0])
    expect(form.get_by_label("Address")).to_have_value(url)
    expect(form.get_by_text("Marked & saved?")).to_be_visible()
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("article").get_by_role("heading")).to_have_text("Marked & saved?")
    # What is selected is kept alone.
    page.locator("p").first.click(click_count=3)
    form = click(links[0])
    expect(form.get_by_label("Text")).to_have_value(re.compile("bookmarklets in bars"))
    form.get_by_role("button", name="Keep").click()
    expect(form.get_by_role("article")).to_contain_text("bookmarklets in bars")
    # The page as only this browser shows it.
    page.goto(site.article("/seen", "Seen", "What everybody may see."))
    page.evaluate(
        "document.querySelectorAll('p').forEach(p => { p.textContent = 'For subscribers. '.repeat(20); })"
    )
    form = click(links[1])
    expect(form.locator("#content")).to_have_value(re.compile("For subscribers"))
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("article")).to_contain_text("For subscribers")
    context.close()


def test_a_token_can_be_copied(browser: Browser, site: Site) -> None:
    context = visit(browser, site, permissions=["clipboard-read", "clipboard-write"])
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


def test_notes_and_files_without_a_script(browser: Browser, site: Site, tmp_path: Path) -> None:
    context = visit(browser, site, java_script_enabled=False)
    page = context.new_page()
    page.goto("/add/note")
    page.get_by_label("Title").fill("For the winter")
    page.get_by_label("Text").fill("Books to *read*.\n\n- One\n- Two")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("article").locator("em")).to_have_text("read")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Text").fill("Books I *have read*.")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("article").locator("em")).to_have_text("have read")
    file = tmp_path / "letter.txt"
    file.write_text("Dear reader.\n\nThis is a letter.")
    page.goto("/add/files")
    page.get_by_label("Files").set_input_files(file)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("article")).to_contain_text("This is a letter.")
    page.goto("/add/files")
    page.get_by_role("button", name="Add", exact=True).click()
    context.close()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_an_import_is_tried_done_and_watched(
    browser: Browser, site: Site, tmp_path: Path, script: bool
) -> None:
    file = tmp_path / f"links{script}.txt"
    file.write_text("".join(f"{site.web.url(f'/import{script}/{n}')}\n" for n in range(5)))
    context = visit(browser, site, java_script_enabled=script)
    page = context.new_page()
    page.goto("/imports")
    page.get_by_label("File").set_input_files(file)
    page.get_by_label("Only tell what would happen").check()
    page.get_by_role("button", name="Import").click()
    expect(page.locator("[data-count=added]")).to_have_text("5")
    page.get_by_role("button", name="Import it now").click()
    expect(page.locator(".state", has_text="Done")).to_be_visible()
    expect(page.locator(".table tbody tr")).to_have_count(5)
    page.get_by_role("link", name="In the library").click()
    expect(page.locator(".row")).to_have_count(5)
    context.close()


def test_feeds_are_read_marked_and_changed(browser: Browser, site: Site) -> None:
    context = visit(browser, site, java_script_enabled=False)
    page = context.new_page()
    page.goto("/feeds")
    row = page.locator(".row", has_text="The Coast")
    expect(row.locator(".badge")).to_contain_text("22")
    row.get_by_role("link", name="Options").click()
    page.get_by_label("Folder").fill("Sea")
    page.get_by_label("matches").first.fill("sponsored")
    page.get_by_label("Action").first.select_option("drop")
    page.get_by_role("button", name="Keep these options").click()
    expect(page.get_by_role("heading", name="Sea")).to_be_visible()
    row.get_by_role("link", name="Options").click()
    expect(page.get_by_label("matches").first).to_have_value("sponsored")
    page.get_by_label("matches").first.fill("(")
    page.get_by_role("button", name="Keep these options").click()
    expect(page.get_by_role("alert")).to_contain_text("no regular expression")
    page.goto("/feeds/2")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    page.get_by_role("button", name="Mark 22 as read").click()
    expect(row.locator(".badge")).to_have_count(0)
    context.close()


def test_the_ways_out_of_a_dead_letter(browser: Browser, site: Site) -> None:
    context = visit(browser, site, java_script_enabled=False)
    page = context.new_page()
    page.goto("/failed")
    row = page.locator(".row", has_text="example.org/gone")
    row.get_by_role("button", name="Ignore").click()
    expect(row).to_have_count(0)
    page.get_by_role("link", name="Set aside").click()
    row.get_by_role("button", name="Bring back").click()
    page.goto("/failed")
    row.get_by_role("link", name="Paste the text").click()
    page.get_by_label("Text or HTML").fill("I have it on paper.\n\nIt was good.")
    page.get_by_role("button", name="Read this").click()
    expect(page.get_by_role("article")).to_contain_text("I have it on paper.")
    context.close()


def test_what_was_opened_is_read_without_a_network_until_the_logout(browser: Browser, site: Site) -> None:
    context = visit(browser, site)
    page = context.new_page()
    page.goto("/")
    page.evaluate("navigator.serviceWorker.ready")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    page.goto(site.pages["reader"])
    page.goto("/feeds")
    context.set_offline(True)
    page.goto(site.pages["reader"])
    expect(page.locator(".prose")).to_contain_text("The lamp was lit at dusk")
    page.goto("/settings")
    expect(page.get_by_role("heading", name="No network")).to_be_visible()
    page.get_by_role("link", name="The last keeper").click()
    expect(page.get_by_role("article").get_by_role("heading", level=1)).to_have_text("The last keeper")
    page.goto("/settings")
    page.evaluate("dispatchEvent(new Event('online'))")  # a network, but no Atlas
    expect(page.get_by_role("heading", name="No network")).to_be_visible()
    context.set_offline(False)
    page.get_by_role("button", name="Log out").click()  # the page came by itself
    expect(page).to_have_url(f"{site.url}/login")
    kept = "caches.keys().then(names => names.filter(name => name.startsWith('pages-')))"
    assert page.evaluate(kept) == []
    context.close()


def test_what_a_phone_shares_waits_until_its_owner_says_yes(browser: Browser, site: Site) -> None:
    context = visit(browser, site)
    page = context.new_page()
    page.goto("/")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    share = """async (files) => {
      const form = document.createElement("form");
      Object.assign(form, { method: "POST", action: "/share", enctype: "multipart/form-data" });
      const add = (name, value) => {
        const field = document.createElement("input");
        [field.name, field.value] = [name, value];
        form.append(field);
      };
      add("title", "A page"); add("text", "Look: https://example.org/shared.");
      if (files) {
        const field = document.createElement("input");
        Object.assign(field, { type: "file", name: "files" });
        const chosen = new DataTransfer();
        const letter = ["A letter.\\n\\nShared from a phone."];
        chosen.items.add(new File(letter, "letter.txt", { type: "text/plain" }));
        field.files = chosen.files;
        form.append(field);
      }
      document.body.append(form);
      form.submit();
    }"""
    page.evaluate(share, False)
    expect(page.get_by_label("Address")).to_have_value("https://example.org/shared")
    page.goto("/")
    page.evaluate(share, True)
    expect(page.locator("#said")).to_contain_text("1 file is ready")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("article")).to_contain_text("Shared from a phone.")
    context.close()


def test_a_transcript_moves_the_sound(browser: Browser, site: Site) -> None:
    context = visit(browser, site)
    page = context.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if "Policy" in message.text else None)
    page.route("https://media.example.org/**", lambda route: route.fulfill(status=404))
    page.goto(site.pages["podcast"])
    expect(page.locator(".transcript b")).to_have_text(["Ada", "Ben"])
    page.get_by_role("link", name="1:01").click()
    assert page.locator("audio").evaluate("e => e.currentTime || e.defaultPlaybackRate") in (61, 1)
    assert page.url.endswith(site.pages["podcast"]), "the link was taken by the player"
    assert refused == []
    context.close()
