"""Both sides of one run brought together: what it is judged by, what comes of it, and what limits are shares of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from reconciler import groups, guard, holding, judge
from reconciler.accepting import Accepted
from reconciler.agreement import Agreed
from reconciler.claiming import Claiming
from reconciler.decide import Rules
from reconciler.errors import CrmUnreachableError
from reconciler.findings import Context
from reconciler.judgement import Bench, Judgement, Ruling, Rulings, World, in_turn, no_ruling
from reconciler.model import Action, AgentState, Direction, Finding, Role, Shape
from reconciler.snapshot import look_up, unreachable
from reconciler.store import accepted, compare, journal, ledger, mirror, state, suppressed
from reconciler.store.compare import Scope

if TYPE_CHECKING:
    from reconciler.holding import Held
    from reconciler.model import Calendar, Record
    from reconciler.observe import Observed
    from reconciler.session import Session
    from reconciler.setup import Options, Setup
    from reconciler.store.state import Watched

_LOOKED_UP = timedelta(days=1)
"""How long what was put off counts as looked up."""


def compared(setup: Setup, options: Options, this: Session, shape: Shape) -> Judgement | None:
    """Compare both sides; None when the CRM fails while records are looked up."""
    world = replace(world_of(setup, this.observed, this.now, shape), unknown=this.unknown)
    with setup.state.begin() as connection:
        held = holding.held(connection, setup.state, world.rules.compare)
        known = Accepted(accepted.all_of(connection, setup.state), this.now)
    try:
        with setup.state.reading() as connection:
            found = judge.judge(
                connection,
                setup.state,
                world,
                agree=_agree(setup, world.rules.compare),
                fetch=_fetch(setup, world),
                rulings=_rulings(options, held, known),
                recognised=_claiming(setup, this, world, shape).recognised,
            )
    except CrmUnreachableError as error:
        this.blindness = unreachable(error)
        return None
    with setup.state.begin() as connection:
        mirror.read_whole_next(connection, found.reread)
        if not setup.is_dry:
            holding.let_go(connection, setup.state, world.scope, held)
            state.hear(connection, found.heard, this.now)
    for each in this.observed:
        found.findings += reading_findings(each, this.now)
    found.findings += _left_behind(setup, world)
    _count_quarantined(setup, this, found)
    found.findings = known.rest(found.findings)
    return found


def _rulings(options: Options, held: Held, known: Accepted) -> Rulings:
    """Return what has a say on judged pairs: what people hold and accept, and last what this command was asked."""

    def rulings(bench: Bench) -> Ruling:
        asked = (options.ruling or no_ruling)(bench)
        return in_turn(held.rule, known.rulings(bench), asked)

    return rulings


def world_of(setup: Setup, observed: Sequence[Observed], now: datetime, shape: Shape) -> World:
    """Return what pairs are judged by, after these calendars were read (or not)."""
    policy, fields = setup.job.policy, setup.compare(shape)
    blind = {each.watched.id for each in observed if each.mode is None}
    return World(
        rules=Rules(policy.sync, policy.first, fields),
        context=Context(
            now=now,
            allow=frozenset(policy.allow),
            can=shape.can,
            compare=fields,
            mapped=shape.mapped,
            remove=Action(policy.remove),
            origin=_origin(setup),
            writes=writable_kinds(setup),
            homes=homes(setup, (each.watched for each in observed)),
        ),
        watched={each.watched.id: each.watched for each in observed},
        scope=Scope(setup.window(now), frozenset(blind)),
        settle=setup.job.window.settle,
        as_of=min([now, *(each.since for each in observed if each.since is not None)]),
        people={agent.email: agent for agent in setup.directory.agents},
        blind_agents=frozenset(each.watched.calendar.agent.email for each in observed if each.mode is None),
        quarantined=frozenset((each.watched.id, event) for each in observed for event, _ in each.quarantined),
        record_per_agent=setup.job.crm.record_per == "agent",
    )


def writable_kinds(setup: Setup) -> frozenset[str]:
    """Return the kinds of sources whose calendars this job writes to; a file or a feed can only be read."""
    return frozenset() if setup.job.policy.sync is Direction.CALENDAR_TO_CRM else frozenset({"google", "microsoft"})


def homes(setup: Setup, watched: Iterable[Watched]) -> dict[str, tuple[int, Calendar]]:
    """Return where each agent's new events go: the primary calendar, else the first that is named, if it is written."""
    kinds = writable_kinds(setup)
    found: dict[str, tuple[int, Calendar]] = {}
    for one in sorted(watched, key=lambda each: (not _is_primary(each.calendar), each.id)):
        agent = one.calendar.agent
        may_own = agent.role is Role.AGENT and agent.state is AgentState.ACTIVE
        if one.calendar.kind in kinds and may_own:
            found.setdefault(agent.email, (one.id, one.calendar))
    return found


