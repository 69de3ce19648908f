"""What a child process does for a transcript: read one in any form, or find it on an episode's page.

Pure: no network, no clock, no database. See `atlas.stages.pool`.
"""

import re
from typing import Any
from urllib.parse import urljoin, urlsplit

from lxml import etree

from atlas.reading.tree import body_of, parse_html, plain_text
from atlas.sources import transcripts
from atlas.sources.charset import decode
from atlas.sources.transcripts import Segment, TranscriptError
from atlas.stages.extract import extract
from atlas.stages.page import PageError

#: Fewer words than these are no transcript that a page would show.
FEWEST_WORDS_OF_PAGE = 300
_MAX_LINKS = 3
_LONGEST = 5_000_000
_FILE = re.compile(r"\.(?:vtt|srt|json)(?:[?#]|$)", re.IGNORECASE)
_WORD = re.compile(r"\btranscripts?\b|\btranskript\b|\btranscripci[o\u00f3]n\b", re.IGNORECASE)
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6", "summary", "button", "legend")
_WHOLE_PAGE = re.compile(r"<(?:!doctype|html|body)\b", re.IGNORECASE)


def read_transcript(raw: bytes, *, content_type: str | None, url: str) -> dict[str, Any]:
    """Read a transcript that `url` answered; return its `segments`, or `code` and `message`."""
    text, _ = decode(raw[:_LONGEST], content_type)
    try:
        if transcripts.form_of(text) == "html":
            segments = transcripts.checked(_of_html(text, url))
        else:
            segments = transcripts.parse(text)
    except (TranscriptError, PageError) as error:
        return {"code": "no_transcript", "message": str(error)}
    return {"segments": segments}


def read_episode(raw: bytes, *, content_type: str | None, url: str) -> dict[str, Any]:
    """Find the transcript on an episode's page: its `segments`, or `links` where it may be."""
    text, _ = decode(raw[:_LONGEST], content_type)
    try:
        page = parse_html(text)
    except PageError:
        return {"links": []}
    links = _links(page, url)
    if any(_FILE.search(link) for link in links):
        return {"links": links}
    section = _section(page)
    if section is not None:
        try:
            segments = transcripts.checked(transcripts.plain(_marked(section)))
        except TranscriptError:
            segments = []
        if sum(len(segment[3].split()) for segment in segments) >= FEWEST_WORDS_OF_PAGE:
            return {"segments": segments}
    return {"links": links}


def _of_html(text: str, url: str) -> list[Segment]:
    """Read a fragment such as the podcast namespace describes, or a page whose article is the transcript."""
    tree = body_of(parse_html(text))
    if _WHOLE_PAGE.search(text[:2000]) and not list(tree.iter("cite")):
        found = extract(text, url)
        if found.words >= FEWEST_WORDS_OF_PAGE:
            return list(transcripts.plain(_marked(found.article)))
    return list(transcripts.plain(_marked(tree)))


def _marked(tree: etree._Element) -> str:
    """Write a tree as text in which names and times stand on lines of their own."""
    etree.strip_elements(tree, "script", "style", "noscript", "template", with_tail=False)
    for element in tree.iter("cite", "time"):
        element.tag = "p"
    return plain_text(tree)


def _links(page: etree._Element, url: str) -> list[str]:
    """List the links that say they lead to a transcript, files of one first."""
    found: dict[str, int] = {}
    for link in page.iter("a", "track"):
        address = (link.get("href") or link.get("src") or "").strip()
        try:
            absolute = urljoin(url, address) if address and not address.startswith("#") else ""
            parts = urlsplit(absolute)
        except ValueError:
            continue
        if parts.scheme not in ("http", "https") or absolute.partition("#")[0] == url.partition("#")[0]:
            continue
        words = " ".join("".join(str(part) for part in link.itertext()).split())[:200]
        is_track = link.tag == "track" and (link.get("kind") or "subtitles") in ("subtitles", "captions")
        says_so = _WORD.search(words) or _WORD.search(f"{link.get('title') or ''} {link.get('rel') or ''}")
        if is_track or says_so or (_FILE.search(absolute) and _WORD.search(parts.path)):
            found.setdefault(absolute, 0 if _FILE.search(absolute) else 1)
    return sorted(found, key=lambda address: found[address])[:_MAX_LINKS]


def _section(page: etree._Element) -> etree._Element | None:
    """Find the part of a page that is its transcript: by its id or class, or by the heading over it."""
    for element in page.iter("div", "section", "article", "details"):
        names = f"{element.get('id') or ''} {element.get('class') or ''}".replace("-", " ").replace("_", " ")
        if _WORD.search(names) and len(plain_text(element).split()) >= FEWEST_WORDS_OF_PAGE:
            return element
    for heading in page.iter(*_HEADINGS):
        title = " ".join("".join(str(part) for part in heading.itertext()).split())
        if len(title) <= 60 and _WORD.search(title):
            section = etree.Element("div")
            for sibling in list(heading.itersiblings()):
                if sibling.tag == heading.tag:
                    break
                section.append(sibling)
            return section
    return None
