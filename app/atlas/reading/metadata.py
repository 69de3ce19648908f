"""What a page says about itself: JSON-LD, Open Graph, Dublin Core, its title and its by-line.

Reads the whole tree, before anything is taken out of it.
"""

import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import urljoin, urlsplit

from lxml import etree

from atlas.reading.tree import brief, line

_TITLES = (
    *("dc:title", "dcterms:title", "og:title", "weibo:article:title", "weibo:webpage:title"),
    *("title", "twitter:title", "parsely-title"),
)
_BYLINES = (
    "dc:creator",
    "dcterms:creator",
    "author",
    "parsely-author",
    "article:author",
    "sailthru.author",
    "og:article:author",
)
_EXCERPTS = ("dc:description", "dcterms:description", "og:description", "description", "twitter:description")
_DATES = (
    *(
        "article:published_time",
        "parsely-pub-date",
        "datepublished",
        "sailthru.date",
        "citation_publication_date",
    ),
    *("dc:date:issued", "dcterms:issued", "dcterms:created", "dc:date", "date", "pubdate", "publish-date"),
)
_IMAGES = ("og:image:secure_url", "og:image:url", "og:image", "twitter:image", "twitter:image:src")
#: Types of schema.org that are something to read.
_ARTICLES = re.compile(
    r"(?:https?://schema\.org/)?(?:\w*Article|\w*BlogPosting|SocialMediaPosting|DiscussionForumPosting|"
    r"Report|Review|Recipe|HowTo|PodcastEpisode|APIReference)$"
)
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8}){0,4}$", re.IGNORECASE)
_BYLINE_HINT = re.compile(r"byline|author(?!i)|writtenby", re.IGNORECASE)
#: No longer than names are, and without dates.
_A_NAME = re.compile(r"(?=.*[^\W\d_]{2})(?:[^\W\d]+[\W]+){0,8}[^\W\d]*$")
_BY = re.compile(
    r"^(?:(?:written|posted|published)\s+)?(?:by|von|par|por|di|door|av|af)[\s:]+", re.IGNORECASE
)
#: What stands between a title and the name of its site.
_SEPARATOR = re.compile(r"\s[|\-\u2013\u2014\\/>»]\s")
_PATH = re.compile(r"\s[\\/>»]\s")
#: Characters; nothing that a page says about itself needs more.
_LONGEST = 2000
_DATE_FORMATS = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%Y/%m/%d", "%d.%m.%Y")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a page says about itself; anything may be missing."""

    title: str
    byline: str | None
    site: str | None
    language: str | None
    published_at: datetime | None
    excerpt: str | None
    image: str | None
    #: "ltr", "rtl" or None.
    direction: str | None
    #: Relative addresses in the page start from here.
    base_url: str


def read_metadata(root: etree._Element, url: str) -> Metadata:
    """Collect what the tree says about itself. `url` is where it was fetched from."""
    meta = _meta(root)
    linked = _json_ld(root)
    base_url = _base_url(root, url)
    site = linked.get("site") or _first(meta, ("og:site_name",))
    image = _first(meta, _IMAGES) or linked.get("image")
    return Metadata(
        title=_without_site(linked.get("title") or _first(meta, _TITLES) or _document_title(root), site, url),
        byline=_byline(root, linked.get("byline"), meta),
        site=site,
        language=_language(root, meta),
        published_at=_published_at(root, linked.get("published"), meta),
        excerpt=linked.get("excerpt") or _first(meta, _EXCERPTS),
        image=web_address(image, base_url) if image else None,
        direction=_direction(root),
        base_url=base_url,
    )


def web_address(address: str, base_url: str) -> str | None:
    """Return the absolute http or https address that `address` means at `base_url`, if it is one."""
    try:
        absolute = urljoin(base_url, address.strip())
        return (
            absolute if urlsplit(absolute).scheme in {"http", "https"} and urlsplit(absolute).netloc else None
        )
    except ValueError:
        return None


def same_words(text: str, other: str) -> float:
    """How much of `other` is in `text` too: 1.0 when no word of `other` is new."""
    known = set(re.findall(r"\w+", text.lower()))
    words = re.findall(r"\w+", other.lower())
    new = [word for word in words if word not in known]
    return 1 - len(" ".join(new)) / len(" ".join(words)) if known and words else 0.0