def _is_primary(calendar: Calendar) -> bool:
    return calendar.name.lower() in {"primary", calendar.agent.email}


def _claiming(setup: Setup, this: Session, world: World, shape: Shape) -> Claiming:
    """Return what looks up, before anything is created, whether it was made before."""
    with setup.state.begin() as connection:
        waiting = journal.turns(connection, setup.state, this.now - _LOOKED_UP).waiting
    return Claiming(
        state=setup.state,
        world=world,
        sources=setup.sources,
        terms=setup.terms(shape),
        limit=setup.job.limits.cap,
        patience=setup.patience(this.now),
        agree=None if setup.is_dry else _agree(setup, world.rules.compare),
        waiting=waiting,
    )


def _origin(setup: Setup) -> str | None:
    """Return how rows that we made name their writer: the first constant that is written into them."""
    crm = setup.job.crm
    return next((str(value) for value in crm.set.values()), None) if crm.kind == "sql" else None


def _left_behind(setup: Setup, world: World) -> Iterator[Finding]:
    """Yield what is to be said of calendars that are frozen for good: of agents who left, or no longer named."""
    frozen = {number for number, one in world.watched.items() if one.calendar.agent.state is AgentState.LEFT}
    with setup.state.begin() as connection:
        held = compare.left_behind(connection, setup.state, world.watched.keys() - frozen)
    for number, source, agent, name, count in held:
        yield replace(groups.left_behind((source, agent, name), count, has_left=number in frozen), calendar=number)


def _agree(setup: Setup, compare_by: tuple[str, ...]) -> Callable[[Sequence[Agreed]], None]:
    """Return what saves links of pairs that agree; a dry run keeps no links."""

    def save(agreed: Sequence[Agreed]) -> None:
        if not setup.is_dry:
            with setup.state.begin() as connection:
                ledger.save_links(connection, setup.state, agreed)
                suppressed.level(connection, setup.state, [link.crm_id for link, _, _ in agreed], compare_by)

    return save


def _fetch(setup: Setup, world: World) -> Callable[[Iterable[str]], Sequence[Record]]:
    """Return what looks records up by key, wherever they are in time: a late webhook's row is not created twice."""

    def fetch(keys: Iterable[str]) -> Sequence[Record]:
        wanted = list(keys)
        if not wanted:
            return ()
        with setup.reader.snapshot() as snapshot:
            found = snapshot.by_keys(wanted)
        with setup.state.engine.begin() as connection:
            found = suppressed.as_kept(connection, setup.state, found)
        look_up(setup.state, found, world.rules.compare)
        return found

    return fetch


def reading_findings(each: Observed, now: datetime) -> list[Finding]:
    """Return what is to be said of how one calendar was read."""
    return [replace(finding, calendar=each.watched.id) for finding in _of_reading(each, now)]


def _of_reading(each: Observed, now: datetime) -> list[Finding]:
    calendar = each.watched.calendar
    if each.mode is None:
        return [groups.unobserved(calendar, each.why or "", each.watched.blind_since or now)] if each.asked else []
    unreadable = [groups.unreadable(calendar, event, why) for event, why in each.quarantined]
    return [*unreadable, groups.missed(calendar, each.missed)] if each.missed else unreadable


def _count_quarantined(setup: Setup, this: Session, found: Judgement) -> None:
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


def populations(this: Session, found: Judgement) -> guard.Populations:
    """Return what the limits' shares are shares of."""
    events: dict[str, int] = {}
    blind = this.blind_agents()
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
