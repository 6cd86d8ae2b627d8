"""Which slots were served, who is not to be kept, when what is old was dropped, and what is measured over years."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables `slots`, `totals` and `suppressed`, and columns to `jobs`, `runs` and `calendars`."""
    op.add_column("jobs", sa.Column("pruned_at", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("attempted_at", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("attempt_code", sa.Integer(), nullable=True))
    op.add_column("runs", sa.Column("slot", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("figures", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("compared", sa.Boolean(), nullable=True))
    op.create_index("runs_epoch", "runs", ["epoch", "job"])
    has_images = sa.text('"before" IS NOT NULL')
    op.create_index("journal_images", "journal", ["at", "job"], sqlite_where=has_images, postgresql_where=has_images)
    op.add_column("calendars", sa.Column("named", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("calendars", sa.Column("missed", sa.Text(), nullable=True))
    op.create_table(
        "slots",
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.Text(), nullable=True),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("job", "command", "slot"),
    )
    op.create_table(
        "totals",
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job", "name", "labels"),
    )
    op.create_table(
        "suppressed",
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job", "mark"),
    )
