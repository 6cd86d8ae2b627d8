"""One run, top to bottom: observe both sides, judge the pairs, plan, guard, apply what is safe, say what was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from ulid import ULID

from reconciler import groups, guard, judge, normalise, observe, outcome, plan
from reconciler.agreement import Agreed
from reconciler.apply import Applying, apply, recover
from reconciler.decide import Rules
from reconciler.errors import AccessError, CrmUnreachableError, RefusedError, SnapshotError, UsageError
from reconciler.findings import Context
from reconciler.judgement import Judgement, Proposal, World
from reconciler.model import Action, AgentState, Delta, Finding, Outcome, Plan, Shape, Window
from reconciler.normalise import Terms
from reconciler.observe import Observed, Reading
from reconciler.result import Result
from reconciler.store import compare, ledger, mirror, state
from reconciler.store.compare import Scope
from reconciler.store.database import run_lock
from reconciler.store.scratch import scratch
from reconciler.store.state import State

if TYPE_CHECKING:
    from reconciler.agents import Directory
    from reconciler.config import Job
    from reconciler.crm import Reader, Writer
    from reconciler.model import Record
    from reconciler.sources import Source
    from reconciler.store.database import Connection

APPROVAL_PREFIX = 12


@runtime_checkable
class Closeable(Protocol):
    """A source that holds connections."""

    def close(self) -> None:
        """Release them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a run works with, made by `assembly.assemble`. A dry run's `writer` is None: nothing in it could write."""

    job: Job
    state: State
    directory: Directory
    sources: Mapping[str, Source]
    reader: Reader
    writer: Callable[[], Writer] | None
    clock: Callable[[], datetime]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Release all connections, whatever one of them may say to that."""
        with ExitStack() as stack:
            stack.callback(self.state.engine.dispose)
            stack.callback(self.reader.close)
            for source in self.sources.values():
                if isinstance(source, Closeable):
                    stack.callback(source.close)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asked of one run."""

    full: bool = False
    only: frozenset[str] | None = None
    approve: str | None = None


@dataclass(slots=True, kw_only=True)
class _Run:
    """What one run knows so far."""

    id: str
    now: datetime
    window: Window
    epoch: int = 0
    home: State | None = None  # the job's own state, where this run works on a copy of it
    observed: list[Observed] = field(default_factory=list)
    refusal: str | None = None
    blindness: str | None = None


