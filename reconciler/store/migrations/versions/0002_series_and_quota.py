"""What sources keep of a series, what calendars wait for, and what providers may still be asked."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables `series` and `quota`, and two columns to `calendars`."""
    op.create_table(
        "series",
        sa.Column("calendar", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("calendar", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "quota",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("level", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "scope"),
        sqlite_with_rowid=False,
    )
    op.add_column("calendars", sa.Column("next_try", sa.BigInteger(), nullable=True))
    op.add_column("calendars", sa.Column("pending", sa.Text(), nullable=True))
