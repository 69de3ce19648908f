"""One form for the many ways to write an address, without ever merging two pages.

What is undone is only what cannot lead elsewhere (RFC 3986, 6.2.2 and 6.2.3) and parameters known to track
readers.
"""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import SplitResult, quote, urlsplit

import idna

MAX_LENGTH = 2048

#: Parameters that say where a reader came from, by host ("*": everywhere). A host covers those below it; a
#: name that ends in * covers all that begin so. Names that mean something on some site stand only with the
#: host where they track.
TRACKING: dict[str, frozenset[str]] = {
    "*": frozenset(
        {
            "utm_*", "mtm_*", "pk_campaign", "pk_kwd", "pk_source", "pk_medium", "pk_content", "fbclid",
            "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "msclkid", "yclid", "ysclid", "twclid", "ttclid",
            "li_fat_id", "igshid",
            "mc_cid", "mc_eid", "mkt_tok", "_hsenc", "_hsmi", "__hstc", "__hssc", "__hsfp", "hsctatracking",
            "vero_id", "vero_conv", "oly_anon_id", "oly_enc_id", "wickedid", "rb_clickid", "s_cid", "srsltid",
            "_openstat", "__s", "ml_subscriber", "ml_subscriber_hash", "bsft_clkid", "bsft_uid",
            "_branch_match_id",
        }
    ),
    "youtu.be": frozenset({"si", "feature", "pp"}),
    "youtube.com": frozenset({"si", "feature", "pp", "ab_channel"}),
    "instagram.com": frozenset({"igsh"}),
    "twitter.com": frozenset({"s", "t", "ref_src", "ref_url"}),
    "x.com": frozenset({"s", "t", "ref_src", "ref_url"}),
    "spotify.com": frozenset({"si"}),
    "medium.com": frozenset({"source"}),
    "substack.com": frozenset({"r", "isfreemail", "triedredirect"}),
    "nytimes.com": frozenset({"smid", "smtyp"}),
    "theguardian.com": frozenset({"cmp"}),
    "bbc.co.uk": frozenset({"at_*", "ns_*"}),
    "bbc.com": frozenset({"at_*", "ns_*"}),
    "reddit.com": frozenset({"share_id", "ref", "ref_source", "rdt"}),
    "linkedin.com": frozenset({"trk", "trackingid", "lipi", "refid"}),
    "tiktok.com": frozenset({"_r", "_t", "is_from_webapp", "sender_device"}),
}  # fmt: skip

#: Hosts that show the very same pages under the same addresses as another: their phone and old versions.
SAME_SITE: dict[str, str] = {
    "youtube.com": "www.youtube.com",
    "m.youtube.com": "www.youtube.com",
    "reddit.com": "www.reddit.com",
    "old.reddit.com": "www.reddit.com",
    "new.reddit.com": "www.reddit.com",
    "m.reddit.com": "www.reddit.com",
    "np.reddit.com": "www.reddit.com",
    "www.twitter.com": "twitter.com",
    "mobile.twitter.com": "twitter.com",
    "m.twitter.com": "twitter.com",
    "x.com": "twitter.com",
    "www.x.com": "twitter.com",
    "mobile.x.com": "twitter.com",
    "m.imdb.com": "www.imdb.com",
    "imdb.com": "www.imdb.com",
}

#: The same for families of hosts.
SAME_SITES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"([a-z-]+)\.m\.(wikipedia|wiktionary|wikiquote|wikibooks|wikisource|wikinews|wikivoyage)\.org"
        ),
        r"\1.\2.org",
    ),
    (re.compile(r"m\.(wikidata)\.org"), r"www.\1.org"),
)

#: Other addresses of the same page: host, path, and the host, path and parameter it has elsewhere.
SAME_PAGE: tuple[tuple[str, re.Pattern[str], str, str, str], ...] = (
    ("youtu.be", re.compile(r"/([\w-]{11})"), "www.youtube.com", "/watch", r"v=\1"),
    (
        "www.youtube.com",
        re.compile(r"/(?:shorts|live|embed|v)/([\w-]{11})/?"),
        "www.youtube.com",
        "/watch",
        r"v=\1",
    ),
)

_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NETLOC = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[0-9]{0,5}))?")
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: What may stand as it is in a path, a query or a fragment; `%` because escapes are settled before.
_SAFE = "!$&'()*+,;=:@/?%-._~"


class InvalidUrl(ValueError):  # noqa: N818
    """An address Atlas cannot fetch; the message says why, for the person who typed it."""


