"""What Alembic calls: runs migrations in the connection and transaction of `atlas.database.migrate`."""

from alembic import context

from atlas.database.migrate import NOT_IN_METADATA
from atlas.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_name=lambda name, _kind, _parents: name not in NOT_IN_METADATA,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
