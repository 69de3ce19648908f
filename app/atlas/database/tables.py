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
    # When a person gave it its title: then reading it (again) leaves the title alone.
    sa.Column("titled_at", UtcDateTime),
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
    # How it came in: api, web, cli, client, feed, import, mail, file.
    sa.Column("source", Text, nullable=False, server_default="api"),
    sa.Column("import_id", BigId),
    sa.Column("starred_at", UtcDateTime),
    # How far it was read, 0 to 1.
    sa.Column("progress", sa.Double, nullable=False, server_default="0"),
    # What its reader wrote about it.
    sa.Column("note", Text),
    sa.Column("summary", Text),
    sa.Column("keywords", Json),
    # Sound, film and transcripts that belong to it: see `atlas.media`.
    sa.Column("media", Json),
    # A dead letter that was set aside, and how often dead letters were tried again by themselves.
    sa.Column("ignored_at", UtcDateTime),
    sa.Column("revivals", sa.SmallInteger, nullable=False, server_default="0"),
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
# What is asked of an item most stands in them: see `atlas.search.pick`.
sa.Index("ix_items_kind", items.c.kind, items.c.id, items.c.source, items.c.stage)
sa.Index("ix_items_source", items.c.source, items.c.id, items.c.kind, items.c.stage)
sa.Index("ix_items_host", items.c.host, items.c.id)
sa.Index("ix_items_added_at", items.c.added_at, items.c.id)
sa.Index("ix_items_import", items.c.import_id, items.c.stage)
sa.Index(
    "ix_items_unread",
    items.c.feed_id,
    items.c.id,
    sqlite_where=sa.text("read_at IS NULL AND stage IN (590, 595)"),
    postgresql_where=sa.text("read_at IS NULL AND stage IN (590, 595)"),
)
sa.Index(
    "ix_items_starred",
    items.c.id,
    sqlite_where=items.c.starred_at.is_not(None),
    postgresql_where=items.c.starred_at.is_not(None),
)
sa.Index(
    "ix_items_read",
    items.c.read_at,
    sqlite_where=items.c.read_at.is_not(None),
    postgresql_where=items.c.read_at.is_not(None),
)
sa.Index(
    "ix_items_noted",
    items.c.id,
    sqlite_where=items.c.note.is_not(None),
    postgresql_where=items.c.note.is_not(None),
)
sa.Index(
    "ix_items_published_at",
    items.c.published_at,
    items.c.id,
    sqlite_where=items.c.published_at.is_not(None),
    postgresql_where=items.c.published_at.is_not(None),
)

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

