"""Is this a page worth keeping? Walls, shells and error pages that come with "200 OK" are told by name.

Each check is one function over the same evidence. Long texts are believed: a page of a thousand words may
well speak of cookies, logins and error 404.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lxml import etree

from atlas.reading import phrases
from atlas.reading.decode import is_binary
from atlas.reading.tree import line, line_of, plain_text, words
from atlas.stages.extract import Extract
from atlas.stages.page import PageError, Reason

#: An article of so many words needs no further proof.
LONG = 400
#: What has fewer words is not worth keeping.
SHORTEST = 20
#: Share of an article's text in links above which it is a list of links.
MOST_LINKS = 0.6

_HTML_TYPES = {"text/html", "application/xhtml+xml"}
_XML_TYPES = {"application/xml", "text/xml"}
_PLAIN_TYPES = {"text/plain", "text/markdown", "text/x-markdown"}
_UNKNOWN_TYPES = {"", "application/octet-stream", "binary/octet-stream", "application/x-unknown-content-type"}
_MARKUP = re.compile(
    rb"<(?:!doctype html|html|head|title|body|p|div|article|h1|meta|table|a)\b", re.IGNORECASE
)
_MAGIC = (
    (b"%PDF-", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"RIFF", "a sound, film or picture"),
    (b"\x1aE\xdf\xa3", "a film"),
    (b"ID3", "a sound"),
    (b"OggS", "a sound or film"),
    (b"PK\x03\x04", "an archive or an office document"),
    (b"\x1f\x8b", "a compressed file"),
    (b"\xfd7zXZ", "a compressed file"),
    (b"Rar!", "an archive"),
    (b"7z\xbc\xaf", "an archive"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"wOFF", "a font"),
)
_FEED = re.compile(
    rb"^\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<\?xml-stylesheet[^>]*>\s*)?<(?:rss|feed|rdf:RDF)\b",
    re.DOTALL,
)

#: Elements that an app fills in the browser.
_APP_ROOTS = words("root app __next __nuxt ___gatsby svelte app-root main-app q-app react-root mount")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else is on the page: the evidence against an article that is short."""

    text: str
    noscript: str
    headings: str
    has_scripts: bool
    has_empty_app: bool
    asks_password: bool


def kind_of(raw: bytes, content_type: str | None) -> Literal["html", "plain"]:
    """Tell a page from a plain text. Raises PageError(not_html or empty_page) for all else."""
    if not raw.strip():
        raise PageError("empty_page", "The site answered with an empty page.")
    for magic, kind in _MAGIC:
        if raw.startswith(magic):
            raise PageError("not_html", f"The address leads to {kind}, not to a page.")
    if _FEED.match(raw[:2000]):
        raise PageError("not_html", "The address leads to a feed: subscribe to it instead of saving it.")
    media_type = (content_type or "").partition(";")[0].strip().lower()
    has_markup = _MARKUP.search(raw[:4096]) is not None
    readable = _HTML_TYPES | _PLAIN_TYPES | _UNKNOWN_TYPES | (_XML_TYPES if has_markup else set())
    if media_type not in readable:
        raise PageError("not_html", f"The address leads to a file of the type {media_type}, not to a page.")
    if is_binary(raw):
        raise PageError(
            "not_html", "The address leads to a file that is no text, although the site calls it a page."
        )
    is_plain = media_type in _PLAIN_TYPES or (media_type in _UNKNOWN_TYPES and not has_markup)
    return "plain" if is_plain else "html"


def check_extract(found: Extract, page: Callable[[], etree._Element]) -> None:
    """Refuse what only looks like a page worth keeping. Raises PageError with the first reason that holds.

    `page` gives the `html` element of the whole page, to be used up; only a short article needs it.
    """
    if found.words < LONG:
        around = _look_around(page())
        for check in (_needs_javascript, _is_empty, _is_soft_404, _is_login_wall, _is_cookie_wall):
            check(found, around)
    check_plain(found.words)
    if found.link_share > MOST_LINKS:
        raise PageError("not_an_article", "The page is a list of links rather than something to read.")


def check_plain(words: int) -> None:
    """Refuse a text of a few words. Raises PageError(not_an_article)."""
    if words < SHORTEST:
        raise PageError("not_an_article", f"There is hardly any text on the page: {words} words.")


def _look_around(page: etree._Element) -> Surroundings:
    noscript = " ".join(line_of(element) for element in page.iter("noscript"))
    has_scripts = next(page.iter("script"), None) is not None
    body = page.find("body")
    if body is None:
        body = page
    etree.strip_elements(body, "script", "style", "template", "svg", "noscript", with_tail=False)
    roots = [
        element for element in body.iter() if element.get("id") in _APP_ROOTS or element.tag == "app-root"
    ]
    return Surroundings(
        text=line(plain_text(body)),
        noscript=noscript,
        headings=" | ".join(line_of(heading) for heading in body.iter("h1", "h2")),
        has_scripts=has_scripts,
        has_empty_app=any(len(line_of(root)) < 40 for root in roots),
        asks_password=any(field.get("type", "").lower() == "password" for field in body.iter("input")),
    )


def _needs_javascript(found: Extract, around: Surroundings) -> None:
    seen = f"{found.metadata.title} {around.text}"
    if len(around.text) < 2000 and phrases.CHECKS_BROWSER.search(seen):
        raise PageError("needs_javascript", "The site showed a check for human visitors instead of the page.")
    if found.words < 60 and (
        phrases.WANTS_JAVASCRIPT.search(around.text)
        or (
            around.has_scripts and len(around.text) < 600 and phrases.WANTS_JAVASCRIPT.search(around.noscript)
        )
        or (around.has_scripts and around.has_empty_app and len(around.text) < 600)
    ):
        raise PageError(
            "needs_javascript", "The page is an empty shell that is filled by JavaScript in a browser."
        )


def _is_empty(_found: Extract, around: Surroundings) -> None:
    if not around.text:
        shell = " that only scripts could fill" if around.has_scripts else ""
        code: Reason = "needs_javascript" if around.has_scripts else "empty_page"
        raise PageError(code, f"The site answered with an empty page{shell}.")


def _is_soft_404(found: Extract, around: Surroundings) -> None:
    if found.words >= 200:
        return
    named = any(
        phrases.NOT_FOUND_TITLE.search(title)
        for title in (found.metadata.title, *around.headings.split(" | "))
    )
    if named or (found.words < 80 and phrases.NOT_FOUND_TEXT.search(around.text)):
        raise PageError(
            "soft_404", 'The site says that the page does not exist, although it answers "200 OK".'
        )


def _is_login_wall(found: Extract, around: Surroundings) -> None:
    named = any(
        phrases.LOGIN_TITLE.search(title) for title in (found.metadata.title, *around.headings.split(" | "))
    )
    if found.words < 120 and (around.asks_password or named) and (named or len(around.text) < 1000):
        raise PageError("login_wall", "The site shows a login instead of the page.")
    if phrases.MEMBERS_ONLY.search(found.text) or (
        found.words < 120 and phrases.MEMBERS_ONLY.search(around.text)
    ):
        raise PageError(
            "login_wall",
            "Only the beginning is shown: the site wants a login or a subscription for the rest.",
        )


def _is_cookie_wall(found: Extract, around: Surroundings) -> None:
    mentions = len(phrases.COOKIES.findall(found.text if found.words >= SHORTEST else around.text))
    if found.words < 250 and mentions >= 2 + found.words // 60 and phrases.ACCEPT_COOKIES.search(around.text):
        raise PageError("cookie_wall", "The site shows a question about cookies instead of the page.")
