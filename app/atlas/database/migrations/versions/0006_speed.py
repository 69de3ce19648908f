"""List by conditions that many items meet and few meet together, and find the hosts of a site.

What is asked of an item most (kind, source, stage) stands in the indexes that lead to it, so that its row
need not be read. PostgreSQL reads hosts backwards by an index; SQLite cannot turn a text round, and keeps a
list of all hosts instead.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

#: Columns before and after.
INDEXES: tuple[tuple[str, list[str], list[str]], ...] = (
    ("ix_items_kind", ["kind", "id"], ["kind", "id", "source", "stage"]),
    ("ix_items_source", ["source", "id"], ["source", "id", "kind", "stage"]),
    ("ix_items_added_at", ["added_at"], ["added_at", "id"]),
)

SQLITE_UP = (
    "CREATE TABLE sites (host TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID",
    "INSERT INTO sites SELECT DISTINCT host FROM items",
    """
    CREATE TRIGGER sites_item_insert AFTER INSERT ON items BEGIN
        INSERT OR IGNORE INTO sites VALUES (new.host);
    END
    """,
    """
    CREATE TRIGGER sites_item_update AFTER UPDATE OF host ON items BEGIN
        INSERT OR IGNORE INTO sites VALUES (new.host);
    END
    """,
)
SQLITE_DOWN = (
    "DROP TRIGGER sites_item_insert",
    "DROP TRIGGER sites_item_update",
    "DROP TABLE sites",
)


def upgrade() -> None:
    for name, _, columns in INDEXES:
        op.drop_index(name, "items")
        op.create_index(name, "items", columns)
    if op.get_bind().dialect.name == "sqlite":
        for statement in SQLITE_UP:
            op.execute(sa.text(statement))
    else:
        backwards = sa.text("reverse(host) text_pattern_ops")
        op.create_index("ix_items_site", "items", [backwards])


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for statement in SQLITE_DOWN:
            op.execute(sa.text(statement))
    else:
        op.drop_index("ix_items_site", "items")
    for name, columns, _ in INDEXES:
        op.drop_index(name, "items")
        op.create_index(name, "items", columns)
