"""Make every table."""

import sqlalchemy as sa
from alembic import op

from atlas.database.dialect import BigId, Json, Text, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    waiting = sa.text("due_at IS NOT NULL")
    living = sa.text("stage <> 599")
    op.create_table(
        "audit",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", Text(), nullable=False),
        sa.Column("action", Text(), nullable=False),
        sa.Column("detail", Json()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_table(
        "feeds",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("url", Text(), nullable=False),
        sa.Column("url_key", Text(), nullable=False),
        sa.Column("title", Text()),
        sa.Column("site_url", Text()),
        sa.Column("etag", Text()),
        sa.Column("last_modified", Text()),
        sa.Column("interval_seconds", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("lease", Text()),
        sa.Column("polled_at", UtcDateTime()),
        sa.Column("succeeded_at", UtcDateTime()),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", Json()),
        sa.Column("added_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feeds")),
        sa.UniqueConstraint("url_key", name=op.f("uq_feeds_url_key")),
    )
    op.create_index("ix_feeds_due", "feeds", ["due_at"])
    op.create_table(
        "hosts",
        sa.Column("host", Text(), nullable=False),
        sa.Column("next_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_hosts")),
    )
    op.create_index("ix_hosts_next_at", "hosts", ["next_at"])
    op.create_table(
        "login_failures",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("key", Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_failures")),
    )
    op.create_index("ix_login_failures_key", "login_failures", ["key", "at"])
    op.create_table(
        "users",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("name", Text(), nullable=False),
        sa.Column("password_hash", Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "workers",
        sa.Column("name", Text(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("processed", BigId, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_table(
        "items",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("kind", Text(), nullable=False),
        sa.Column("url", Text(), nullable=False),
        sa.Column("url_key", Text(), nullable=False),
        sa.Column("host", Text(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("due_at", UtcDateTime()),
        sa.Column("lease", Text()),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("error", Json()),
        sa.Column("duplicate_of", BigId),
        sa.Column("feed_id", BigId),
        sa.Column("title", Text()),
        sa.Column("byline", Text()),
        sa.Column("site", Text()),
        sa.Column("language", Text()),
        sa.Column("excerpt", Text()),
        sa.Column("image", Text()),
        sa.Column("published_at", UtcDateTime()),
        sa.Column("word_count", sa.Integer()),
        sa.Column("text_sha256", sa.String(length=64)),
        sa.Column("original_sha256", sa.String(length=64)),
        sa.Column("original_type", Text()),
        sa.Column("final_url", Text()),
        sa.Column("correlation_id", Text(), nullable=False),
        sa.Column("read_at", UtcDateTime()),
        sa.Column("added_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("stage <> 599 OR duplicate_of IS NOT NULL", name="ck_items_duplicate"),
        sa.CheckConstraint("stage BETWEEN 0 AND 599 OR stage IN (666, 777, 888)", name="ck_items_stage"),
        sa.ForeignKeyConstraint(["duplicate_of"], ["items.id"], name=op.f("fk_items_duplicate_of")),
        sa.ForeignKeyConstraint(
            ["feed_id"], ["feeds.id"], name=op.f("fk_items_feed_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_items")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_items_duplicate_of", "items", ["duplicate_of"])
    op.create_index("ix_items_feed", "items", ["feed_id", "id"])
    op.create_index(
        "ix_items_queue", "items", ["lane", "due_at", "id"], sqlite_where=waiting, postgresql_where=waiting
    )
    op.create_index("ix_items_stage", "items", ["stage", "id"])
    op.create_index("ix_items_text_sha256", "items", ["text_sha256"])
    op.create_index("ix_items_url_key", "items", ["url_key"])
    op.create_index(
        "uq_items_url_key", "items", ["url_key"], unique=True, sqlite_where=living, postgresql_where=living
    )
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("user_id", BigId, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("address", Text(), nullable=False),
        sa.Column("agent", Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_sessions_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_sessions")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("user_id", BigId, nullable=False),
        sa.Column("name", Text(), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime()),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_tokens_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_tokens_token_sha256")),
    )
    op.create_table(
        "contents",
        sa.Column("item_id", BigId, autoincrement=False, nullable=False),
        sa.Column("title", Text(), server_default="", nullable=False),
        sa.Column("text", Text(), nullable=False),
        sa.Column("html", Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_contents_item_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_contents")),
    )
    op.create_table(
        "feed_entries",
        sa.Column("feed_id", BigId, autoincrement=False, nullable=False),
        sa.Column("guid_sha256", sa.String(length=64), nullable=False),
        sa.Column("item_id", BigId),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["feed_id"], ["feeds.id"], name=op.f("fk_feed_entries_feed_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_feed_entries_item_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("feed_id", "guid_sha256", name=op.f("pk_feed_entries")),
    )
    op.create_table(
        "transitions",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("item_id", BigId, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("reason", Text(), nullable=False),
        sa.Column("correlation_id", Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_transitions_item_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transitions")),
    )
    op.create_index("ix_transitions_item", "transitions", ["item_id", "id"])


def downgrade() -> None:
    op.drop_table("transitions")
    op.drop_table("feed_entries")
    op.drop_table("contents")
    op.drop_table("tokens")
    op.drop_table("sessions")
    op.drop_table("items")
    op.drop_table("workers")
    op.drop_table("users")
    op.drop_table("login_failures")
    op.drop_table("hosts")
    op.drop_table("feeds")
    op.drop_table("audit")
