"""The tables of the state database. All but `quota` are keyed by job; instants are epoch seconds, values JSON text.

No index begins with the job: a database without statistics takes "this job" for a handful of rows, and would read all
of them where it was asked for one.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("crm", Text),  # identity of the CRM this state was built against
    Column("salt", LargeBinary, nullable=False),  # keys the digests of what is not stored
    Column("shape", Text),  # how the CRM keeps values, as last seen
    Column("fingerprint", Text),  # of the normalisation the records were made with
    Column("whole_at", BigInteger),  # when the CRM was last read whole, and when it was last read at all
    Column("read_at", BigInteger),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("watched_since", BigInteger),  # the end of the first run: what changed before it was no delay of ours
    Column("pruned_at", BigInteger),  # when what is old was last dropped
    Column("attempted_at", BigInteger),  # when a run was last started, and how that ended: also where none came of it
    Column("attempt_code", Integer),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("job", ForeignKey("jobs.id"), primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("status", Text),
    Column("exit_code", Integer),
    Column("digest", Text),
    Column("counts", Text),
    Column("epoch", Integer, nullable=False),
    Column("command", Text, nullable=False, server_default="run"),  # run, revert, resolve or link
    Column("why", Text),  # of a run that ended with a sentence: a provider refused the whole program
    Column("result", Text),  # its result as JSON, but for deltas, findings and calendars, which have their own tables
    Column("slot", BigInteger),  # the scheduled instant it stands for; none for one that a person started
    Column("figures", Text),  # what only its process knew: seconds by phase, answers by class; and coverage by source
    Column("compared", Boolean),  # whether it compared both sides, whatever came of that
)
Index("runs_epoch", runs.c.epoch, runs.c.job)

calendars = Table(
    "calendars",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job", ForeignKey("jobs.id"), nullable=False),
    Column("source", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("seen_at", BigInteger),  # last whole read
    Column("tried_at", BigInteger),
    Column("strikes", Integer, nullable=False, server_default="0"),
    Column("blind_since", BigInteger),
    Column("why", Text),
    Column("zone", Text),
    Column("quarantined", Text),
    Column("next_try", BigInteger),  # before then, trying again makes no sense
    Column("pending", Text),  # ids that are still to be looked up
    Column("heard_at", BigInteger),  # when the latest booking was made that reached the CRM without us
    Column("released_at", BigInteger),  # since when the job file may leave it out, links and all
    Column("named", Boolean, nullable=False, server_default=true()),  # whether the last run was meant to look at it
    Column("missed", Text),  # events that earlier reads had missed, as one since the last run found: not told yet
    UniqueConstraint("job", "source", "agent", "name"),
)

cursors = Table(
    "cursors",
    metadata,
    Column("calendar", ForeignKey("calendars.id"), primary_key=True),
    Column("token", Text, nullable=False),
    Column("window_start", BigInteger, nullable=False),
    Column("window_end", BigInteger, nullable=False),
    Column("scope", Text, nullable=False),
    Column("full_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),  # what a commit of a read is compared and swapped on
)

series = Table(
    "series",
    metadata,
    Column("calendar", Integer, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("job", Integer, nullable=False),
    Column("rule", Text, nullable=False),  # the source's own words: rule, zone, exceptions; no title, no people
    sqlite_with_rowid=False,
)

quota = Table(
    "quota",
    metadata,
    Column("provider", Text, primary_key=True),  # a provider's project, shared by all jobs that use it
    Column("scope", Text, primary_key=True),
    Column("level", Double, nullable=False),  # attempts that may be spent
    Column("at", Double, nullable=False),  # when that was so, epoch seconds
    sqlite_with_rowid=False,
)

mirror = Table(
    "mirror",
    metadata,
    Column("calendar", Integer, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("job", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("meeting", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),  # keyed digest of the source key
    Column("from_at", BigInteger, nullable=False),  # what the event may touch, a date in all zones
    Column("to_at", BigInteger, nullable=False),
    Column("relevant", Boolean, nullable=False),
    Column("busy", Boolean, nullable=False),  # timed, relevant, confirmed and not free: what can be double-booked
    Column("absence", Text),
    Column("elected", Boolean, nullable=False, server_default=true()),
    Column("linked", Boolean, nullable=False, server_default=false()),
    Column("payload", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("mirror_meeting", mirror.c.meeting, mirror.c.job, mirror.c.elected)
Index("mirror_key", mirror.c.key, mirror.c.job)
Index(
    "mirror_compare",
    mirror.c.calendar,
    mirror.c.event,
    mirror.c.job,
    mirror.c.digest,
    mirror.c.elected,
    mirror.c.absence,
    mirror.c.from_at,
    mirror.c.to_at,
    mirror.c.relevant,
    mirror.c.linked,
)
Index(
    "mirror_busy",
    mirror.c.calendar,
    mirror.c.from_at,
    mirror.c.to_at,
    mirror.c.event,
    mirror.c.job,
    mirror.c.busy,
    mirror.c.absence,
    sqlite_where=text(
        "busy = 1 AND absence IS NULL"
    ),  # as the queries spell it: SQLite knows no other reason to use it
    postgresql_where=text("busy AND absence IS NULL"),
)
Index(
    "mirror_unlinked",
    mirror.c.calendar,  # in the order of the rows: a first run links a million of them, batch by batch
    mirror.c.event,
    mirror.c.job,
    mirror.c.from_at,
    mirror.c.to_at,
    sqlite_where=text("linked = 0 AND relevant = 1"),
    postgresql_where=text("NOT linked AND relevant"),
)

records = Table(
    "records",
    metadata,
    Column("crm_id", Text, primary_key=True),
    Column("job", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("chunk", Text, nullable=False),  # the part of the snapshot it was read in; empty when it was looked up
    Column("key", LargeBinary),
    Column("agent", Text),
    Column("start_at", BigInteger),
    Column("from_at", BigInteger, nullable=False),
    Column("to_at", BigInteger, nullable=False),
    Column("presence", Text, nullable=False),
    Column("linked", Boolean, nullable=False, server_default=false()),
    Column("payload", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index(
    "records_compare",
    records.c.crm_id,
    records.c.job,
    records.c.digest,
    records.c.presence,
    records.c.linked,
    records.c.from_at,
    records.c.to_at,
)
Index("records_chunk", records.c.chunk, records.c.job)
Index("records_key", records.c.key, records.c.job)
Index("records_agent", records.c.agent, records.c.start_at, records.c.crm_id, records.c.job, records.c.presence)
Index(
    "records_unlinked",
    records.c.crm_id,
    records.c.job,
    records.c.from_at,
    records.c.to_at,
    sqlite_where=text("linked = 0"),
    postgresql_where=text("NOT linked"),
)

chunks = Table(
    "chunks",
    metadata,
    Column("first", Text, primary_key=True),
    Column("job", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("count", Integer, nullable=False),
)

links = Table(
    "links",
    metadata,
    Column("calendar", Integer, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("job", Integer, nullable=False),
    Column("crm_id", Text, nullable=False),
    Column("meeting", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("base_digest", LargeBinary),  # of the calendar's side when both last agreed
    Column("crm_digest", LargeBinary),  # of the CRM's side then
    Column("base", Text),
    Column("version", Text),
    Column("cancelled_by_us", Boolean, nullable=False, server_default=false()),
    Column("removed_by_us", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("crm_id", "job"),
    sqlite_with_rowid=False,
)
Index("links_meeting", links.c.meeting, links.c.job)
Index(
    "links_compare",
    links.c.calendar,
    links.c.event,
    links.c.job,
    links.c.crm_id,
    links.c.base_digest,
    links.c.crm_digest,
)

journal = Table(
    "journal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job", Integer, nullable=False),
    Column("run", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("epoch", Integer, nullable=False),
    Column("action", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("crm_id", Text),
    Column("event", Text),
    Column("agent", Text),
    Column("content", LargeBinary, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("why", Text),
    Column("at", BigInteger, nullable=False),
    Column("calendar", Integer),  # where the event lies that was written, or that the record follows
    Column("version", Text),  # what was written has it since: as long as it stands, nobody touched it
    Column("approval", Text),  # digest of the plan a person consented to; such writes count against no limit
    Column("finding", Text),  # key and kind of the finding that it puts right
    Column("kind", Text),
    Column("learnt_by", Text),  # the run that learnt what became of it, where its own did not
)
Index("journal_record", journal.c.crm_id, journal.c.at, journal.c.job)
Index("journal_open", journal.c.status, journal.c.job)
Index("journal_time", journal.c.at, journal.c.job, journal.c.status)
Index("journal_run", journal.c.run, journal.c.job)
Index(
    "journal_images",  # few of all that was ever written: those whose images are not dropped yet
    journal.c.at,
    journal.c.job,
    sqlite_where=journal.c.before.is_not(None),
    postgresql_where=journal.c.before.is_not(None),
)
Index(
    "journal_learnt",
    journal.c.learnt_by,
    journal.c.job,
    sqlite_where=journal.c.learnt_by.is_not(None),
    postgresql_where=journal.c.learnt_by.is_not(None),
)
Index("journal_key", journal.c.key, journal.c.at, journal.c.job)

plans = Table(
    "plans",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("job", Integer, primary_key=True),
    Column("run", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("identities", Text, nullable=False),
    Column("violations", Text, nullable=False),
    Column("used_by", Text),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("origin", Text, nullable=False),  # OS user, host and pod it came from
    Column("at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_by", Text),
    Column("used_at", BigInteger),
)
Index("approvals_digest", approvals.c.digest, approvals.c.job)

holds = Table(
    "holds",
    metadata,
    Column("key", Text, primary_key=True),  # of the pair, as its deltas and findings have it
    Column("job", Integer, primary_key=True),
    Column("sides", LargeBinary, nullable=False),  # how both sides stood: the hold lasts as long as they do
    Column("run", Text, nullable=False),  # the revert that asked for it
    Column("at", BigInteger, nullable=False),
)

findings = Table(
    "findings",
    metadata,
    Column("key", Text, primary_key=True),
    Column("job", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("agent", Text),
    Column("event", Text),
    Column("crm_id", Text),
    Column("payload", Text, nullable=False),
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("sightings", Integer, nullable=False),
    Column("resolved_at", BigInteger),
    Column("sides", LargeBinary),  # how both sides stood when it was last seen
    Column("accepted_sides", LargeBinary),  # how they stood when a person said that it is known
    Column("accepted_until", BigInteger),
    Column("accepted_at", BigInteger),
    Column("accepted_by", Text),
    Column("accepted_why", Text),
    Column("calendar", Integer),  # where its event lies
    Column(
        "outcome", Text
    ),  # the worst that its deltas came to in the run that saw it last; not that it is put right if a person decides
    Column("settled_at", BigInteger),  # since when people are told of it: not pending, not back since, not accepted
    Column("start", Text),  # when it happens, as in the payload: reports are read in this order
)
Index("findings_resolved", findings.c.resolved_at, findings.c.job)

days = Table(
    "days",
    metadata,
    Column("day", Text, primary_key=True),  # a date in the report's time zone: what trends are drawn from
    Column("job", Integer, primary_key=True),
    Column("office", Text, primary_key=True),  # empty for agents without one, and for what concerns no agent
    Column("runs", Integer, nullable=False, server_default="0"),  # of the whole job, in the row without an office
    Column("refused", Integer, nullable=False, server_default="0"),
    Column("calendars", Integer, nullable=False, server_default="0"),  # asked for, and observed, summed over runs
    Column("observed", Integer, nullable=False, server_default="0"),
    Column("found", Integer, nullable=False, server_default="0"),  # findings first seen
    Column("fixed", Integer, nullable=False, server_default="0"),  # writes of ours
    Column("resolved", Integer, nullable=False, server_default="0"),
    Column("open", Integer, nullable=False, server_default="0"),  # after the last run of the day
    Column("delayed", Integer, nullable=False, server_default="0"),  # findings of which the delay is known
    Column("delay", Integer, nullable=False, server_default="0"),  # seconds from change to first sighting, summed
    Column("longest", Integer, nullable=False, server_default="0"),
    Column("kinds", Text, nullable=False, server_default="{}"),  # found, by kind
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job", Integer, nullable=False),
    Column("channel", Text, nullable=False),  # who is told: a digest of the route, so that no address is kept
    Column("name", Text, nullable=False),  # how `status` calls it
    Column("kind", Text, nullable=False),  # report or urgent
    Column("digest", Text, nullable=False),  # what is told: a second claim of it is refused
    Column("message_id", Text, nullable=False),
    Column("since_at", BigInteger, nullable=False),
    Column("until_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),  # claimed, sent, refused or unconfirmed
    Column("claimed_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger),
    Column("attempts", Integer, nullable=False, server_default="1"),
    Column("why", Text),
    UniqueConstraint("job", "channel", "kind", "digest"),
)

slots = Table(
    "slots",
    metadata,
    Column("job", Integer, primary_key=True),
    Column("command", Text, primary_key=True),  # its words as the crontab has them, without those that change nothing
    Column("slot", BigInteger, primary_key=True),
    Column("run", Text),  # that serves it, where the command is one that runs
    Column("began_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),  # never, if it died: then the slot is not served
    Column("exit_code", Integer),
)

totals = Table(
    "totals",
    metadata,
    Column("job", Integer, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("labels", Text, primary_key=True),  # a JSON list: kinds, severities, names of sources; never a person
    Column("value", BigInteger, nullable=False),  # only ever grows, whatever is pruned
)

suppressed = Table(
    "suppressed",
    metadata,
    Column("job", Integer, primary_key=True),
    Column("mark", LargeBinary, primary_key=True),  # keyed digest of the address of who asked to be forgotten
    Column("at", BigInteger, nullable=False),
)
