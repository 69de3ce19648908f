"""Keep what workers count, summed over all of them and outliving each."""

import sqlalchemy as sa
from alembic import op

from atlas.database.dialect import Text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("name", Text(), nullable=False),
        sa.Column("label", Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label", name=op.f("pk_counters")),
    )


def downgrade() -> None:
    op.drop_table("counters")