def _meta(root: etree._Element) -> dict[str, str]:
    """Return the page's meta elements by lower-case name; `dc.title` and `DC:Title` are spelt one way.

    Of several with one name the last counts: a template's own come first. Authors add up.
    """
    by_name: dict[str, str] = {}
    by_property: dict[str, str] = {}
    for element in root.iter("meta"):
        content = _unescaped(line((element.get("content") or "")[:_LONGEST]))
        names = (element.get("name") or element.get("itemprop") or "").lower()
        for found, words in ((by_property, (element.get("property") or "").lower()), (by_name, names)):
            for word in words.split() if content else ():
                name = word.replace(".", ":") if word.startswith(("dc", "og", "twitter", "weibo")) else word
                known = found.get(name, "") if name in _BYLINES else ""
                found[name] = f"{known}; {content}" if known and content not in known else content
    return by_name | by_property


def _unescaped(text: str) -> str:
    """Text that was escaped once too often: "Tom &amp; Jerry" as a reader would write it."""
    return line(html.unescape(text)) if "&" in text else text


def _first(meta: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((meta[name] for name in names if name in meta), None)


def _json_ld(root: etree._Element) -> dict[str, str]:
    """Return the first article that the page's JSON-LD describes."""
    for script in root.iter("script"):
        if "ld+json" not in (script.get("type") or ""):
            continue
        text = (script.text or "").strip().removeprefix("<![CDATA[").removesuffix("]]>").strip().rstrip(";")
        try:
            data = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            continue
        for node in _nodes(data):
            if any(_ARTICLES.match(kind) for kind in _texts(node.get("@type"))):
                return _article(node, root)
    return {}


def _nodes(data: object, depth: int = 0) -> Iterator[dict[str, object]]:
    """Every object of a JSON-LD document that may describe the page, outermost first."""
    if depth > 4:
        return
    if isinstance(data, list):
        for item in data:
            yield from _nodes(item, depth + 1)
    elif isinstance(data, dict):
        yield data
        for key in ("@graph", "mainEntity", "mainEntityOfPage"):
            yield from _nodes(data.get(key), depth + 1)


def _article(node: dict[str, object], root: etree._Element) -> dict[str, str]:
    authors = _names(node.get("author")) or _names(node.get("creator"))
    publisher = _names(node.get("publisher"))
    names = [name for name in _names(node.get("name")) if name not in publisher]
    found = {
        "title": _headline(names, _texts(node.get("headline")), root),
        "byline": ", ".join(dict.fromkeys(authors)),
        "site": next(iter(publisher), ""),
        "published": next(iter(_texts(node.get("datePublished")) or _texts(node.get("dateCreated"))), ""),
        "excerpt": next(iter(_texts(node.get("description"))), ""),
        "image": next(iter(_texts(node.get("image"), "url") or _texts(node.get("thumbnailUrl"))), ""),
    }
    return {key: value for key, text in found.items() if (value := _unescaped(line(text[:_LONGEST])))}


def _headline(names: list[str], headlines: list[str], root: etree._Element) -> str:
    """Of a name and a headline that differ, the one that the page's own title repeats."""
    if names and headlines and names[0] != headlines[0]:
        title = (root.findtext(".//title") or "")[:_LONGEST]
        return (
            headlines[0]
            if same_words(headlines[0], title) > 0.75 >= same_words(names[0], title)
            else names[0]
        )
    return next(iter(names or headlines), "")


def _texts(value: object, key: str = "@value", depth: int = 0) -> list[str]:
    """Whatever strings stand in a JSON-LD value: a string, a list, an object, a list of objects."""
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, list) and depth < 4:
        return [text for item in value for text in _texts(item, key, depth + 1)]
    return _texts(value.get(key), key, depth + 1) if isinstance(value, dict) and depth < 4 else []


def _names(value: object) -> list[str]:
    return [name for name in _texts(value, "name") if not name.startswith(("http:", "https:"))]


def _document_title(root: etree._Element) -> str:
    """Return the title element without the site's name or the path that many a page puts around it."""
    whole = line((root.findtext(".//title") or "")[:_LONGEST])
    title = whole
    separators = list(_SEPARATOR.finditer(whole))
    if separators:
        title = whole[: separators[-1].start()]
        if len(title.split()) < 3:
            title = whole[separators[0].end() :]
    elif ": " in whole and not any(whole == heading for heading in _headings(root, "h1", "h2")):
        title = whole.rpartition(":")[2].strip()
        if len(title.split()) < 3:
            title = whole.partition(":")[2].strip()
        elif len(whole.partition(":")[0].split()) > 5:
            title = whole
    elif not 15 <= len(whole) <= 150:
        headings = list(_headings(root, "h1"))
        title = headings[0] if len(headings) == 1 else whole
    words = len(title.split())
    if words <= 4 and (not _PATH.search(whole) or words != len(_SEPARATOR.sub(" ", whole).split()) - 1):
        title = whole  # A few words are rarely the title: more likely they are the site's name.
    return title or next(_headings(root, "h1"), "")