#: Politeness: when each host may be asked again, and the pause it was found to want.
hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("host", Text, primary_key=True),
    sa.Column("next_at", UtcDateTime, nullable=False),
    # Seconds between two fetches as they were learnt; NULL: the setting's.
    sa.Column("delay_seconds", sa.Double),
    # Running mean of how long answers took, in seconds.
    sa.Column("latency_seconds", sa.Double),
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
    # feed, podcast or video: what its entries become.
    sa.Column("kind", Text, nullable=False, server_default="feed"),
    sa.Column("folder", Text),
    # What is kept of an entry: auto (its own text if it is whole, else the page), feed, page.
    sa.Column("full_text", Text, nullable=False, server_default="auto"),
    # Days after which read entries that nobody marked are removed; NULL: never.
    sa.Column("retention_days", sa.Integer),
    # What is kept, dropped and tagged of it: see `atlas.sources.rules`.
    sa.Column("rules", Json),
    sa.Column("image", Text),
    sa.Column("paused_at", UtcDateTime),
    # When its owner was last told that it is broken; NULL while it is not.
    sa.Column("notified_at", UtcDateTime),
    # Its owner gave it this title: the feed's own is not taken.
    sa.Column("named", sa.Boolean, nullable=False, server_default=sa.false()),
    # "name:password" for HTTP Basic; never shown, and sent to the feed's own site alone.
    sa.Column("login", Text),
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
    # Empty: no password opens this account.
    sa.Column("password_hash", Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("role", Text, nullable=False, server_default="owner"),
    # Who this is at the OpenID provider: its issuer, a space, its subject.
    sa.Column("subject", Text),
    # How pages look to this user.
    sa.Column("preferences", Json),
    sa.Index("uq_users_subject", "subject", unique=True),
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
    # token (made by a person), access and refresh (given to a client that logged in).
    sa.Column("kind", Text, nullable=False, server_default="token"),
    # What it may do; NULL: everything.
    sa.Column("scopes", Json),
    sa.Column("expires_at", UtcDateTime),
    # What Fever's clients send instead: md5(name:token).
    sa.Column("fever_key", sa.String(32)),
    sa.Index("uq_tokens_fever_key", "fever_key", unique=True),
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

tags = sa.Table(
    "tags",
    metadata,
    sa.Column("id", BigId, sa.Identity(), primary_key=True),
    # As it was first written; `key` is what all its spellings share.
    sa.Column("name", Text, nullable=False),
    sa.Column("key", Text, nullable=False, unique=True),
)

item_tags = sa.Table(
    "item_tags",
    metadata,
    sa.Column(
        "item_id", BigId, sa.ForeignKey("items.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Column(
        "tag_id", BigId, sa.ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Index("ix_item_tags_tag", "tag_id", "item_id"),
)

#: Passages that were marked, found again by their words and those around them.
highlights = sa.Table(
    "highlights",
    metadata,
    sa.Column("id", BigId, sa.Identity(), primary_key=True),
    sa.Column("item_id", BigId, sa.ForeignKey("items.id", ondelete="CASCADE"), nullable=False),
    sa.Column("quote", Text, nullable=False),
    sa.Column("prefix", Text, nullable=False, server_default=""),
    sa.Column("suffix", Text, nullable=False, server_default=""),
    # Characters before it in the text.
    sa.Column("position", sa.Integer, nullable=False, server_default="0"),
    sa.Column("note", Text),
    sa.Column("color", Text, nullable=False, server_default="yellow"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index("ix_highlights_item", "item_id", "position"),
)

#: Where else an item was met after it was here already: "also seen in".
sightings = sa.Table(
    "sightings",
    metadata,
    sa.Column("id", BigId, sa.Identity(), primary_key=True),
    sa.Column("item_id", BigId, sa.ForeignKey("items.id", ondelete="CASCADE"), nullable=False),
    # What makes a second sighting the same: "feed:12", "import:3", "web https://..."
    sa.Column("key", Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("source", Text, nullable=False),
    sa.Column("url", Text, nullable=False),
    sa.Column("title", Text),
    sa.Column("feed_id", BigId, sa.ForeignKey("feeds.id", ondelete="SET NULL")),
    sa.Column("import_id", BigId),
    sa.Index("uq_sightings_key", "item_id", "key", unique=True),
    sa.Index("ix_sightings_feed", "feed_id"),
)

#: Earlier originals of an item that was edited or replaced: nothing is lost.
versions = sa.Table(
    "versions",
    metadata,
    sa.Column("id", BigId, sa.Identity(), primary_key=True),
    sa.Column("item_id", BigId, sa.ForeignKey("items.id", ondelete="CASCADE"), nullable=False),
    # When it was replaced.
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("title", Text),
    sa.Column("original_sha256", sa.String(64), nullable=False),
    sa.Column("original_type", Text),
    sa.Index("ix_versions_item", "item_id", "id"),
)

#: What was said, when and by whom: [[start seconds, end seconds, speaker or null, text], ...].
transcripts = sa.Table(
    "transcripts",
    metadata,
    sa.Column(
        "item_id", BigId, sa.ForeignKey("items.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    # feed, page, youtube, pushed.
    sa.Column("source", Text, nullable=False),
    sa.Column("language", Text),
    sa.Column("segments", Json, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)

#: Transcripts that are still looked for; the row goes when one is found, or none is expected any more.
transcript_searches = sa.Table(
    "transcript_searches",
    metadata,
    sa.Column(
        "item_id", BigId, sa.ForeignKey("items.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Column("due_at", UtcDateTime, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("since", UtcDateTime, nullable=False),
    # Why the last try found none.
    sa.Column("error", Json),
    sa.Index("ix_transcript_searches_due", "due_at"),
)

#: What each item is about, in small letters: see `atlas.related`.
terms = sa.Table(
    "terms",
    metadata,
    sa.Column(
        "item_id", BigId, sa.ForeignKey("items.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Column("term", Text, primary_key=True),
    sa.Index("ix_terms_term", "term", "item_id"),
)

#: Items with much in common; each pair stands here once, from the newer to the older.
relations = sa.Table(
    "relations",
    metadata,
    sa.Column(
        "item_id", BigId, sa.ForeignKey("items.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Column(
        "other_id",
        BigId,
        sa.ForeignKey("items.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("score", sa.Double, nullable=False),
    sa.Index("ix_relations_other", "other_id"),
)

#: An import (a batch): what was handed in, and how far it has come.
imports = sa.Table(
    "imports",
    metadata,
    sa.Column("id", BigId, sa.Identity(), primary_key=True),
    sa.Column("format", Text, nullable=False),
    sa.Column("name", Text, nullable=False),
    # The file itself is kept as an original, so that a killed import can go on.
    sa.Column("original_sha256", sa.String(64), nullable=False),
    # waiting, running, done, failed, cancelled.
    sa.Column("state", Text, nullable=False),
    sa.Column("dry_run", sa.Boolean, nullable=False),
    sa.Column("options", Json),
    # Records read so far, of how many (NULL: not known yet).
    sa.Column("position", sa.Integer, nullable=False, server_default="0"),
    sa.Column("total", sa.Integer),
    # {"added": n, "duplicate": n, "refused": n, ...}
    sa.Column("counts", Json),
    sa.Column("error", Json),
    sa.Column("lease", Text),
    sa.Column("due_at", UtcDateTime),
    sa.Column("correlation_id", Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    sa.Index("ix_imports_due", "due_at"),
)

#: What became of each record of an import: its report.
import_rows = sa.Table(
    "import_rows",
    metadata,
    sa.Column(
        "import_id",
        BigId,
        sa.ForeignKey("imports.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("outcome", Text, nullable=False),
    sa.Column("url", Text, nullable=False),
    sa.Column("item_id", BigId),
    sa.Column("message", Text),
)

#: Circuit breakers, shared by all processes: "host:example.org", "provider:searxng".
breakers = sa.Table(
    "breakers",
    metadata,
    sa.Column("name", Text, primary_key=True),
    # closed, open, half_open.
    sa.Column("state", Text, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("opened_at", UtcDateTime),
    # When the next probe may go out, and until when the present one is waited for.
    sa.Column("retry_at", UtcDateTime),
    sa.Column("probe", Text),
    sa.Column("reason", Text),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

#: What was used of an allowance: a provider's queries of a day.
quotas = sa.Table(
    "quotas",
    metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("used", sa.Integer, nullable=False),
)

#: How many items an hour of the week usually brings (0 is Monday, 00:00 UTC).
loads = sa.Table(
    "loads",
    metadata,
    sa.Column("hour", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("items", sa.Double, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

#: Small things to remember: how far a mailbox was read, when a daily task last ran.
marks = sa.Table(
    "marks",
    metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("value", Json),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

#: What broke inside Atlas, by the id that whoever met it was shown.
errors = sa.Table(
    "errors",
    metadata,
    sa.Column("id", Text, primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("code", Text, nullable=False),
    sa.Column("message", Text, nullable=False),
    # Where: "GET /api/items/{item_id}", "stage 300".
    sa.Column("place", Text, nullable=False),
    sa.Column("item_id", BigId),
    sa.Column("correlation_id", Text),
    sa.Column("traceback", Text),
    sa.Index("ix_errors_at", "at"),
)

#: Cookies that open a site for its subscriber.
site_cookies = sa.Table(
    "site_cookies",
    metadata,
    sa.Column("host", Text, primary_key=True),
    sa.Column("cookies", Text, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)
