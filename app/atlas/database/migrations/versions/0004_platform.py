"""Make room for the whole platform: tags, highlights, imports, transcripts, breakers and more."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from atlas.database.dialect import BigId, Json, Text, UtcDateTime

revision = "0004"
down_revision = "0003"

#: What tables that are older than this gain.
COLUMNS: dict[str, tuple[sa.Column[Any], ...]] = {
    "items": (
        sa.Column("titled_at", UtcDateTime()),
        sa.Column("source", Text(), server_default="api", nullable=False),
        sa.Column("import_id", BigId),
        sa.Column("starred_at", UtcDateTime()),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False),
        sa.Column("note", Text()),
        sa.Column("summary", Text()),
        sa.Column("keywords", Json()),
        sa.Column("media", Json()),
        sa.Column("ignored_at", UtcDateTime()),
        sa.Column("revivals", sa.SmallInteger(), server_default="0", nullable=False),
    ),
    "feeds": (
        sa.Column("kind", Text(), server_default="feed", nullable=False),
        sa.Column("folder", Text()),
        sa.Column("full_text", Text(), server_default="auto", nullable=False),
        sa.Column("retention_days", sa.Integer()),
        sa.Column("rules", Json()),
        sa.Column("image", Text()),
        sa.Column("paused_at", UtcDateTime()),
        sa.Column("notified_at", UtcDateTime()),
        sa.Column("named", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("login", Text()),
    ),
    "hosts": (
        sa.Column("delay_seconds", sa.Double()),
        sa.Column("latency_seconds", sa.Double()),
    ),
    "users": (
        sa.Column("role", Text(), server_default="owner", nullable=False),
        sa.Column("subject", Text()),
        sa.Column("preferences", Json()),
    ),
    "tokens": (
        sa.Column("kind", Text(), server_default="token", nullable=False),
        sa.Column("scopes", Json()),
        sa.Column("expires_at", UtcDateTime()),
        sa.Column("fever_key", sa.String(32)),
    ),
}

#: Indexes of tables that are older than this: name, table, columns, whether unique, condition.
INDEXES: tuple[tuple[str, str, list[str], bool, str | None], ...] = (
    ("ix_items_kind", "items", ["kind", "id"], False, None),
    ("ix_items_source", "items", ["source", "id"], False, None),
    ("ix_items_host", "items", ["host", "id"], False, None),
    ("ix_items_added_at", "items", ["added_at"], False, None),
    ("ix_items_import", "items", ["import_id", "stage"], False, None),
    ("ix_items_unread", "items", ["feed_id", "id"], False, "read_at IS NULL AND stage IN (590, 595)"),
    ("ix_items_starred", "items", ["id"], False, "starred_at IS NOT NULL"),
    ("uq_users_subject", "users", ["subject"], True, None),
    ("uq_tokens_fever_key", "tokens", ["fever_key"], True, None),
)
#: In the order in which they can be made.
TABLES = (
    "tags",
    "item_tags",
    "highlights",
    "sightings",
    "versions",
    "transcripts",
    "terms",
    "transcript_searches",
    "relations",
    "imports",
    "import_rows",
    "breakers",
    "quotas",
    "loads",
    "marks",
    "errors",
    "site_cookies",
)


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for column in columns:
            op.add_column(table, column._copy())
    for name, table, names, unique, condition in INDEXES:
        where = None if condition is None else sa.text(condition)
        op.create_index(name, table, names, unique=unique, sqlite_where=where, postgresql_where=where)
    _make_tables()


def _make_tables() -> None:
    op.create_table(
        "tags",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("name", Text(), nullable=False),
        sa.Column("key", Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
        sa.UniqueConstraint("key", name=op.f("uq_tags_key")),
    )
    op.create_table(
        "item_tags",
        sa.Column("item_id", BigId, autoincrement=False, nullable=False),
        sa.Column("tag_id", BigId, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["tags.id"], name=op.f("fk_item_tags_tag_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_item_tags_item_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", "tag_id", name=op.f("pk_item_tags")),
    )
    op.create_index("ix_item_tags_tag", "item_tags", ["tag_id", "item_id"])
    op.create_table(
        "highlights",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("item_id", BigId, nullable=False),
        sa.Column("quote", Text(), nullable=False),
        sa.Column("prefix", Text(), server_default="", nullable=False),
        sa.Column("suffix", Text(), server_default="", nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("note", Text()),
        sa.Column("color", Text(), server_default="yellow", nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_highlights_item_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_highlights")),
    )
    op.create_index("ix_highlights_item", "highlights", ["item_id", "position"])
    op.create_table(
        "sightings",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("item_id", BigId, nullable=False),
        sa.Column("key", Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("source", Text(), nullable=False),
        sa.Column("url", Text(), nullable=False),
        sa.Column("title", Text()),
        sa.Column("feed_id", BigId),
        sa.Column("import_id", BigId),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_sightings_item_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["feed_id"], ["feeds.id"], name=op.f("fk_sightings_feed_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sightings")),
    )
    op.create_index("ix_sightings_feed", "sightings", ["feed_id"])
    op.create_index("uq_sightings_key", "sightings", ["item_id", "key"], unique=True)
    op.create_table(
        "versions",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("item_id", BigId, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("title", Text()),
        sa.Column("original_sha256", sa.String(64), nullable=False),
        sa.Column("original_type", Text()),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_versions_item_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_versions")),
    )
    op.create_index("ix_versions_item", "versions", ["item_id", "id"])
    op.create_table(
        "transcripts",
        sa.Column("item_id", BigId, autoincrement=False, nullable=False),
        sa.Column("source", Text(), nullable=False),
        sa.Column("language", Text()),
        sa.Column("segments", Json(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_transcripts_item_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_transcripts")),
    )
    op.create_table(
        "transcript_searches",
        sa.Column("item_id", BigId, autoincrement=False, nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("error", Json()),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_transcript_searches_item_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_transcript_searches")),
    )
    op.create_index("ix_transcript_searches_due", "transcript_searches", ["due_at"])
    op.create_table(
        "terms",
        sa.Column("item_id", BigId, autoincrement=False, nullable=False),
        sa.Column("term", Text(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_terms_item_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id", "term", name=op.f("pk_terms")),
    )
    op.create_index("ix_terms_term", "terms", ["term", "item_id"])
    op.create_table(
        "relations",
        sa.Column("item_id", BigId, autoincrement=False, nullable=False),
        sa.Column("other_id", BigId, autoincrement=False, nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_relations_item_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["other_id"], ["items.id"], name=op.f("fk_relations_other_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", "other_id", name=op.f("pk_relations")),
    )
    op.create_index("ix_relations_other", "relations", ["other_id"])
    op.create_table(
        "imports",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("format", Text(), nullable=False),
        sa.Column("name", Text(), nullable=False),
        sa.Column("original_sha256", sa.String(64), nullable=False),
        sa.Column("state", Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("options", Json()),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("total", sa.Integer()),
        sa.Column("counts", Json()),
        sa.Column("error", Json()),
        sa.Column("lease", Text()),
        sa.Column("due_at", UtcDateTime()),
        sa.Column("correlation_id", Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    op.create_index("ix_imports_due", "imports", ["due_at"])
    op.create_table(
        "import_rows",
        sa.Column("import_id", BigId, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("outcome", Text(), nullable=False),
        sa.Column("url", Text(), nullable=False),
        sa.Column("item_id", BigId),
        sa.Column("message", Text()),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_rows_import_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("import_id", "position", name=op.f("pk_import_rows")),
    )
    op.create_table(
        "breakers",
        sa.Column("name", Text(), nullable=False),
        sa.Column("state", Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened_at", UtcDateTime()),
        sa.Column("retry_at", UtcDateTime()),
        sa.Column("probe", Text()),
        sa.Column("reason", Text()),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_breakers")),
    )
    op.create_table(
        "quotas",
        sa.Column("name", Text(), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", "day", name=op.f("pk_quotas")),
    )
    op.create_table(
        "loads",
        sa.Column("hour", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("items", sa.Double(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("hour", name=op.f("pk_loads")),
    )
    op.create_table(
        "marks",
        sa.Column("name", Text(), nullable=False),
        sa.Column("value", Json()),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_marks")),
    )
    op.create_table(
        "errors",
        sa.Column("id", Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("code", Text(), nullable=False),
        sa.Column("message", Text(), nullable=False),
        sa.Column("place", Text(), nullable=False),
        sa.Column("item_id", BigId),
        sa.Column("correlation_id", Text()),
        sa.Column("traceback", Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_errors")),
    )
    op.create_index("ix_errors_at", "errors", ["at"])
    op.create_table(
        "site_cookies",
        sa.Column("host", Text(), nullable=False),
        sa.Column("cookies", Text(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_site_cookies")),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    for name, table, *_ in INDEXES:
        op.drop_index(name, table)
    for table, columns in COLUMNS.items():
        for column in columns:
            op.drop_column(table, column.name)
