"""The same article elsewhere: what a search engine finds under its title, if the title is the same.

A different article would be worse than none. So titles must have the same words in the same order, but for
the name of a site at the end, capitals, punctuation and articles; and a short title proves nothing.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from atlas.settings import Settings
from atlas.stages.context import Fetches

#: So many words a title needs to be told from all others.
FEWEST_WORDS = 4
#: Results that are looked at.
MOST_RESULTS = 10

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SITE = re.compile(r"\s+[|\u2013\u2014\xb7\xbb-]\s+|\s+::\s+")
_ARTICLES = frozenset({"a", "an", "the"})
#: What addresses leave out of titles.
_SMALL = _ARTICLES | frozenset(
    {"of", "in", "on", "at", "to", "for", "and", "or", "with", "by", "from", "is", "are", "was", "as"}
)
_ENDING = re.compile(r"\.(?:html?|php|aspx?)$|[-_](?:[0-9]{5,}|[0-9a-f]{8,})$|^[0-9]{4,}[-_]")


@dataclass(frozen=True, slots=True)
class Result:
    """What a search engine found."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: the words of a title, or of an address."""

    words: str
    from_address: bool


@dataclass(frozen=True, slots=True)
class Provider:
    """A search engine: where it answers, what it is sent, and where in the answer the results stand."""

    name: str
    endpoint: str
    #: Of the settings, the query in its form for addresses, and the endpoint.
    address: Callable[[Settings, str, str], str]
    headers: Callable[[str], Mapping[str, str]]
    results: tuple[str, ...]
    link: str


def _no_headers(_key: str) -> Mapping[str, str]:
    return {}


PROVIDERS: dict[str, Provider] = {
    "searxng": Provider(
        "SearXNG", "", lambda _, query, endpoint: f"{endpoint}?q={query}&format=json", _no_headers,
        ("results",), "url",
    ),
    "brave": Provider(
        "Brave Search", "https://api.search.brave.com/res/v1/web/search",
        lambda _, query, endpoint: f"{endpoint}?q={query}",
        lambda key: {"X-Subscription-Token": key, "Accept": "application/json"},
        ("web", "results"), "url",
    ),
    "google": Provider(
        "Google", "https://customsearch.googleapis.com/customsearch/v1",
        lambda settings, query, endpoint: f"{endpoint}?cx={quote(settings.search_engine_id)}&q={query}",
        lambda key: {"X-Goog-Api-Key": key},
        ("items",), "link",
    ),
}  # fmt: skip


def wanted(title: str | None, url: str) -> Wanted | None:
    """Return what to look for; None when neither title nor address says enough."""
    if title and len(words_of(title)) >= FEWEST_WORDS:
        return Wanted(title, from_address=False)
    slug = unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
    before = ""
    while slug != before:
        before, slug = slug, _ENDING.sub("", slug)
    found = " ".join(_WORD.findall(slug.replace("_", " ")))
    is_enough = len(_without(words_of(found), _SMALL)) >= FEWEST_WORDS
    return Wanted(found, from_address=True) if is_enough else None


def search(fetcher: Fetches, settings: Settings, what: Wanted) -> list[Result]:
    """Ask the search engine of the settings.

    Raises FetchError, and ValueError when the answer makes no sense.
    """
    provider = PROVIDERS[settings.search_provider]
    key = settings.search_key.get_secret_value() if settings.search_key else ""
    endpoint = settings.search_url or provider.endpoint
    words = what.words if what.from_address else f'"{what.words}"'
    address = provider.address(settings, quote(words, safe=""), endpoint)
    headers = provider.headers(key)
    answer = fetcher.get(address, headers=headers) if headers else fetcher.get(address)
    return list(_results(json.loads(answer.body), provider))[:MOST_RESULTS]


def same(what: Wanted, title: str) -> bool:
    """Tell whether a title is the wanted one."""
    left_out = _SMALL if what.from_address else _ARTICLES
    asked = [_without(words, left_out) for words in _variants(what.words)]
    found = [_without(words, left_out) for words in _variants(title)]
    return any(words in found for words in asked if len(words) >= FEWEST_WORDS)


def words_of(title: str) -> list[str]:
    """Return the words of a title as they are compared."""
    return _WORD.findall(unicodedata.normalize("NFKC", title).casefold().replace("\u2019", "'"))


def _variants(title: str) -> list[list[str]]:
    """Return the words of a title as it is, and without the name of a site at its end."""
    parts = _SITE.split(title)
    whole = [words_of(title)]
    return whole if len(parts) == 1 else [*whole, words_of(" ".join(parts[:-1]))]


def _without(words: list[str], left_out: frozenset[str]) -> list[str]:
    return [word for word in words if word not in left_out]


def _results(answer: Any, provider: Provider) -> Iterator[Result]:  # noqa: ANN401 - JSON from outside
    for name in provider.results[:-1]:
        answer = answer.get(name) if isinstance(answer, dict) else None
    found = answer.get(provider.results[-1], []) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        if answer is None:
            return
        raise ValueError("the answer is not what was expected")
    for one in found:
        if not isinstance(one, dict):
            continue
        title, url = one.get("title"), one.get(provider.link)
        if isinstance(title, str) and isinstance(url, str):
            yield Result(re.sub(r"</?\w+>", "", title), url)
