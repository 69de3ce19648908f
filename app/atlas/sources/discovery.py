"""Finding the feed of a web page, for people who subscribe to the page they see."""

from urllib.parse import urljoin, urlsplit

from lxml import etree

#: Feeds are named in the head of a page; nobody needs more of it.
_HEAD_BYTES = 1_000_000
_MAX_LINKS = 5
#: Types of feeds; a higher rank is asked later. "application/json" is a feed on some pages, an API on others.
_RANKS = {
    "application/rss+xml": 0,
    "application/atom+xml": 0,
    "application/rdf+xml": 0,
    "application/feed+json": 0,
    "application/xml": 1,
    "text/xml": 1,
    "application/json": 2,
}
#: Words in the names of feeds that a page offers besides its own.
_ASIDE = ("comment", "kommentar")


def find_feeds(raw: bytes, url: str) -> list[str]:
    """List the feeds a page names in its head by address, likeliest first, those of its comments last."""
    parser = etree.HTMLParser(recover=True, no_network=True, huge_tree=False)
    try:
        page = etree.fromstring(raw[:_HEAD_BYTES], parser)
    except (etree.ParserError, etree.XMLSyntaxError):
        return []
    if page is None:
        return []
    bases = (_absolute(url, element.get("href") or "") for element in page.iter("base"))
    base = next(filter(None, bases), url)
    found: dict[str, int] = {}
    for link in page.iter("link"):
        kind = (link.get("type") or "").lower().partition(";")[0].strip()
        is_feed = "alternate" in (link.get("rel") or "").lower().split() and kind in _RANKS
        if is_feed and (href := _absolute(base, link.get("href") or "")):
            words = f"{href} {link.get('title') or ''}".lower()
            is_aside = any(word in words for word in _ASIDE)
            found.setdefault(href, _RANKS[kind] + 10 * is_aside)
    return sorted(found, key=lambda href: found[href])[:_MAX_LINKS]


def _absolute(base: str, href: str) -> str | None:
    try:
        link = urljoin(base, href.strip()) if href.strip() else ""
        return link if urlsplit(link).scheme in ("http", "https") else None
    except ValueError:
        return None
