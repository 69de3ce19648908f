"""299 → 590 or 599: keep what was read, unless the very same text is here already."""

import hashlib
import unicodedata

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas import items
from atlas.database.dialect import is_sqlite
from atlas.database.tables import items as items_table
from atlas.items import Leased, Step
from atlas.stages.context import Context, LeaseLost
from atlas.stages.page import Page
from atlas.stages.table import DONE, Stage

#: Shorter texts are equal too easily ("Page 2", a caption) to be called the same article.
MIN_WORDS = 50


def finish(ctx: Context, leased: Leased, page: Page) -> Stage:
    """Write page, search index and last stage in one transaction; return that stage: 590, or 599.

    Raises LeaseLost and Stopping.
    """
    digest = text_digest(page)

    def write(conn: Connection) -> Stage:
        now = ctx.clock()
        original = _same_text(conn, digest, leased.id) if digest else None
        steps = [*_read_steps(page), *_last_steps(original)]
        fields = {**_fields(page), "text_sha256": digest, "duplicate_of": original}
        if not items.advance(conn, leased, steps, now=now, due=None, fields=fields):
            raise LeaseLost
        if original is None:
            title = page.title or _own_title(conn, leased.id)
            items.write_content(conn, leased.id, title=title, text=page.text, html=page.html)
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


def _own_title(conn: Connection, item_id: int) -> str:
    """Return what the feed or the user called the item."""
    return conn.execute(sa.select(items_table.c.title).where(items_table.c.id == item_id)).scalar() or ""


def _read_steps(page: Page) -> list[Step]:
    return [
        Step(Stage.VALIDATION_COMPLETE, f"An article of {page.word_count:,} words"),
        Step(Stage.PROCESSING_COMPLETE, "Title, text and pictures taken out of the page"),
    ]


def _last_steps(original: int | None) -> list[Step]:
    if original is not None:
        return [Step(Stage.DUPLICATE, f"The same text as item {original}")]
    return [Step(Stage.CONTENT_INDEXED, "Can be searched"), Step(Stage.COMPLETE, "Ready to be read")]


def _fields(page: Page) -> dict[str, object]:
    fields: dict[str, object] = {
        "byline": page.byline,
        "site": page.site,
        "language": page.language,
        "excerpt": page.excerpt,
        "image": page.image,
        "published_at": page.published_at,
        "word_count": page.word_count,
    }
    if page.title:  # else what the feed or the user called it stays
        fields["title"] = page.title
    return fields
