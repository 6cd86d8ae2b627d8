"""What a report over many runs is made of, what each day came to, and who was told."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables `days` and `deliveries`, and columns to `jobs`, `runs`, `calendars`, `journal` and `findings`."""
    op.add_column("jobs", sa.Column("watched_since", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("command", sa.Text(), server_default="run", nullable=False))
    for name in ("why", "result"):
        op.add_column("runs", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("calendars", sa.Column("heard_at", sa.BigInteger(), nullable=True))
    for name in ("finding", "kind", "learnt_by"):
        op.add_column("journal", sa.Column(name, sa.Text(), nullable=True))
    learnt = sa.text("learnt_by IS NOT NULL")
    op.create_index("journal_learnt", "journal", ["learnt_by", "job"], sqlite_where=learnt, postgresql_where=learnt)
    op.add_column("findings", sa.Column("calendar", sa.Integer(), nullable=True))
    op.add_column("findings", sa.Column("outcome", sa.Text(), nullable=True))
    op.add_column("findings", sa.Column("settled_at", sa.BigInteger(), nullable=True))
    op.execute("UPDATE findings SET settled_at = first_seen")
    op.add_column("findings", sa.Column("start", sa.Text(), nullable=True))
    op.create_index("findings_resolved", "findings", ["resolved_at", "job"])
    op.execute("UPDATE jobs SET watched_since = (SELECT MIN(finished_at) FROM runs WHERE runs.job = jobs.id)")
    _add_days()
    _add_deliveries()


def _add_days() -> None:
    counts = ("runs", "refused", "calendars", "observed", "found", "fixed", "resolved", "open")
    op.create_table(
        "days",
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("office", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), server_default="0", nullable=False)
            for name in (*counts, "delayed", "delay", "longest")
        ),
        sa.Column("kinds", sa.Text(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("day", "job", "office"),
    )


def _add_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("job", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("channel", "name", "kind", "digest", "message_id")),
        sa.Column("since_at", sa.BigInteger(), nullable=False),
        sa.Column("until_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("claimed_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="1", nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.UniqueConstraint("job", "channel", "kind", "digest"),
    )