def _headings(root: etree._Element, *tags: str) -> Iterator[str]:
    return (brief(heading, _LONGEST)[:_LONGEST] for heading in root.iter(*tags))


def _without_site(title: str, site: str | None, url: str) -> str:
    """Take the site's name off the end of a title: "Mozilla - Wikipedia" is about Mozilla."""
    before, after = title, ""
    if site and title.lower().endswith(site.lower()):
        before, after = title[: -len(site)], site
    elif separators := list(_SEPARATOR.finditer(title)):
        before, after = title[: separators[-1].end()], title[separators[-1].end() :]
        host = (urlsplit(url).hostname or "").removeprefix("www.")
        if re.sub(r"\W", "", after).lower() not in {*host.split("."), re.sub(r"\W", "", host)}:
            return title
    shorter = re.sub(r"\s*[|\-\u2013\u2014·•:»\\/>]+\s*$", "", before)
    return shorter if after and shorter != before and shorter else title


def _byline(root: etree._Element, linked: str | None, meta: dict[str, str]) -> str | None:
    for said in (linked, *(meta.get(name) for name in _BYLINES)):
        if name := _clean_byline(re.sub(r"\(?\bhttps?://\S+", "", said or "")):
            return name
    for element in root.iter(
        "a", "span", "p", "div", "address", "cite", "strong", "em", "b", "li", "h3", "h4"
    ):
        hint = f"{element.get('class', '')} {element.get('id', '')} {element.get('itemprop', '')}"
        if element.get("rel") == "author" or (len(hint) > 2 and _BYLINE_HINT.search(hint)):
            text = brief(element)
            if len(text) < 100 and (name := _clean_byline(text)) and _A_NAME.match(name):
                return name
    return None


def _clean_byline(text: str) -> str | None:
    return _BY.sub("", line(text)).strip(" ,;|·-\u2013\u2014") or None


def _language(root: etree._Element, meta: dict[str, str]) -> str | None:
    html_element = next(root.iter("html"), root)
    pragma = next(
        (
            element.get("content")
            for element in root.iter("meta")
            if (element.get("http-equiv") or "").lower() == "content-language"
        ),
        None,
    )
    candidates = (
        html_element.get("lang"),
        html_element.get("{http://www.w3.org/XML/1998/namespace}lang") or html_element.get("xml:lang"),
        pragma,
        meta.get("content-language") or meta.get("language"),
        meta.get("og:locale") or meta.get("inlanguage"),
    )
    for candidate in candidates:
        if candidate and _LANGUAGE.match(tag := candidate.strip().split(",")[0]):
            language, *rest = tag.replace("_", "-").split("-")
            return "-".join([language.lower(), *(part.upper() if len(part) == 2 else part for part in rest)])
    return None


def _published_at(root: etree._Element, linked: str | None, meta: dict[str, str]) -> datetime | None:
    said = [linked, *(meta.get(name) for name in _DATES)]
    said += [
        element.get("datetime") or element.get("content")
        for element in root.iter("time", "span", "abbr")
        if element.get("pubdate") is not None
        or element.get("itemprop") == "datePublished"
        or (
            element.tag == "time"
            and re.search("publish|posted|entry-date|pubdate", element.get("class") or "")
        )
    ]
    return next((date for text in said if text and (date := parse_date(text))), None)


def parse_date(text: str) -> datetime | None:
    """Read a date as pages write it; what names no zone is taken for UTC."""
    text = line(text)
    by_format = (partial(_strptime, form) for form in _DATE_FORMATS)
    readers: list[Callable[[str], datetime]] = [datetime.fromisoformat, parsedate_to_datetime, *by_format]
    for read in readers:
        try:
            date = read(text)
            date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return date if 1900 <= date.year <= 2100 else None
    return None


def _strptime(form: str, text: str) -> datetime:
    return datetime.strptime(text, form)  # noqa: DTZ007 - the caller adds the zone


def _direction(root: etree._Element) -> str | None:
    for element in (*root.iter("html"), *root.iter("body")):
        if (direction := (element.get("dir") or "").lower()) in {"ltr", "rtl"}:
            return direction
    return None


def _base_url(root: etree._Element, url: str) -> str:
    base = next((element.get("href") for element in root.iter("base") if element.get("href")), None)
    return web_address(base, url) or url if base else url
