"""What went wrong with an item, in a few plain words, and what its owner can do: by the code of its error."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Advice(NamedTuple):
    """A reason as a headline, and what to do about it."""

    reason: str
    todo: str


_LATER = "Nothing: Atlas tries again by itself. If it stays so, look at the address in a browser."
_PASTE = "Open the page in a browser and save it from there (bookmarklet), or paste its text."

_ADVICE: Mapping[str, Advice] = MappingProxyType(
    {
        "timeout": Advice("The site took too long", _LATER),
        "connection_failed": Advice("The site could not be reached", _LATER),
        "dns_failure": Advice(
            "The site's name is not known", "Check the address; the site may be gone. Else ignore the item."
        ),
        "tls_error": Advice(
            "The site's certificate is not valid",
            "Look at the site in a browser. If you trust it, save the page from there.",
        ),
        "rate_limited": Advice("The site asked us to slow down", _LATER),
        "bad_response": Advice("The site's answer made no sense", _LATER),
        "body_too_large": Advice("The page is too large", "Raise ATLAS_FETCH_MAX_BYTES, then retry."),
        "decompression_bomb": Advice(
            "The answer unpacks to far too much", "Ignore it: the site is broken or hostile."
        ),
        "too_many_redirects": Advice("The site redirects in circles", _PASTE),
        "forbidden_address": Advice(
            "The address leads into a private network",
            "If it is yours and meant, name the network in ATLAS_ALLOWED_NETWORKS, then retry.",
        ),
        "invalid_url": Advice(
            "The address is not one that can be fetched", "Correct the address and add it anew."
        ),
        "login_wall": Advice(
            "The site wants a login",
            "Save it from your browser, where you are logged in, or give Atlas the site's cookies.",
        ),
        "needs_javascript": Advice("The page is empty without JavaScript", _PASTE),
        "cookie_wall": Advice("The site asks about cookies first", _PASTE),
        "soft_404": Advice("The page is gone", "Look for it elsewhere, or ignore the item."),
        "error_page": Advice("The site shows an error of its own", "Retry later, or ignore the item."),
        "damaged": Advice("The file is damaged", "Get it again and upload it, or ignore the item."),
        "protected": Advice("The file is protected by a password", "Upload one without, or ignore the item."),
        "only_pictures": Advice(
            "The file is pictures of pages", "Upload one with text (OCR makes it), or ignore the item."
        ),
        "empty_page": Advice("The page is empty", "Retry later, or ignore the item."),
        "not_an_article": Advice(
            "There is nothing to read on the page", "If there is, paste its text; else ignore the item."
        ),
        "not_html": Advice(
            "The address leads to something that is no page", "Upload the file instead, or ignore the item."
        ),
        "undecodable": Advice("The page's characters cannot be read", _PASTE),
        "too_complex": Advice("The page is too large or too tangled to be read", _PASTE),
        "internal_error": Advice(
            "Something broke inside Atlas",
            "Retry it once. If it breaks again, report the error with what `atlas error ID` prints.",
        ),
        "never_finished": Advice(
            "Atlas began with it again and again and never finished",
            "The worker is killed over it, perhaps for want of memory: see its log, then retry.",
        ),
    }
)


def advice(code: str) -> Advice:
    """Return what to say about an error's code; codes nobody wrote about are said as they are."""
    if code in _ADVICE:
        return _ADVICE[code]
    if code.startswith("http_") and code.removeprefix("http_").isdigit():
        return _of_status(int(code.removeprefix("http_")))
    words = code.replace("_", " ").strip() or "unknown"
    return Advice(
        f"{words[0].upper()}{words[1:]}", "Read its message; retry it, paste its content, or ignore it."
    )


def _of_status(status: int) -> Advice:
    if status in (404, 410):
        return Advice(f"The page is gone (HTTP {status})", "Look for it elsewhere, or ignore the item.")
    if status in (401, 402, 403, 407, 451):
        return Advice(f"The site does not let us in (HTTP {status})", _PASTE)
    if status == 429:
        return _ADVICE["rate_limited"]
    if status >= 500:
        return Advice(f"The site is broken (HTTP {status})", _LATER)
    return Advice(f"The site refused (HTTP {status})", _PASTE)