@lru_cache(maxsize=512)  # an entry's address is asked for several times while the entry is taken in
def normalise(url: str) -> tuple[str, str, str]:
    """Return the clean URL, the key that all spellings of it share, and its host.

    The clean URL is fit to fetch and to show. The key also forgets http or https, the order of the
    parameters, and which of its own addresses a well-known site was asked by. Raises InvalidUrl.
    """
    parts = _split(url)
    host, port = _host_and_port(parts)
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    path = _without_dots(_escape(parts.path)) or "/"
    parameters = _parameters(parts.query, host)
    fragment = _escape(parts.fragment) if parts.fragment.startswith(("!", "/")) else ""
    clean = f"{parts.scheme}://{netloc}{path}{_joined('?', parameters)}{fragment and '#' + fragment}"
    if len(clean) > MAX_LENGTH:
        raise InvalidUrl(f"This address is longer than {MAX_LENGTH} characters.")
    if port is None:
        netloc, path, parameters = _same_page(netloc, path, parameters)
    by_name = sorted(parameters, key=lambda parameter: parameter.partition("=")[0])
    return clean, f"{netloc}{path}{_joined('?', by_name)}{fragment and '#' + fragment}", host


def _same_page(host: str, path: str, parameters: list[str]) -> tuple[str, str, list[str]]:
    """Return the one address that a page of a well-known site is known by."""
    host = SAME_SITE.get(host, host)
    for family, name in SAME_SITES:
        if found := family.fullmatch(host):
            host = found.expand(name)
    for other, pattern, site, page, parameter in SAME_PAGE:
        if other == host and (found := pattern.fullmatch(path)):
            return site, page, [found.expand(parameter), *parameters]
    return host, path, parameters


def _split(url: str) -> SplitResult:
    url = url.strip()
    if _CONTROL.search(url):
        raise InvalidUrl("This address contains control characters.")
    if len(url) > MAX_LENGTH:
        raise InvalidUrl(f"This address is longer than {MAX_LENGTH} characters.")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidUrl("This is not a web address.") from None
    if parts.scheme not in _PORTS:
        raise InvalidUrl("A web address starts with http:// or https://.")
    if "@" in parts.netloc:
        raise InvalidUrl("Addresses with a user name or password in them are not accepted.")
    return parts


def _host_and_port(parts: SplitResult) -> tuple[str, int | None]:
    """Return the host and the port, None for the scheme's own."""
    # Not parts.hostname and parts.port: they read leniently what a client may read otherwise.
    netloc = _NETLOC.fullmatch(parts.netloc)
    port = int(netloc["port"] or _PORTS[parts.scheme]) if netloc else 0
    if netloc is None or not 0 < port < 65536:
        raise InvalidUrl("This is not a web address.")
    host = _host(netloc["name"]) if netloc["ipv6"] is None else _ipv6(netloc["ipv6"])
    return host, None if port == _PORTS[parts.scheme] else port


def _host(name: str) -> str:
    if not name:
        raise InvalidUrl("This address names no host.")
    try:
        host = name.lower() if name.isascii() else idna.encode(name, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        host = ""
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise InvalidUrl("This address names a host that cannot exist.")
    return host.rstrip(".")


def _ipv6(address: str) -> str:
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        parsed = None
    if parsed is None or parsed.scope_id:
        raise InvalidUrl("This address names a host that cannot exist.")
    return parsed.compressed


def _escape(text: str) -> str:
    """Escape what must be, unescape what need not be, and leave reserved characters as they are."""
    return quote(_ESCAPE.sub(_settle_escape, text), safe=_SAFE)


def _settle_escape(match: re.Match[str]) -> str:
    if match[1] is None:
        return "%25"
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else f"%{match[1].upper()}"


def _without_dots(path: str) -> str:
    """Resolve `.` and `..` as RFC 3986, 5.2.4 says."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in {".", ".."}:
        kept.append("")
    return "".join("/" + segment for segment in kept)


def _parameters(query: str, host: str) -> list[str]:
    parameters = (_escape(parameter) for parameter in query.split("&") if parameter)
    return [one for one in parameters if not _tracks(one.partition("=")[0].lower(), host)]


def _tracks(name: str, host: str) -> bool:
    labels = host.split(".")
    names = [TRACKING["*"], *(TRACKING.get(".".join(labels[i:]), frozenset()) for i in range(len(labels)))]
    return any(
        name == known or (known[-1] == "*" and name.startswith(known[:-1]))
        for group in names
        for known in group
    )


def _joined(mark: str, parameters: list[str]) -> str:
    return mark + "&".join(parameters) if parameters else ""
