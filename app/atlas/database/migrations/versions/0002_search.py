"""Index titles and texts for searching, and keep the index in step by triggers.

SQLite: FTS5 over the rows of `contents`. PostgreSQL: one `tsvector` a row in a table of its own, so narrow
that counting and picking the newest matches reads few pages; the words are stored outside the row, which only
ranking needs.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SQLITE_UP = (
    """
    CREATE VIRTUAL TABLE contents_fts USING fts5(
        title, text, content='contents', content_rowid='item_id',
        tokenize='porter unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER contents_fts_insert AFTER INSERT ON contents BEGIN
        INSERT INTO contents_fts (rowid, title, text) VALUES (new.item_id, new.title, new.text);
    END
    """,
    """
    CREATE TRIGGER contents_fts_delete AFTER DELETE ON contents BEGIN
        INSERT INTO contents_fts (contents_fts, rowid, title, text)
        VALUES ('delete', old.item_id, old.title, old.text);
    END
    """,
    """
    CREATE TRIGGER contents_fts_update AFTER UPDATE OF item_id, title, text ON contents BEGIN
        INSERT INTO contents_fts (contents_fts, rowid, title, text)
        VALUES ('delete', old.item_id, old.title, old.text);
        INSERT INTO contents_fts (rowid, title, text) VALUES (new.item_id, new.title, new.text);
    END
    """,
    "INSERT INTO contents_fts (contents_fts) VALUES ('rebuild')",
)

SQLITE_DOWN = (
    "DROP TRIGGER contents_fts_insert",
    "DROP TRIGGER contents_fts_delete",
    "DROP TRIGGER contents_fts_update",
    "DROP TABLE contents_fts",
)

POSTGRESQL_UP = (
    # Stop words are kept, as FTS5 keeps them: "to be or not to be" can be found, and texts are not all
    # English.
    "CREATE TEXT SEARCH DICTIONARY atlas_stem (TEMPLATE = snowball, LANGUAGE = english)",
    "CREATE TEXT SEARCH CONFIGURATION atlas (COPY = pg_catalog.english)",
    "ALTER TEXT SEARCH CONFIGURATION atlas ALTER MAPPING FOR asciiword, word WITH atlas_stem",
    # This punctuation would make the parser see host names, paths and e-mail addresses as one word each.
    """
    CREATE FUNCTION atlas_words(title text, body text) RETURNS tsvector LANGUAGE sql STABLE AS $$
        SELECT setweight(to_tsvector('atlas', regexp_replace(title, '[-+./@_~<>&:]+', ' ', 'g')), 'A')
            || setweight(to_tsvector('atlas', regexp_replace(body, '[-+./@_~<>&:]+', ' ', 'g')), 'D')
    $$
    """,
    """
    CREATE TABLE search_index (
        item_id bigint PRIMARY KEY REFERENCES contents (item_id) ON DELETE CASCADE,
        words tsvector NOT NULL
    ) WITH (toast_tuple_target = 128)
    """,
    "ALTER TABLE search_index ALTER COLUMN words SET STORAGE EXTERNAL",
    # A text with more distinct words than a tsvector holds (1 MB) is indexed as far as certainly fits.
    """
    CREATE FUNCTION atlas_index() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        found tsvector;
    BEGIN
        BEGIN
            found := atlas_words(new.title, new.text);
        EXCEPTION WHEN program_limit_exceeded THEN
            found := atlas_words(left(new.title, 1000), left(new.text, 150000));
        END;
        INSERT INTO search_index (item_id, words) VALUES (new.item_id, found)
        ON CONFLICT (item_id) DO UPDATE SET words = excluded.words;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER contents_index AFTER INSERT OR UPDATE OF title, text ON contents
    FOR EACH ROW EXECUTE FUNCTION atlas_index()
    """,
    "UPDATE contents SET title = title",
    # New entries wait in a list that each search reads through: kept short, it costs searches nothing one
    # could measure and makes saving twice as quick.
    """
    CREATE INDEX ix_search_index_words ON search_index USING gin (words)
    WITH (fastupdate = on, gin_pending_list_limit = 1024)
    """,
)

POSTGRESQL_DOWN = (
    "DROP TRIGGER contents_index ON contents",
    "DROP FUNCTION atlas_index()",
    "DROP TABLE search_index",
    "DROP FUNCTION atlas_words(text, text)",
    "DROP TEXT SEARCH CONFIGURATION atlas",
    "DROP TEXT SEARCH DICTIONARY atlas_stem",
)

#: Folding accents takes an extension of PostgreSQL's own, which a minimal installation may lack. It stays on
#: the way down.
UNACCENT = """
    DO $$
    BEGIN
        CREATE EXTENSION IF NOT EXISTS unaccent;
        ALTER TEXT SEARCH CONFIGURATION atlas ALTER MAPPING FOR word WITH unaccent, atlas_stem;
    EXCEPTION WHEN feature_not_supported OR undefined_file OR insufficient_privilege THEN
        RAISE NOTICE 'The extension unaccent is missing: searches will tell e from é.';
    END
    $$
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _run(SQLITE_UP)
    else:
        _run((*POSTGRESQL_UP[:3], UNACCENT, *POSTGRESQL_UP[3:]))


def downgrade() -> None:
    _run(SQLITE_DOWN if op.get_bind().dialect.name == "sqlite" else POSTGRESQL_DOWN)


def _run(statements: tuple[str, ...]) -> None:
    for statement in statements:
        op.execute(sa.text(statement.replace(":", r"\:")))
