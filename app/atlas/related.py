"""Keywords among all that is here, and the items that share them.

Table `terms` says what each item is about. What few items share tells more than what many do, and to know
that it is enough to look at the newest SEEN items of a term: the cost is the same in a large library.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import insert
from atlas.database.tables import relations, terms

#: Items of a term that are looked at.
SEEN = 60
#: Keywords shown, and related items kept, of an item.
MOST_KEYWORDS = 8
MOST_RELATED = 6
#: How much two items must share to be related: two telling terms, or three fair ones.
LEAST_SCORE = 1.5
_LEAST_SHARED = 2
_MAX_TERM = 80
#: Terms that are noted of an item: its own, and the words of which they are made.
_MOST_TERMS = 20


def describe(conn: Connection, item_id: int, found: Sequence[str]) -> list[str]:
    """Note what an item is about and which items are related to it; return its keywords.

    `found` are its terms, the weightiest first. What was noted of it before is replaced.
    """
    shown = {term.casefold()[:_MAX_TERM]: term for term in found}
    parts = dict.fromkeys(part for term in shown if " " in term for part in term.split(" "))
    wanted = [*shown, *(part for part in parts if part not in shown)][:_MOST_TERMS]
    conn.execute(terms.delete().where(terms.c.item_id == item_id))
    conn.execute(relations.delete().where(relations.c.item_id == item_id))
    if not shown:
        return []
    others = _others(conn, item_id, wanted)
    conn.execute(terms.insert(), [{"item_id": item_id, "term": term} for term in wanted])
    weight = {term: _weight(len(others[term]), place) for place, term in enumerate(wanted)}
    _relate(conn, item_id, others, weight)
    best = sorted(shown, key=lambda term: -weight[term])[:MOST_KEYWORDS]
    return [shown[term] for term in shown if term in best]


def _others(conn: Connection, item_id: int, wanted: list[str]) -> dict[str, list[int]]:
    """Return the newest items of each term, this one left out."""
    newest = [
        sa.select(terms.c.term, terms.c.item_id)
        .where(terms.c.term == term, terms.c.item_id != item_id)
        .order_by(terms.c.item_id.desc())
        .limit(SEEN)
        .subquery()
        for term in wanted
    ]
    query = sa.union_all(*(sa.select(one.c.term, one.c.item_id) for one in newest))
    found: dict[str, list[int]] = {term: [] for term in wanted}
    for term, other in conn.execute(query):
        found[term].append(other)
    return found


def _weight(others: int, place: int) -> float:
    """Say how much a term tells, 0 to 1: less the more items have it, and the later it stands."""
    return math.log((SEEN + 2) / (min(others, SEEN) + 1)) / math.log(SEEN + 2) * (1 - place / 40)


def _relate(conn: Connection, item_id: int, others: dict[str, list[int]], weight: dict[str, float]) -> None:
    score: defaultdict[int, float] = defaultdict(float)
    shared: defaultdict[int, int] = defaultdict(int)
    for term, holders in others.items():
        for other in holders:
            score[other] += weight[term] * (1.4 if " " in term else 1.0)
            shared[other] += 1
    near = [other for other in score if shared[other] >= _LEAST_SHARED and score[other] >= LEAST_SCORE]
    near = sorted(near, key=lambda other: (-score[other], -other))[:MOST_RELATED]
    rows = [
        {"item_id": max(item_id, other), "other_id": min(item_id, other), "score": round(score[other], 3)}
        for other in near
    ]
    if rows:
        conn.execute(insert(conn, relations).on_conflict_do_nothing(), rows)
