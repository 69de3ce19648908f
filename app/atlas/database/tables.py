"""Every table, in SQLAlchemy Core. Migrations bring a database here, and a test holds the two together."""

import sqlalchemy as sa

from atlas.database.dialect import BigId, Json, Text, UtcDateTime

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

items = sa.Table(
    "items",
    metadata,
    sa.Column("id", BigId, sa.Identity(), primary_key=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("url", Text, nullable=False),
    sa.Column("url_key", Text, nullable=False),
    sa.Column("host", Text, nullable=False),
    sa.Column("stage", sa.SmallInteger, nullable=False),
    sa.Column("lane", sa.SmallInteger, nullable=False),
    # When a worker may take the row next; pushed forward while leased; NULL when nothing is left to do.
    sa.Column("due_at", UtcDateTime),
    # Token of the worker's present lease: what no longer carries it may no longer write.
    sa.Column("lease", Text),
    sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("error", Json),
    sa.Column("duplicate_of", BigId, sa.ForeignKey("items.id")),
    sa.Column("feed_id", BigId, sa.ForeignKey("feeds.id", ondelete="SET NULL")),
    sa.Column("title", Text),
    sa.Column("byline", Text),
    sa.Column("site", Text),
    sa.Column("language", Text),
    sa.Column("excerpt", Text),
    sa.Column("image", Text),
    sa.Column("published_at", UtcDateTime),
    sa.Column("word_count", sa.Integer),
    sa.Column("text_sha256", sa.String(64)),
    sa.Column("original_sha256", sa.String(64)),
    sa.Column("original_type", Text),
    sa.Column("final_url", Text),
    sa.Column("correlation_id", Text, nullable=False),
    sa.Column("read_at", UtcDateTime),
    sa.Column("added_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.CheckConstraint("stage BETWEEN 0 AND 599 OR stage IN (666, 777, 888)", name="ck_items_stage"),
    sa.CheckConstraint("stage <> 599 OR duplicate_of IS NOT NULL", name="ck_items_duplicate"),
    sqlite_autoincrement=True,  # the id of a deleted item never comes back as another one
)
sa.Index(
    "ix_items_queue",
    items.c.lane,
    items.c.due_at,
    items.c.id,
    sqlite_where=items.c.due_at.is_not(None),
    postgresql_where=items.c.due_at.is_not(None),
)
# One living item a URL; duplicates stand beside it and point at it.
sa.Index(
    "uq_items_url_key",
    items.c.url_key,
    unique=True,
    sqlite_where=items.c.stage != 599,
    postgresql_where=items.c.stage != 599,
)
sa.Index("ix_items_url_key", items.c.url_key)
sa.Index("ix_items_text_sha256", items.c.text_sha256)
sa.Index("ix_items_stage", items.c.stage, items.c.id)
sa.Index("ix_items_feed", items.c.feed_id, items.c.id)
sa.Index("ix_items_duplicate_of", items.c.duplicate_of)

#: What is read and searched; the full-text index is built over `title` and `text`.
contents = sa.Table(
    "contents",
    metadata,
    sa.Column(
        "item_id", BigId, sa.ForeignKey("items.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Column("title", Text, nullable=False, server_default=""),
    sa.Column("text", Text, nullable=False),
    sa.Column("html", Text, nullable=False),
)

transitions = sa.Table(
    "transitions",
    metadata,
    sa.Column("id", BigId, sa.Identity(), primary_key=True),
    sa.Column("item_id", BigId, sa.ForeignKey("items.id", ondelete="CASCADE"), nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("stage", sa.SmallInteger, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("correlation_id", Text, nullable=False),
    sa.Index("ix_transitions_item", "item_id", "id"),
)

#: Politeness: when each host may be asked again.
hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("host", Text, primary_key=True),
    sa.Column("next_at", UtcDateTime, nullable=False),
    sa.Index("ix_hosts_next_at", "next_at"),
)

feeds = sa.Table(
    "feeds",
    metadata,
    sa.Column("id", BigId, sa.Identity(), primary_key=True),
    sa.Column("url", Text, nullable=False),
    sa.Column("url_key", Text, nullable=False, unique=True),
    sa.Column("title", Text),
    sa.Column("site_url", Text),
    sa.Column("etag", Text),
    sa.Column("last_modified", Text),
    sa.Column("interval_seconds", sa.Integer, nullable=False),
    sa.Column("due_at", UtcDateTime, nullable=False),
    sa.Column("lease", Text),
    sa.Column("polled_at", UtcDateTime),
    sa.Column("succeeded_at", UtcDateTime),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error", Json),
    sa.Column("added_at", UtcDateTime, nullable=False),
    sa.Index("ix_feeds_due", "due_at"),
)

#: What a feed has shown us already, so that nothing is taken twice, even after the item was deleted.
feed_entries = sa.Table(
    "feed_entries",
    metadata,
    sa.Column(
        "feed_id", BigId, sa.ForeignKey("feeds.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Column("guid_sha256", sa.String(64), primary_key=True),
    sa.Column("item_id", BigId, sa.ForeignKey("items.id", ondelete="SET NULL")),
    sa.Column("seen_at", UtcDateTime, nullable=False),
)

#: Workers that live, and when they last said so.
workers = sa.Table(
    "workers",
    metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.Column("processed", BigId, nullable=False, server_default="0"),
)

#: What workers have counted, summed over all of them for ever: see `atlas.telemetry.tally`.
counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("label", Text, primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", BigId, sa.Identity(), primary_key=True),
    sa.Column("name", Text, nullable=False, unique=True),
    sa.Column("password_hash", Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("token_sha256", sa.String(64), primary_key=True),
    sa.Column("user_id", BigId, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Column("address", Text, nullable=False),
    sa.Column("agent", Text, nullable=False),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", BigId, sa.Identity(), primary_key=True),
    sa.Column("user_id", BigId, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("token_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("used_at", UtcDateTime),
)

#: Failed logins by name and address, for throttling.
login_failures = sa.Table(
    "login_failures",
    metadata,
    sa.Column("id", BigId, sa.Identity(), primary_key=True),
    sa.Column("key", Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Index("ix_login_failures_key", "key", "at"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", BigId, sa.Identity(), primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("action", Text, nullable=False),
    sa.Column("detail", Json),
)
