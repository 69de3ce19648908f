"""Taking out of a page what is not its text: what is hidden, or by its name something else than text."""

import re

from lxml import etree

from atlas.reading.metadata import same_words
from atlas.reading.tree import brief, words

#: Elements that are no part of the text.
_JUNK = (
    "script",
    "style",
    "noscript",
    "template",
    "link",
    "meta",
    "base",
    "title",
    "svg",
    "canvas",
    "dialog",
)
_UNLIKELY = re.compile(
    r"-ad-|ai2html|banner|breadcrumbs|combx|comment|community|cover-wrap|disqus|extra|footer|gdpr|header|legends|"
    r"menu|related|remark|replies|rss|shoutbox|sidebar|skyscraper|social|sponsor|supplemental|ad-break|agegate|pagination|"
    r"pager|popup|yom-remote|cookie-",
    re.IGNORECASE,
)
_MAYBE = re.compile(r"and|article|body|column|content|main|mathjax|shadow", re.IGNORECASE)
_UNLIKELY_ROLES = words("menu menubar complementary navigation alert alertdialog dialog")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_BYLINE = re.compile(r"byline|author|dateline|writtenby", re.IGNORECASE)
#: Worth nothing when they hold nothing.
_HOLLOW = words("div section header h1 h2 h3 h4 h5 h6")
_LONGEST_HEADING = 1000
#: Marks what goes: taken out all at once, however much it is.
_DROPPED = "dropped"
_SIGNS = frozenset("#¶§🔗\u200b")
#: Numbers beside the lines of code.
_GUTTER = re.compile(
    r"(?:^|[\s_-])(?:gutter|linenos?|linenodiv|line-numbers?(?:-rows)?|lnt?|blob-num)(?:$|[\s_-])"
)


def prune(body: etree._Element, *, unlikely: bool, title: str, byline: str | None) -> None:
    """Drop what is hidden or no text and, if `unlikely`, what is called something other than an article.

    A heading that repeats the title, and the by-line, are dropped once: the reader shows them already.
    """
    _keep_formulas(body)
    etree.strip_elements(body, *_JUNK, with_tail=False)
    pending = [(element, False) for element in reversed(body)]
    while pending:
        element, sheltered = pending.pop()
        tag = element.tag
        name = f"{element.get('class', '')} {element.get('id', '')}"
        if (
            _is_hidden(element, name)
            or (unlikely and not sheltered and _is_unlikely(element, name))
            or (tag in _HOLLOW and _is_hollow(element))
            or (sheltered and _is_gutter(element, name))
            or (tag == "a" and _is_self_link(element))
        ):
            element.tag = _DROPPED
        elif title and tag in {"h1", "h2"} and same_words(title, brief(element, _LONGEST_HEADING)) > 0.75:
            title = ""
            element.tag = _DROPPED
        elif byline and _is_byline(element, name, byline):
            byline = None
            element.tag = _DROPPED
        else:
            sheltered = sheltered or tag in {"table", "code", "pre"}
            pending.extend((child, sheltered) for child in reversed(element))
    etree.strip_elements(body, _DROPPED, with_tail=False)


def _keep_formulas(body: etree._Element) -> None:
    """Formulas as their TeX, where the page has it: that can be read, searched and copied."""
    for script in body.iter("script"):
        if (script.get("type") or "").startswith("math/tex"):
            script.tag = "code"
    for formula in list(body.iter("math")):
        tex = formula.get("alttext") or next(
            (note.text for note in formula.iter("annotation") if "tex" in (note.get("encoding") or "")), None
        )
        if tex:
            for child in list(formula):
                formula.remove(child)
            formula.text = tex.strip()
            formula.tag = "code"


def _is_hidden(element: etree._Element, name: str) -> bool:
    style = element.get("style")
    return (
        (style is not None and _HIDDEN.search(style) is not None)
        or element.get("hidden") is not None
        or (element.get("aria-hidden") == "true" and "fallback-image" not in name)
        or (element.get("aria-modal") == "true" and element.get("role") == "dialog")
    )


def _is_unlikely(element: etree._Element, name: str) -> bool:
    if element.get("role") in _UNLIKELY_ROLES:
        return True
    return len(name) > 1 and element.tag != "a" and bool(_UNLIKELY.search(name)) and not _MAYBE.search(name)


def _is_hollow(element: etree._Element) -> bool:
    if element.text and not element.text.isspace():
        return False
    return all(child.tag in {"br", "hr"} and not (child.tail and child.tail.strip()) for child in element)


def _is_gutter(element: etree._Element, name: str) -> bool:
    if len(name) == 1 or not _GUTTER.search(name):
        return False
    return not brief(element).replace(" ", "").strip("0123456789")


def _is_self_link(link: etree._Element) -> bool:
    """Tell the little sign beside a heading that links to it."""
    return link.get("href", "").startswith("#") and len(text := brief(link)) <= 2 and text in _SIGNS


def _is_byline(element: etree._Element, name: str, byline: str) -> bool:
    if (
        element.get("rel") != "author"
        and "author" not in element.get("itemprop", "")
        and not _BYLINE.search(name)
    ):
        return False
    text = brief(element)
    return len(text) < 100 and byline in text
