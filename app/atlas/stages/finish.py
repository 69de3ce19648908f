"""299 → 590 or 599: keep what was read, unless the very same text is here already."""

import hashlib
import unicodedata

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas import items, related, transcripts
from atlas.database.dialect import is_sqlite
from atlas.database.tables import items as items_table
from atlas.items import Leased, Step
from atlas.stages.context import Context, LeaseLost
from atlas.stages.page import Page
from atlas.stages.table import DONE, Stage
from atlas.twins import hand_over

#: Shorter texts are equal too easily ("Page 2", a caption) to be called the same article.
MIN_WORDS = 50
#: How quickly people read.
WORDS_A_MINUTE = 230


def finish(ctx: Context, leased: Leased, page: Page) -> Stage:
    """Write page, search index and last stage in one transaction; return that stage: 590, or 599.

    Raises LeaseLost and Stopping.
    """
    digest = None if leased.kind == "note" else text_digest(page)  # what a person wrote is never a duplicate

    def write(conn: Connection) -> Stage:
        now = ctx.clock()
        original = _same_text(conn, digest, leased.id) if digest else None
        steps = [*_read_steps(leased, page), *_last_steps(original)]
        title = _title(conn, leased.id, page)
        fields = {**fields_of(page), "title": title, "text_sha256": digest, "duplicate_of": original}
        if original is None:
            fields["keywords"] = related.describe(conn, leased.id, page.terms)
        if not items.advance(conn, leased, steps, now=now, due=None, fields=fields):
            raise LeaseLost
        if original is None:
            text = transcripts.behind(conn, leased.id, page.text)
            items.write_content(conn, leased.id, title=title or "", text=text, html=page.html)
        else:  # what its feed had of it is no longer needed
            items.drop_content(conn, leased.id)
            hand_over(conn, leased.id, original, now=now)
        return steps[-1].stage

    return ctx.write(write)


def text_digest(page: Page) -> str | None:
    """Return a hash that equal texts share, whatever their case and spacing; None for a short one."""
    if page.word_count < MIN_WORDS:
        return None
    plain = " ".join(unicodedata.normalize("NFKC", page.text).casefold().split())
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def _same_text(conn: Connection, digest: str, item_id: int) -> int | None:
    """Return the readable item with this text. Until the transaction ends, no other can be written."""
    if not is_sqlite(conn):  # there, writers queue anyway
        key = int.from_bytes(bytes.fromhex(digest[:16]), signed=True)
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
    same = (items_table.c.text_sha256 == digest) & items_table.c.stage.in_(DONE)
    query = sa.select(sa.func.min(items_table.c.id)).where(same, items_table.c.id != item_id)
    return conn.execute(query).scalar()


def _title(conn: Connection, item_id: int, page: Page) -> str | None:
    """Return what an item is called: as a person named it, else as it says itself, else as it came."""
    title, is_named = items.own_title(conn, item_id)
    return page.title if page.title and not is_named else title or page.title


#: What an item is, in its history.
_NAMES = {"note": "A note", "file": "A document", "mail": "A mail", "podcast": "An episode"}


def _read_steps(leased: Leased, page: Page) -> list[Step]:
    name = _NAMES.get(leased.kind, "An article")
    return [
        Step(Stage.VALIDATION_COMPLETE, f"{name} of {page.word_count:,} words"),
        Step(Stage.PROCESSING_COMPLETE, "Title, text and pictures taken out of it"),
        Step(Stage.ENHANCEMENT_COMPLETE, _enhanced(page)),
    ]


def _enhanced(page: Page) -> str:
    language = f"language {page.language}" if page.language else "language unknown"
    minutes = max(1, round(page.word_count / WORDS_A_MINUTE))
    return f"{language[0].upper()}{language[1:]}, about {minutes:,} min to read, {len(page.terms)} terms"


def _last_steps(original: int | None) -> list[Step]:
    if original is not None:
        return [Step(Stage.DUPLICATE, f"The same text as item {original}")]
    return [Step(Stage.CONTENT_INDEXED, "Can be searched"), Step(Stage.COMPLETE, "Ready to be read")]


def fields_of(page: Page) -> dict[str, object]:
    """Return what a page says of itself, as columns of an item; its title has rules of its own."""
    return {
        "byline": page.byline,
        "site": page.site,
        "language": page.language,
        "excerpt": page.excerpt,
        "image": page.image,
        "published_at": page.published_at,
        "word_count": page.word_count,
    }
