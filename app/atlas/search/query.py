"""The search language. Anything a person may type is a query; what is no word and no operator is ignored.

Words must all occur; "a phrase" as it stands; begin* of a word; one OR another; -word and -"phrase" must not
occur. An operator is a name, a colon and a value: site: kind: tag: is: before: after: source: feed: folder:
lang:. The value may be in quotation marks, and -tag:x leaves out. What only looks like an operator is words.
"""

import datetime as dt
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: Beyond these a query is cut: no one types more, and the engines' parsers have limits of their own.
MAX_LENGTH = 500
MAX_TERMS = 32

#: What `is:` may ask.
STATES = frozenset(
    {
        "unread", "read", "archived", "starred", "highlighted", "annotated", "tagged", "ready", "waiting",
        "failed", "ignored", "duplicate",
    }
)  # fmt: skip

#: What telephones make of quotation marks.
_QUOTES = str.maketrans(dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"'))

#: -name:"value", -"phrase", or anything up to the next space or quotation mark, in this order.
_PIECE = re.compile(
    r'(?P<not>(?<!\S)-)?(?:(?P<name>[a-z]+):)?"(?P<quoted>[^"]*)(?:"|$)|(?P<bare>[^\s"]+)', re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Term:
    """Words that must stand side by side, or must not; of a word with `prefix` only the beginning counts."""

    words: tuple[str, ...]
    negative: bool = False
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Operator:
    """A name and its value, made comparable; `before` and `after` have a moment beside it."""

    name: str
    value: str
    negative: bool = False
    moment: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: one of each group of `wanted` and of `where`, and nothing of `unwanted`."""

    wanted: tuple[tuple[Term, ...], ...] = ()
    unwanted: tuple[Term, ...] = ()
    where: tuple[tuple[Operator, ...], ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is anything to look for."""
        return bool(self.wanted or self.unwanted or self.where)

    @property
    def terms(self) -> tuple[Term, ...]:
        """All words that may be found."""
        return tuple(dict.fromkeys(term for group in self.wanted for term in group))


def parse(text: str) -> Query:
    """Read what a person typed. Never raises; the query is empty when there is nothing to look for."""
    clean = unicodedata.normalize("NFC", text[:MAX_LENGTH]).translate(_QUOTES)
    groups: list[list[Term | Operator]] = []
    either = False  # the last piece was OR
    for match in _PIECE.finditer(clean):
        if match["bare"] == "OR" and not either and groups and not groups[-1][-1].negative:
            either = True
            continue
        found = _read(match)
        if either and found is not None and not found.negative and type(found) is type(groups[-1][-1]):
            groups[-1].append(found)
        else:
            groups += [[Term(("OR",))]] if either else []  # there was nothing it could join: a word
            groups += [[found]] if found is not None else []
        either = False
    groups += [[Term(("OR",))]] if either else []
    return _query(groups)


def words(text: str) -> tuple[str, ...]:
    """Split as both engines do: at everything but letters, digits and the marks that belong to them."""
    spaced = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text)
    return tuple(word for word in spaced.split() if any(c.isalnum() for c in word))


def _query(groups: list[list[Term | Operator]]) -> Query:
    """Sort what was read, each once; of operators that can have one value only, several mean any of them."""
    wanted: dict[tuple[Term, ...], None] = {}
    unwanted: dict[Term, None] = {}
    where: dict[tuple[Operator, ...], None] = {}
    same: dict[str, list[Operator]] = {}
    for group in groups[:MAX_TERMS]:
        terms = tuple(dict.fromkeys(one for one in group if isinstance(one, Term)))
        operators = tuple(dict.fromkeys(one for one in group if isinstance(one, Operator)))
        if terms and terms[0].negative:
            unwanted[terms[0]] = None
        elif terms:
            wanted[terms] = None
        elif len(operators) == 1 and operators[0].name in _SINGLE and not operators[0].negative:
            same.setdefault(operators[0].name, []).append(operators[0])
        else:
            where[operators] = None
    where |= {tuple(dict.fromkeys(several)): None for several in same.values()}
    return Query(tuple(wanted), tuple(unwanted), tuple(where))


def _read(match: re.Match[str]) -> Term | Operator | None:
    """Return what a piece means; None when there is nothing in it."""
    if match["bare"] is not None:
        return _read_bare(match["bare"])
    negative, name, quoted = match["not"] is not None, (match["name"] or "").lower(), match["quoted"]
    if name:
        return _operator(name, quoted, negative=negative) or _term(f"{name} {quoted}", negative=negative)
    return _term(quoted, negative=negative)


def _read_bare(piece: str) -> Term | Operator | None:
    negative = piece.startswith("-")
    name, colon, value = piece.removeprefix("-").partition(":")
    operator = _operator(name.lower(), value, negative=negative) if colon else None
    return operator or _term(piece, negative=negative, prefix=piece.endswith("*"))


def _term(text: str, *, negative: bool, prefix: bool = False) -> Term | None:
    found = words(text)
    return Term(found, negative, prefix and len(found) == 1) if found else None


def _operator(name: str, value: str, *, negative: bool) -> Operator | None:
    """Return the operator; None when there is none of this name or the value is none it can have."""
    read = _OPERATORS.get(name)
    value = " ".join(value.split())
    if read is None or not value:
        return None
    understood = read(value)
    if isinstance(understood, dt.datetime):
        return Operator(name, value, negative, understood)
    return Operator(name, understood, negative) if understood else None


def _word(value: str) -> str:
    return value.casefold() if re.fullmatch(r"[\w-]+", value) else ""


def _state(value: str) -> str:
    return value.casefold() if value.casefold() in STATES else ""


def _site(value: str) -> str:
    """Return the host of what may have been pasted as a whole address."""
    host = value.casefold().partition("://")[2] or value.casefold()
    host = (
        re.split(r"[/?#]", host, maxsplit=1)[0]
        .rpartition("@")[2]
        .removeprefix("*.")
        .removeprefix("www.")
        .strip(".")
    )
    return host if host and " " not in host else ""


def _moment(value: str) -> dt.datetime | str:
    """Return the beginning of a year, month or day in UTC: 2026, 2026-11, 2026-11-22."""
    match = re.fullmatch(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?", value, re.ASCII)
    if match is None:
        return ""
    year, month, day = (int(part or 1) for part in match.groups())
    try:
        return dt.datetime(year, month, day, tzinfo=dt.UTC)
    except ValueError:
        return ""


_OPERATORS: Mapping[str, Callable[[str], dt.datetime | str]] = MappingProxyType(
    {
        "site": _site, "kind": _word, "tag": str.casefold, "is": _state, "before": _moment, "after": _moment,
        "source": _word, "feed": str.casefold, "folder": str.casefold, "lang": _word,
    }
)  # fmt: skip
#: An item has one of these.
_SINGLE = frozenset({"site", "kind", "source", "feed", "folder", "lang"})