def run(setup: Setup, options: Options, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Result:
    """Run the job once and return what it came to.

    Raises LockedError while another run is at work, ConfigError, UsageError and StateError before anything is read,
    AccessError when a provider refuses this program as a whole: nothing is planned then.
    """
    now = setup.clock()
    this = _Run(id=str(ULID.from_datetime(now)), now=now, window=_window(setup, now))
    with _one_at_a_time(setup, this), ExitStack() as stack:
        approved = _approval(setup, options)
        _recover(setup, this)
        setup = stack.enter_context(_apart(setup, options, this))
        shape = _observe_crm(setup, options, this)
        _observe_calendars(setup, options, this, shape, progress)
        if this.refusal or this.blindness or shape is None:
            return _finished(setup, this, _nothing_planned(setup, this))
        found = _judge(setup, this, shape)
        if found is None:
            return _finished(setup, this, _nothing_planned(setup, this))
        proposals = {plan.identity(proposal.delta): proposal for proposal in found.proposals}
        drafted = plan.build(setup.job.name, setup.reader.identity, [proposal.delta for proposal in found.proposals])
        judged = guard.judge(drafted.deltas, _limits(setup), _populations(this, found), approved)
        deltas = _applied(setup, options, this, shape, judged, proposals, drafted)
        return _finished(setup, this, _came_to(setup, this, found, judged, Plan(deltas, drafted.digest)))


# ---- before ---------------------------------------------------------------------------------------------------------


@contextmanager
def _one_at_a_time(setup: Setup, this: _Run) -> Iterator[None]:
    """Hold the lock and note the run, unless it is a dry run: that one writes nothing which two could spoil."""
    with ExitStack() as stack:
        if setup.writer is not None:
            stack.enter_context(run_lock(setup.state.engine, setup.reader.identity))
        with setup.state.begin() as connection:
            state.bind(connection, setup.state, setup.reader.identity)
            if setup.writer is not None:
                this.epoch = state.begin_run(connection, setup.state, this.id, this.now)
        try:
            yield
        except AccessError as error:
            _note_refusal(setup, this, error)
            raise


def _note_refusal(setup: Setup, this: _Run, error: AccessError) -> None:
    """Write down that a run ended because a provider refuses this program as a whole: it did not die."""
    if setup.writer is not None:
        with setup.state.begin() as connection:
            ended = state.Ended("refused", error.exit_code, "", {})
            state.end_run(connection, setup.state, this.id, setup.clock(), ended)


def _recover(setup: Setup, this: _Run) -> None:
    """Settle what dead runs sent and never confirmed, before anything is planned."""
    if setup.writer is None:
        return
    with setup.state.begin() as connection:
        intents = ledger.unsettled(connection, setup.state)
    if not intents:
        return
    writer = setup.writer()
    try:
        recover(setup.state, writer, intents, Scope(this.window, frozenset()))
    except CrmUnreachableError as error:
        this.blindness = observe.unreachable(error)
    except SnapshotError as error:
        this.refusal = str(error)
    finally:
        writer.close()


@contextmanager
def _apart(setup: Setup, options: Options, this: _Run) -> Iterator[Setup]:
    """Give a dry run that looks through other glasses than the state was made with a throw-away state (README)."""
    if setup.writer is not None or not _is_other_scope(setup, options, this):
        yield setup
        return
    this.home = setup.state
    with scratch(setup.state, this.now) as state:
        yield replace(setup, state=state)


def _is_other_scope(setup: Setup, options: Options, this: _Run) -> bool:
    try:
        shape = setup.reader.shape
    except (CrmUnreachableError, SnapshotError):
        return False  # nothing will be compared
    return observe.is_other_scope(_reading(setup, options, this, shape), setup.directory.calendars)


def _window(setup: Setup, now: datetime) -> Window:
    return Window.around(now, setup.job.window.past, setup.job.window.future)


def _approval(setup: Setup, options: Options) -> frozenset[str]:
    """Return the delta identities `--approve` consents to; raise UsageError when it names no unused stored plan."""
    if options.approve is None:
        return frozenset()
    with setup.state.begin() as connection:
        stored = ledger.find_plans(connection, setup.state, options.approve)
    if len(options.approve) < APPROVAL_PREFIX or len(stored) != 1:
        what = "fits several stored plans" if len(stored) > 1 else "fits no stored plan of this job"
        raise UsageError(
            f"--approve {options.approve} {what}: give {APPROVAL_PREFIX} digits or more of a digest a refusal printed."
        )
    digest, identities, _, used_by = stored[0]
    if used_by is not None:
        raise UsageError(
            f"The approval of {digest[:APPROVAL_PREFIX]} was used up by run {used_by}; a refusal prints a new one."
        )
    return identities


# ---- observe --------------------------------------------------------------------------------------------------------


def _compare(setup: Setup, shape: Shape) -> tuple[str, ...]:
    return normalise.compared(setup.job.policy.compare, shape)


def _observe_crm(setup: Setup, options: Options, this: _Run) -> Shape | None:
    """Read the CRM; without it return how it was last known, so that calendars can still be pulled."""
    try:
        shape = setup.reader.shape
        with setup.state.begin() as connection:
            state.save_shape(connection, setup.state, shape)
        compare = _compare(setup, shape)
        observe.observe_crm(setup.state, setup.reader, this.window, compare, this.now, full=options.full)
    except CrmUnreachableError as error:
        this.blindness = observe.unreachable(error)
    except SnapshotError as error:
        this.refusal = str(error)
    else:
        return shape
    with setup.state.begin() as connection:
        return state.shape(connection, setup.state)


def _observe_calendars(
    setup: Setup, options: Options, this: _Run, shape: Shape | None, progress: Callable[[int, int], None]
) -> None:
    if shape is None:
        return  # the CRM was never reached: how it keeps values is not known yet
    reading = _reading(setup, options, this, shape)
    calendars = setup.directory.calendars
    for done, observed in enumerate(observe.observe_calendars(reading, calendars), 1):
        this.observed.append(observed)
        progress(done, len(calendars))
    this.observed.sort(key=lambda each: each.watched.id)  # they come in as they are done


def _reading(setup: Setup, options: Options, this: _Run, shape: Shape) -> Reading:
    return Reading(
        store=setup.state,
        sources=setup.sources,
        window=this.window,
        terms=_terms(setup, shape),
        now=this.now,
        evidence_after={
            source.name: setup.job.window.settle
            for source in setup.job.sources
            if source.kind == "ics" and source.absence == "evidence"
        },
        full=options.full,
        dry_run=setup.writer is None,
        only=options.only,
        freshness=setup.job.run.freshness,
        patience=_patience(setup, this),
    )


def _patience(setup: Setup, this: _Run) -> Callable[[], float]:
    """Return what tells how many seconds `[run].deadline` leaves: then the run ends cleanly and says what was left."""
    deadline = setup.job.run.deadline

    def left() -> float:
        return math.inf if deadline is None else (this.now + deadline - setup.clock()).total_seconds()

    return left


def _terms(setup: Setup, shape: Shape) -> Terms:
    policy = setup.job.policy
    return Terms(
        compare=_compare(setup, shape),
        shape=shape,
        relevant=frozenset(rule.word for rule in policy.relevant if rule.word != "title"),
        internal_domains=frozenset(policy.internal_domains),
        people=setup.directory.people,
        salt=setup.state.salt,
        titles={str(rule): rule.matches_title for rule in policy.relevant if rule.word == "title"},
        record_per_agent=setup.job.crm.record_per == "agent",
    )


# ---- judge ----------------------------------------------------------------------------------------------------------


def _judge(setup: Setup, this: _Run, shape: Shape) -> Judgement | None:
    """Compare both sides; None when the CRM fails while records are looked up."""
    world = world_of(setup, this.observed, this.now, shape)
    try:
        with setup.state.reading() as connection:
            found = judge.judge(connection, setup.state, world, agree=_agree(setup), fetch=_fetch(setup, world))
    except CrmUnreachableError as error:
        this.blindness = observe.unreachable(error)
        return None
    with setup.state.begin() as connection:
        mirror.read_whole_next(connection, found.reread)
    for each in this.observed:
        found.findings += _reading_findings(each, this.now)
    found.findings += _left_behind(setup, world)
    _count_quarantined(setup, this, found)
    return found


def world_of(setup: Setup, observed: Sequence[Observed], now: datetime, shape: Shape) -> World:
    """Return what pairs are judged by, after these calendars were read (or not)."""
    policy, compare = setup.job.policy, _compare(setup, shape)
    blind = {each.watched.id for each in observed if each.mode is None}
    return World(
        rules=Rules(policy.sync, policy.first, compare),
        context=Context(
            now=now,
            allow=frozenset(policy.allow),
            can=shape.can,
            compare=compare,
            mapped=shape.mapped,
            remove=Action(policy.remove),
        ),
        watched={each.watched.id: each.watched for each in observed},
        scope=Scope(_window(setup, now), frozenset(blind)),
        settle=setup.job.window.settle,
        people={agent.email: agent for agent in setup.directory.agents},
        blind_agents=frozenset(each.watched.calendar.agent.email for each in observed if each.mode is None),
        quarantined=frozenset((each.watched.id, event) for each in observed for event, _ in each.quarantined),
        record_per_agent=setup.job.crm.record_per == "agent",
    )


def _left_behind(setup: Setup, world: World) -> Iterator[Finding]:
    """Yield what is to be said of calendars that are frozen for good: of agents who left, or no longer named."""
    frozen = {number for number, one in world.watched.items() if one.calendar.agent.state is AgentState.LEFT}
    with setup.state.begin() as connection:
        held = compare.left_behind(connection, setup.state, world.watched.keys() - frozen)
    for number, agent, name, count in held:
        yield groups.left_behind(agent, name, count, has_left=number in frozen)


def _agree(setup: Setup) -> Callable[[Sequence[Agreed]], None]:
    """Return what saves links of pairs that agree; a dry run keeps no links."""

    def save(agreed: Sequence[Agreed]) -> None:
        if setup.writer is not None:
            with setup.state.begin() as connection:
                ledger.save_links(connection, setup.state, agreed)

    return save


def _fetch(setup: Setup, world: World) -> Callable[[Iterable[str]], Sequence[Record]]:
    """Return what looks records up by key, wherever they are in time: a late webhook's row is not created twice."""

    def fetch(keys: Iterable[str]) -> Sequence[Record]:
        wanted = list(keys)
        if not wanted:
            return ()
        with setup.reader.snapshot() as snapshot:
            found = snapshot.by_keys(wanted)
        observe.look_up(setup.state, found, world.rules.compare)
        return found

    return fetch


def _reading_findings(each: Observed, now: datetime) -> list[Finding]:
    calendar = each.watched.calendar
    if each.mode is None:
        return [groups.unobserved(calendar, each.why or "", each.watched.blind_since or now)] if each.asked else []
    unreadable = [groups.unreadable(calendar, event, why) for event, why in each.quarantined]
    return [*unreadable, groups.missed(calendar, each.missed)] if each.missed else unreadable


def _count_quarantined(setup: Setup, this: _Run, found: Judgement) -> None:
    """Count entries that can't be read and that no row of the mirror stands for."""
    with setup.state.engine.connect() as connection:
        for each in this.observed:
            if each.mode is None or not each.quarantined:
                continue
            known = mirror.known_events(connection, setup.state, each.watched.id)
            extra = sum(1 for event, _ in each.quarantined if event not in known)
            found.events["quarantined"] += extra
            found.events_total += extra
            found.by_calendar[each.watched.id] = found.by_calendar.get(each.watched.id, 0) + extra


# ---- guard and apply ------------------------------------------------------------------------------------------------


def _limits(setup: Setup) -> guard.Limits:
    limits = setup.job.limits
    return guard.Limits(
        create=limits.create,
        update=limits.update,
        cancel=limits.cancel,
        delete=limits.delete,
        agent_cancel=limits.agent_cancel,
        cap=limits.cap,
        pace=limits.over == "pace",
        notify=limits.notify,
    )


def _blind_agents(this: _Run) -> set[str]:
    """Return the agents of whom at least one calendar was not observed."""
    return {each.watched.calendar.agent.email for each in this.observed if each.mode is None}


def _populations(this: _Run, found: Judgement) -> guard.Populations:
    events: dict[str, int] = {}
    blind = _blind_agents(this)
    for each in this.observed:
        if each.watched.calendar.agent.email not in blind:
            agent = each.watched.calendar.agent.email
            events[agent] = events.get(agent, 0) + found.by_calendar.get(each.watched.id, 0)
    return guard.Populations(
        linked=found.linked.total(),
        records=found.records_total,
        linked_by_agent=dict(found.linked),
        events_by_agent=events,
    )


def _applied(
    setup: Setup,
    options: Options,
    this: _Run,
    shape: Shape,
    judged: guard.Judgement,
    proposals: Mapping[str, Proposal],
    drafted: Plan,
) -> tuple[Delta, ...]:
    """Apply what the guard let through; a refused plan is stored, so that a person can consent to it."""
    if judged.violations:
        home = this.home or setup.state
        with home.begin() as connection:
            ledger.save_plan(connection, home, this.id, drafted.digest, drafted.deltas, judged.violations, this.now)
        return judged.deltas
    if setup.writer is None or not any(delta.outcome is Outcome.PLANNED for delta in judged.deltas):
        return judged.deltas
    if options.approve is not None:
        _use_approval(setup, options.approve, this)
    writer, patience = setup.writer(), _patience(setup, this)
    try:
        applying = Applying(
            state=setup.state,
            writer=writer,
            run=this.id,
            epoch=this.epoch,
            compare=_compare(setup, shape),
            clock=setup.clock,
            is_late=lambda: patience() <= 0,
        )
        return tuple(apply(judged.deltas, proposals, applying))
    finally:
        writer.close()


def _use_approval(setup: Setup, prefix: str, this: _Run) -> None:
    with setup.state.begin() as connection:
        for digest, _, _, _ in ledger.find_plans(connection, setup.state, prefix):
            ledger.use_plan(connection, setup.state, digest, this.id)


# ---- after ----------------------------------------------------------------------------------------------------------


def _nothing_planned(setup: Setup, this: _Run) -> Result:
    """Return the result of a run that could not see its CRM, or must not believe it."""
    found = Judgement()
    found.findings.append(groups.blind(this.refusal or this.blindness or "The CRM could not be read."))
    for each in this.observed:
        found.findings += _reading_findings(each, this.now)
    judged = guard.Judgement((), (), ())
    result = _came_to(setup, this, found, judged, Plan((), plan.digest(setup.job.name, setup.reader.identity, ())))
    code = RefusedError.exit_code if this.refusal else CrmUnreachableError.exit_code
    return replace(result, status="refused" if this.refusal else "partial", exit_code=code)


def _came_to(setup: Setup, this: _Run, found: Judgement, judged: guard.Judgement, planned: Plan) -> Result:
    ran = outcome.Ran(
        job=setup.job.name,
        run=this.id,
        dry_run=setup.writer is None,
        window=this.window,
        observed=tuple(this.observed),
        may_be_blind=setup.job.limits.unobserved,
    )
    return outcome.came_to(ran, found, judged, planned)


def _finished(setup: Setup, this: _Run, result: Result) -> Result:
    """Check the balance, write down what was found, and say since when."""
    if not (result.events.adds_up and result.records.adds_up):
        raise AssertionError(f"the counts do not add up: {result.events} {result.records}")
    keys = [finding.key for finding in result.findings]
    with setup.state.begin() as connection:
        before = ledger.sightings(connection, setup.state, keys)
        if setup.writer is not None:
            _remember(connection, setup, this, result, before)
    since = {key: (before[key][0], before[key][1] + 1) if key in before else (this.now, 1) for key in keys}
    return replace(result, sightings=since)


def _remember(
    connection: Connection, setup: Setup, this: _Run, result: Result, before: Mapping[str, tuple[datetime, int]]
) -> None:
    blind = _blind_agents(this)
    was_judged = not (this.refusal or this.blindness)
    ledger.save_findings(
        connection, setup.state, result.findings, before, this.now, lambda agent: was_judged and agent not in blind
    )
    if was_judged:
        ledger.forget_past(connection, setup.state, this.window.start)
    ended = state.Ended(result.status, result.exit_code, result.digest, result.counts)
    state.end_run(connection, setup.state, this.id, setup.clock(), ended)
