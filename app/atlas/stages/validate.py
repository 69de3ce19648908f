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
from atlas.reading.tree import brief, line, line_of, plain_text, words
from atlas.stages.extract import Extract
from atlas.stages.page import PageError

#: An article of so many words needs no further proof.
LONG = 400
#: What has fewer words is not worth keeping.
SHORTEST = 20
#: Share of an article's text in links above which it is a list of links.
MOST_LINKS = 0.6

_HTML_TYPES = {"text/html", "application/xhtml+xml"}
_XML_TYPES = {"application/xml", "text/xml"}
_PLAIN_TYPES = {"text/plain"}
_MARKDOWN_TYPES = {"text/markdown", "text/x-markdown"}
_MAIL_TYPES = {"message/rfc822"}
_PDF_TYPES = {"application/pdf", "application/x-pdf"}

Kind = Literal["html", "plain", "markdown", "mail", "pdf"]

_UNKNOWN_TYPES = {"", "application/octet-stream", "binary/octet-stream", "application/x-unknown-content-type"}
_MARKUP = re.compile(
    rb"<(?:!doctype html|html|head|title|body|p|div|article|h1|meta|table|a)\b", re.IGNORECASE
)
_MAGIC = (
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

#: Characters: what a wall says it says soon.
_MOST_TEXT = 20_000
#: Elements that an app fills in the browser.
_APP_ROOTS = words("root app __next __nuxt ___gatsby svelte app-root main-app q-app react-root mount")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else is on the page: the evidence against an article that is short."""

    text: str
    noscript: str
    #: The page's title and its headings of the first level in use.
    titles: list[str]
    #: What stands on its buttons.
    buttons: str
    has_scripts: bool
    has_empty_app: bool
    asks_password: bool


def kind_of(raw: bytes, content_type: str | None) -> Kind:
    """Tell how something is to be read. Raises PageError(not_html or empty_page) for what cannot be."""
    if not raw.strip():
        raise PageError("empty_page", "The site answered with an empty page.")
    if raw.startswith(b"%PDF-"):
        return "pdf"
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type in _PDF_TYPES:
        raise PageError("damaged", "The address leads to a file that is called a PDF document and is none.")
    if media_type in _MAIL_TYPES:
        return "mail"
    _refuse_files(raw)
    has_markup = _MARKUP.search(raw[:4096]) is not None
    known = _HTML_TYPES | _PLAIN_TYPES | _MARKDOWN_TYPES | _UNKNOWN_TYPES
    if media_type not in known and not (media_type in _XML_TYPES and has_markup):
        raise PageError("not_html", f"The address leads to a file of the type {media_type}, not to a page.")
    if is_binary(raw):
        raise PageError(
            "not_html", "The address leads to a file that is no text, although the site calls it a page."
        )
    if media_type in _MARKDOWN_TYPES:
        return "markdown"
    is_plain = media_type in _PLAIN_TYPES or (media_type in _UNKNOWN_TYPES and not has_markup)
    return "plain" if is_plain else "html"


def _refuse_files(raw: bytes) -> None:
    """Raise PageError(not_html) for what begins as files do that are no text, and for feeds."""
    for magic, kind in _MAGIC:
        if raw.startswith(magic):
            raise PageError("not_html", f"The address leads to {kind}, not to a page.")
    if _FEED.match(raw[:2000]):
        raise PageError("not_html", "The address leads to a feed: subscribe to it instead of saving it.")


def check_extract(found: Extract, page: Callable[[], etree._Element]) -> None:
    """Refuse what only looks like a page worth keeping. Raises PageError with the first reason that holds.

    `page` gives the `html` element of the whole page, to be used up; only a short article needs it.
    """
    if found.words < LONG:
        around = _look_around(page(), found.metadata.title)
        for check in _CHECKS:
            check(found, around)
    check_plain(found.words)
    if found.link_share > MOST_LINKS:
        raise PageError("not_an_article", "The page is a list of links rather than something to read.")


def check_plain(words: int) -> None:
    """Refuse a text of a few words. Raises PageError(not_an_article)."""
    if words < SHORTEST:
        raise PageError("not_an_article", f"There is hardly any text on the page: {words} words.")


def _look_around(page: etree._Element, title: str) -> Surroundings:
    noscript = " ".join(line_of(element) for element in page.iter("noscript"))
    has_scripts = next(page.iter("script"), None) is not None
    etree.strip_elements(page, "script", "style", "template", "svg", "noscript", "head", with_tail=False)
    headings = list(page.iter("h1")) or list(page.iter("h2"))
    roots = [
        element for element in page.iter() if element.get("id") in _APP_ROOTS or element.tag == "app-root"
    ]
    return Surroundings(
        text=line(plain_text(page))[:_MOST_TEXT],
        noscript=noscript[:_MOST_TEXT],
        titles=[title, *(brief(heading) for heading in headings)],
        buttons=" | ".join(brief(button) for button in page.iter("button", "a")),
        has_scripts=has_scripts,
        has_empty_app=any(len(brief(root)) < 40 for root in roots),
        asks_password=any(field.get("type", "").lower() == "password" for field in page.iter("input")),
    )


def _needs_javascript(found: Extract, around: Surroundings) -> None:
    if found.words < 120 and phrases.CHECKS_BROWSER.search(f"{found.metadata.title} {around.text}"):
        raise PageError("needs_javascript", "The site showed a check for human visitors instead of the page.")
    if found.words < 60 and (
        phrases.WANTS_JAVASCRIPT.search(around.text)
        or (
            around.has_scripts and len(around.text) < 600 and phrases.WANTS_JAVASCRIPT.search(around.noscript)
        )
        or (around.has_scripts and len(around.text) < 600 and around.has_empty_app)
    ):
        raise PageError(
            "needs_javascript", "The page is an empty shell that is filled by JavaScript in a browser."
        )


def _is_empty(_found: Extract, around: Surroundings) -> None:
    if not around.text and around.has_scripts:
        raise PageError(
            "needs_javascript", "The site answered with an empty page that only scripts can fill."
        )
    if not around.text:
        raise PageError("empty_page", "The site answered with an empty page.")


def _is_soft_404(found: Extract, around: Surroundings) -> None:
    named = found.words < 120 and any(phrases.NOT_FOUND_TITLE.search(title) for title in around.titles)
    if named or (found.words < 60 and phrases.NOT_FOUND_TEXT.search(around.text)):
        raise PageError(
            "soft_404", 'The site says that the page does not exist, although it answers "200 OK".'
        )


def _is_error_page(found: Extract, around: Surroundings) -> None:
    named = found.words < 120 and any(phrases.ERROR_TITLE.search(title) for title in around.titles)
    if named or (found.words < 60 and phrases.ERROR_TEXT.search(around.text)):
        raise PageError(
            "error_page", 'The site shows an error instead of the page, although it answers "200 OK".'
        )


def _is_login(found: Extract, around: Surroundings) -> None:
    named = any(phrases.LOGIN_TITLE.search(title) for title in around.titles)
    if (
        (found.words < 120 and named and around.asks_password)
        or (found.words < 60 and (named or phrases.MEMBERS_ONLY.search(around.text)))
        or (found.words < 60 and around.asks_password and len(around.text) < 1000)
    ):
        raise PageError("login_wall", "The site shows a login instead of the page.")


def _is_paywall(found: Extract, around: Surroundings) -> None:
    """Find the words that a beginning ends with; an article that speaks of subscriptions does so anywhere."""
    end = found.text[len(found.text) // 3 :]
    if phrases.PAYWALL.search(line(end)) or (found.words < 120 and phrases.PAYWALL.search(around.text)):
        raise PageError(
            "login_wall",
            "Only the beginning is shown: the site wants a login or a subscription for the rest.",
        )


def _is_cookie_wall(found: Extract, around: Surroundings) -> None:
    mentions = len(phrases.COOKIES.findall(found.text if found.words >= SHORTEST else around.text))
    if (
        found.words < 150
        and mentions >= 2 + found.words // 40
        and phrases.ACCEPT_COOKIES.search(around.buttons)
    ):
        raise PageError("cookie_wall", "The site shows a question about cookies instead of the page.")


_CHECKS = (
    _needs_javascript,
    _is_empty,
    _is_soft_404,
    _is_error_page,
    _is_login,
    _is_paywall,
    _is_cookie_wall,
)
