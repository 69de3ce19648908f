"""A selection as a book (EPUB 3): a cover, a table of contents, one chapter an item.

Chapters are written as they are read; only their titles are kept until the end, where the book says what is
in it.
"""

import datetime as dt
import uuid
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from atlas.export.xhtml import LANGUAGE, xhtml
from atlas.export.xml import clean, words
from atlas.export.zipping import Sink, written

TYPE = "application/epub+zip"
#: Most chapters of a book.
MOST = 1000

_RIGHT_TO_LEFT = frozenset({"ar", "arc", "ckb", "dv", "fa", "he", "iw", "ku", "ps", "sd", "ug", "ur", "yi"})
_NAMESPACE = uuid.UUID("6f1d2a52-54b4-4c9e-9b0e-0a4f6d5f7c11")
_CONTAINER = """\
<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""
_STYLE = """\
body { line-height: 1.5; margin: 0 4%; }
h1 { line-height: 1.2; margin: 1em 0 0.3em; }
.about { font-size: 0.85em; margin: 0 0 1.5em; opacity: 0.75; }
.source { font-size: 0.8em; margin-top: 2em; overflow-wrap: anywhere; }
blockquote { border-inline-start: 0.2em solid; margin: 1em 0; padding-inline-start: 1em; }
pre { white-space: pre-wrap; }
table { border-collapse: collapse; }
td, th { border: 1px solid; padding: 0.2em 0.5em; text-align: start; vertical-align: top; }
.cover { margin: 0; text-align: center; }
.cover img { height: 100%; max-width: 100%; }
"""


@dataclass(frozen=True, slots=True)
class _Chapter:
    name: str
    title: str
    language: str | None


def epub(rows: Iterable[dict[str, Any]], *, title: str, now: dt.datetime) -> Iterator[bytes]:
    """Return items (with `text` and `html`) as a book; at most MOST of them."""
    sink = Sink()
    chapters: list[_Chapter] = []
    with written(sink) as book:
        book.writestr(zipfile.ZipInfo("mimetype"), TYPE, zipfile.ZIP_STORED)
        book.writestr("META-INF/container.xml", _CONTAINER)
        book.writestr("OEBPS/style.css", _STYLE)
        for number, row in enumerate(rows, 1):
            if number > MOST:
                break
            chapter = _Chapter(f"c{number:04}.xhtml", row["title"] or row["url"], _language(row["language"]))
            book.writestr(f"OEBPS/{chapter.name}", _page(chapter.title, _body(row), chapter.language))
            chapters.append(chapter)
            yield from sink.drain()
        language = _main_language(chapters)
        if not chapters:
            empty = _Chapter("c0001.xhtml", "Nothing was found", "en")
            book.writestr(f"OEBPS/{empty.name}", _page(empty.title, f"<h1>{empty.title}</h1>", "en"))
            chapters.append(empty)
        book.writestr("OEBPS/cover.svg", _cover(title, now))
        cover = f'<p class="cover"><img src="cover.svg" alt="{words(title)}"/></p>'
        book.writestr("OEBPS/cover.xhtml", _page(title, cover, language, kind="cover"))
        book.writestr("OEBPS/nav.xhtml", _contents(title, chapters, language))
        book.writestr("OEBPS/toc.ncx", _old_contents(title, chapters, now))
        book.writestr("OEBPS/book.opf", _package(title, chapters, language, now))
    yield from sink.drain()


def _body(row: dict[str, Any]) -> str:
    date = row["published_at"] or row["added_at"]
    about = " · ".join(filter(None, [row["byline"], row["site"] or row["host"], f"{date:%Y-%m-%d}"]))
    parts = [f"<h1>{words(row['title'] or row['url'])}</h1>", f'<p class="about">{words(about)}</p>']
    parts.append(xhtml(row["html"] or "", row["text"] or ""))
    if row["url"].startswith(("http://", "https://")):
        parts.append(f'<p class="source"><a href="{words(row["url"])}">{words(row["url"])}</a></p>')
    return "\n".join(parts)


def _page(title: str, body: str, language: str | None, kind: str = "") -> str:
    lang = f' lang="{language}" xml:lang="{language}"' if language else ""
    direction = ' dir="rtl"' if _is_right_to_left(language) else ""
    kind = f' epub:type="{kind}"' if kind else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html>\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"'
        f"{lang}{direction}>\n<head><title>{words(title).strip() or 'Untitled'}</title>"
        '<link rel="stylesheet" type="text/css" href="style.css"/></head>\n'
        f"<body{kind}>\n{body}\n</body>\n</html>\n"
    )


def _contents(title: str, chapters: list[_Chapter], language: str | None) -> str:
    lines = "\n".join(f'<li><a href="{one.name}">{_shown(one)}</a></li>' for one in chapters)
    inner = f'<nav epub:type="toc" id="toc"><h1>{words(title)}</h1>\n<ol>\n{lines}\n</ol></nav>'
    return _page(title, inner, language)


def _old_contents(title: str, chapters: list[_Chapter], now: dt.datetime) -> str:
    points = "\n".join(
        f'<navPoint id="n{number}" playOrder="{number}"><navLabel><text>{_shown(one)}</text></navLabel>'
        f'<content src="{one.name}"/></navPoint>'
        for number, one in enumerate(chapters, 1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/" version="2005-1"><head>'
        f'<meta name="dtb:uid" content="{_identifier(title, now)}"/></head>\n'
        f"<docTitle><text>{words(title)}</text></docTitle>\n<navMap>\n{points}\n</navMap>\n</ncx>\n"
    )


def _package(title: str, chapters: list[_Chapter], language: str | None, now: dt.datetime) -> str:
    manifest = "\n".join(
        f'<item id="c{number}" href="{one.name}" media-type="application/xhtml+xml"/>'
        for number, one in enumerate(chapters, 1)
    )
    spine = "\n".join(f'<itemref idref="c{number}"/>' for number in range(1, len(chapters) + 1))
    direction = ' page-progression-direction="rtl"' if _is_right_to_left(language) else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">\n'
        '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">\n'
        f'<dc:identifier id="id">{_identifier(title, now)}</dc:identifier>\n'
        f"<dc:title>{words(title)}</dc:title>\n<dc:language>{language or 'und'}</dc:language>\n"
        f"<dc:creator>Atlas</dc:creator>\n<dc:date>{now:%Y-%m-%d}</dc:date>\n"
        f'<meta property="dcterms:modified">{now.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}</meta>\n'
        '<meta name="cover" content="cover-image"/>\n</metadata>\n<manifest>\n'
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>\n'
        '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>\n'
        '<item id="style" href="style.css" media-type="text/css"/>\n'
        '<item id="cover" href="cover.xhtml" media-type="application/xhtml+xml"/>\n'
        '<item id="cover-image" href="cover.svg" media-type="image/svg+xml" properties="cover-image"/>\n'
        f'{manifest}\n</manifest>\n<spine toc="ncx"{direction}>\n<itemref idref="cover"/>\n'
        f'<itemref idref="nav"/>\n{spine}\n</spine>\n</package>\n'
    )


def _cover(title: str, now: dt.datetime) -> str:
    lines = _wrapped(clean(title))
    texts = "".join(
        f'<text x="300" y="{330 + 64 * number}" font-size="52">{words(line)}</text>'
        for number, line in enumerate(lines)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 800" width="600" height="800">'
        '<rect width="600" height="800" fill="#1d3a4a"/>'
        '<rect x="30" y="30" width="540" height="740" fill="none" stroke="#e8dcc0" stroke-width="3"/>'
        f'<g fill="#e8dcc0" font-family="serif" text-anchor="middle">{texts}'
        f'<text x="300" y="720" font-size="28">Atlas · {now:%Y-%m-%d}</text></g></svg>\n'
    )


def _wrapped(title: str, width: int = 20, most: int = 5) -> list[str]:
    lines = [""]
    for word in title.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()[: 2 * width]
    return lines[:most]


def _shown(chapter: _Chapter) -> str:
    return words(" ".join(chapter.title.split())) or words(chapter.name)


def _identifier(title: str, now: dt.datetime) -> str:
    return uuid.uuid5(_NAMESPACE, f"{title} {now.isoformat()}").urn


def _language(tag: str | None) -> str | None:
    return tag if tag and LANGUAGE.fullmatch(tag) else None


def _main_language(chapters: list[_Chapter]) -> str | None:
    found = Counter(one.language for one in chapters if one.language)
    return found.most_common(1)[0][0] if found else None


def _is_right_to_left(language: str | None) -> bool:
    return (language or "").partition("-")[0].lower() in _RIGHT_TO_LEFT
