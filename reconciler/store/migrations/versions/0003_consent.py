"""What people consent to, accept and take back, and what of a write must be known to do so."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables `approvals` and `holds`, and columns to `calendars`, `links`, `journal` and `findings`."""
    _add_tables()
    op.execute("DELETE FROM plans")  # kept without their keys: what still waits is printed, and stored, by the next run
    op.add_column("calendars", sa.Column("released_at", sa.BigInteger(), nullable=True))
    op.add_column("links", sa.Column("removed_by_us", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("journal", sa.Column("calendar", sa.Integer(), nullable=True))
    op.add_column("journal", sa.Column("version", sa.Text(), nullable=True))
    op.add_column("journal", sa.Column("approval", sa.Text(), nullable=True))
    op.create_index("journal_time", "journal", ["at", "job", "status"])
    op.create_index("journal_run", "journal", ["run", "job"])
    op.create_index("journal_key", "journal", ["key", "at", "job"])
    for name in ("sides", "accepted_sides"):
        op.add_column("findings", sa.Column(name, sa.LargeBinary(), nullable=True))
    for name in ("accepted_until", "accepted_at"):
        op.add_column("findings", sa.Column(name, sa.BigInteger(), nullable=True))
    for name in ("accepted_by", "accepted_why"):
        op.add_column("findings", sa.Column(name, sa.Text(), nullable=True))


def _add_tables() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_by", sa.Text(), nullable=True),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
    )
    op.create_index("approvals_digest", "approvals", ["digest", "job"])
    op.create_table(
        "holds",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("sides", sa.LargeBinary(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "job"),
    )
