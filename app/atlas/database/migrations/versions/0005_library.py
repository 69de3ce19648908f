"""Find items by what their reader wrote about them, and list them by more than their number.

A card holds an item's title, address, note, tags and the notes on its highlights, and is indexed apart from
its text: so it is quickly written anew, and is there before anything was read. Triggers keep it in step.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

INDEXES: tuple[tuple[str, list[str], str], ...] = (
    ("ix_items_read", ["read_at"], "read_at IS NOT NULL"),
    ("ix_items_noted", ["id"], "note IS NOT NULL"),
    ("ix_items_published_at", ["published_at", "id"], "published_at IS NOT NULL"),
)


def _rewrite(which: str) -> str:
    return f"""
        DELETE FROM cards WHERE rowid IN ({which});
        INSERT INTO cards (rowid, title, address, notes, tags)
        SELECT * FROM card_texts WHERE item_id IN ({which});
    """  # noqa: S608 - our own words


SQLITE_UP = (
    """
    CREATE VIEW card_texts AS SELECT
        i.id AS item_id, coalesce(i.title, '') AS title, substr(i.url, instr(i.url, ':') + 1) AS address,
        coalesce(i.note, '') || coalesce(
            (SELECT ' ' || group_concat(h.note, ' ') FROM highlights h WHERE h.item_id = i.id), '') AS notes,
        coalesce((SELECT group_concat(t.name, ' ') FROM item_tags it JOIN tags t ON t.id = it.tag_id
            WHERE it.item_id = i.id), '') AS tags
    FROM items i
    """,
    """
    CREATE VIRTUAL TABLE cards USING fts5(
        title, address, notes, tags, tokenize='porter unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER cards_item_insert AFTER INSERT ON items BEGIN
        INSERT INTO cards (rowid, title, address, notes, tags) VALUES (
            new.id, coalesce(new.title, ''), substr(new.url, instr(new.url, ':') + 1),
            coalesce(new.note, ''), '');
    END
    """,
    f"""
    CREATE TRIGGER cards_item_update AFTER UPDATE OF title, url, note ON items
    WHEN old.title IS NOT new.title OR old.url IS NOT new.url OR old.note IS NOT new.note BEGIN
        {_rewrite("new.id")}
    END
    """,
    """
    CREATE TRIGGER cards_item_delete AFTER DELETE ON items BEGIN
        DELETE FROM cards WHERE rowid = old.id;
    END
    """,
    f"CREATE TRIGGER cards_tag_insert AFTER INSERT ON item_tags BEGIN {_rewrite('new.item_id')} END",
    f"CREATE TRIGGER cards_tag_delete AFTER DELETE ON item_tags BEGIN {_rewrite('old.item_id')} END",
    f"""
    CREATE TRIGGER cards_tag_update AFTER UPDATE OF name ON tags BEGIN
        {_rewrite("SELECT item_id FROM item_tags WHERE tag_id = new.id")}
    END
    """,  # noqa: S608
    f"""
    CREATE TRIGGER cards_highlight_insert AFTER INSERT ON highlights WHEN new.note IS NOT NULL BEGIN
        {_rewrite("new.item_id")}
    END
    """,
    f"""
    CREATE TRIGGER cards_highlight_delete AFTER DELETE ON highlights WHEN old.note IS NOT NULL BEGIN
        {_rewrite("old.item_id")}
    END
    """,
    f"""
    CREATE TRIGGER cards_highlight_update AFTER UPDATE OF note ON highlights BEGIN
        {_rewrite("new.item_id")}
    END
    """,
    "INSERT INTO cards (rowid, title, address, notes, tags) SELECT * FROM card_texts",
)

SQLITE_DOWN = (
    *(
        f"DROP TRIGGER cards_{name}"
        for name in (
            "item_insert", "item_update", "item_delete", "tag_insert", "tag_delete", "tag_update",
            "highlight_insert", "highlight_delete", "highlight_update",
        )
    ),
    "DROP TABLE cards",
    "DROP VIEW card_texts",
)  # fmt: skip

POSTGRESQL_UP = (
    """
    CREATE TABLE cards (
        item_id bigint PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
        words tsvector NOT NULL
    )
    """,
    # Cut to what a tsvector certainly holds.
    """
    CREATE VIEW card_texts AS SELECT i.id AS item_id, atlas_words(
        left(coalesce(i.title, ''), 1000),
        left(concat_ws(' ', substr(i.url, strpos(i.url, ':') + 1), i.note,
            (SELECT string_agg(h.note, ' ') FROM highlights h WHERE h.item_id = i.id),
            (SELECT string_agg(t.name, ' ') FROM item_tags it JOIN tags t ON t.id = it.tag_id
                WHERE it.item_id = i.id)), 100000)) AS words
    FROM items i
    """,
    # By a plan made once: to plan anew each time cost more than all else about adding an item.
    """
    CREATE FUNCTION atlas_card(which bigint[]) RETURNS void LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan AS $$
    BEGIN
        INSERT INTO cards (item_id, words)
        SELECT item_id, words FROM card_texts WHERE item_id = ANY(which)
        ON CONFLICT (item_id) DO UPDATE SET words = excluded.words;
    END
    $$
    """,
    """
    CREATE FUNCTION atlas_card_of_item() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM atlas_card(ARRAY[new.id]);
        RETURN NULL;
    END
    $$
    """,
    # New items have neither tags nor highlights yet, and all of a statement are done at once.
    """
    CREATE FUNCTION atlas_cards_added() RETURNS trigger LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan AS $$
    BEGIN
        INSERT INTO cards (item_id, words) SELECT i.id, atlas_words(
            left(coalesce(i.title, ''), 1000),
            left(concat_ws(' ', substr(i.url, strpos(i.url, ':') + 1), i.note), 100000))
        FROM added i;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION atlas_cards_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM atlas_card(ARRAY(SELECT DISTINCT item_id FROM changed));
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION atlas_tag_renamed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM atlas_card(ARRAY(SELECT item_id FROM item_tags WHERE tag_id = new.id));
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER cards_insert AFTER INSERT ON items REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION atlas_cards_added()
    """,
    """
    CREATE TRIGGER cards_update AFTER UPDATE OF title, url, note ON items FOR EACH ROW
    WHEN (old.title IS DISTINCT FROM new.title OR old.url IS DISTINCT FROM new.url
        OR old.note IS DISTINCT FROM new.note)
    EXECUTE FUNCTION atlas_card_of_item()
    """,
    *(
        f"""
        CREATE TRIGGER cards_{event.lower()} AFTER {event} ON {table}
        REFERENCING {"OLD" if event == "DELETE" else "NEW"} TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION atlas_cards_changed()
        """
        for table in ("item_tags", "highlights")
        for event in ("INSERT", "UPDATE", "DELETE")
    ),
    """
    CREATE TRIGGER cards_update AFTER UPDATE OF name ON tags FOR EACH ROW
    EXECUTE FUNCTION atlas_tag_renamed()
    """,
    "SELECT atlas_card(ARRAY(SELECT id FROM items))",
    """
    CREATE INDEX ix_cards_words ON cards USING gin (words)
    WITH (fastupdate = on, gin_pending_list_limit = 1024)
    """,
)

POSTGRESQL_DOWN = (
    "DROP TRIGGER cards_insert ON items",
    "DROP TRIGGER cards_update ON items",
    "DROP TRIGGER cards_update ON tags",
    *(
        f"DROP TRIGGER cards_{event} ON {table}"
        for table in ("item_tags", "highlights")
        for event in ("insert", "update", "delete")
    ),
    "DROP FUNCTION atlas_card_of_item()",
    "DROP FUNCTION atlas_cards_added()",
    "DROP FUNCTION atlas_cards_changed()",
    "DROP FUNCTION atlas_tag_renamed()",
    "DROP FUNCTION atlas_card(bigint[])",
    "DROP VIEW card_texts",
    "DROP TABLE cards",
)


def upgrade() -> None:
    for name, columns, condition in INDEXES:
        where = sa.text(condition)
        op.create_index(name, "items", columns, sqlite_where=where, postgresql_where=where)
    _run(SQLITE_UP if op.get_bind().dialect.name == "sqlite" else POSTGRESQL_UP)


def downgrade() -> None:
    _run(SQLITE_DOWN if op.get_bind().dialect.name == "sqlite" else POSTGRESQL_DOWN)
    for name, *_ in INDEXES:
        op.drop_index(name, "items")


def _run(statements: tuple[str, ...]) -> None:
    for statement in statements:
        op.execute(sa.text(statement.replace(":", r"\:")))
