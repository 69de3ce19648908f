"""Finding the real picture behind what a page shows until somebody scrolls."""

import re
from collections.abc import Iterator

from lxml import etree

from atlas.reading.tree import attributes, drop, text_length, words

_IMAGE_FILE = re.compile(r"\S+\.(?:jpe?g|png|webp|avif|gif)(?:[?#]\S*)?$", re.IGNORECASE)
_LAZY_NAMES = words("data-src data-original data-lazy-src data-lazy data-url data-image data-hi-res-src")
#: A candidate of a srcset: an address, which may hold commas but not end in one, and its descriptor.
_CANDIDATE = re.compile(r"([^\s,]\S*[^\s,]|[^\s,])(?:\s+([\d.]+)([wx])\b[^,]*)?\s*(?:,|$)")
#: Characters of an attribute that may be an address; what is longer is none (or holds the picture itself).
_LONGEST = 8192
_PLACEHOLDER = re.compile(
    r"^(?:data|about):|(?:^|[/_.-])(?:blank|spacer|placeholder|transparent|pixel|1x1|loading)\b[^/]*$"
)
_DOT = re.compile(r"\s*[012](?:px)?\s*$")
#: Pixels: enough for a big screen; more costs time and shows nothing more.
_WIDEST = 2000


def uncover_images(body: etree._Element) -> None:
    """Put pictures that a page keeps for browsers without JavaScript, or only names, where they belong."""
    for image in list(body.iter("img")):
        if not image.get("src") and not any(
            name.endswith("srcset") or name in _LAZY_NAMES or _IMAGE_FILE.match(value)
            for name, value in _short_attributes(image)
        ):
            drop(image)
    for hidden in list(body.iter("noscript")):
        _uncover(hidden)
    for figure in body.iter("figure"):
        if next(figure.iter("img", "iframe", "video", "table", "pre"), None) is None:
            address = next(
                (value for _, value in _short_attributes(figure) if _IMAGE_FILE.match(value)), None
            )
            if address:
                figure.insert(0, etree.Element("img", src=address))


def _uncover(hidden: etree._Element) -> None:
    images = list(hidden.iter("img"))
    stand_in = hidden.getprevious()
    if len(images) != 1 or stand_in is None or text_length(hidden) or text_length(stand_in):
        return
    replaced = list(stand_in.iter("img"))
    if len(replaced) == 1:
        for name, value in attributes(images[0]):
            if name == "src" or not replaced[0].get(name):
                replaced[0].set(name, value)


def best_address(image: etree._Element) -> str | None:
    """Return where a picture is, in the best size, as the page says; None for placeholders and counters."""
    if any(_DOT.match(image.get(side) or "") for side in ("width", "height")):
        return None
    return next(_addresses(image), None)


def _addresses(image: etree._Element) -> Iterator[str]:
    for source in (image, *_sources(image)):
        for name, value in _short_attributes(source):
            if name.endswith("srcset") and (best := _best_of(value)):
                yield best
    plain = (image.get("src") or "").strip()[:_LONGEST]
    is_stand_in = bool(_PLACEHOLDER.search(plain)) or "lazy" in (image.get("class") or "")
    if plain and not is_stand_in:
        yield plain
    for name, value in _short_attributes(image):
        if name in _LAZY_NAMES or (
            name not in {"src", "alt", "title", "class"} and _IMAGE_FILE.match(value.strip())
        ):
            yield value.strip()
    if plain and not plain.startswith("data:"):
        yield plain


def _sources(image: etree._Element) -> Iterator[etree._Element]:
    """Yield the other sources of a picture. The parser takes them for elements that hold what follows."""
    for around in image.iterancestors():
        if around.tag == "picture":
            yield from around.iterchildren("source")
        if around.tag != "source":
            return
        yield around


def _short_attributes(element: etree._Element) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in attributes(element) if len(value) <= _LONGEST)


def _best_of(srcset: str) -> str | None:
    """Return the largest picture of a srcset that is not too large."""
    best, best_size = None, 0.0
    for address, number, unit in _CANDIDATE.findall(srcset):
        size = float(number or 1) * (1 if unit == "w" else 1000) if number.count(".") < 2 else 1.0
        if not address.startswith("data:") and (best is None or best_size < size <= _WIDEST):
            best, best_size = address, size
    return best
