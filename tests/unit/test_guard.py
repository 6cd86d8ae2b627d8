"""Limits against harm: over a job limit nothing is applied, over an agent's own limit only that agent waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.guard import Limits, Past, Populations, Uncovered, collapsed, judge
from reconciler.limit import Limit
from reconciler.model import Action, Delta, Kind, Outcome, Severity, Side, Violation
from reconciler.plan import identity

ANN, BOB = "ann@acme.example", "bob@acme.example"
LIMITS = Limits(
    create=Limit.parse("25 or 10%"),
    update=Limit.parse("25 or 10%"),
    cancel=Limit.parse("10 or 5%"),
    delete=Limit.parse("0"),
    agent_cancel=Limit.parse("5 or 50%"),
    cap=1000,
)
PACED = replace(LIMITS, pace=True)
MANY = {ANN: 130, BOB: 130}


def populations(
    linked: int = 260, records: int = 300, by_agent: Mapping[str, int] = MANY, events: Mapping[str, int] | None = None
) -> Populations:
    return Populations(linked=linked, records=records, linked_by_agent=by_agent, events_by_agent=events or {})


def deltas(action: Action, count: int, agent: str = ANN) -> list[Delta]:
    one = Delta(action=action, side=Side.CRM, key="", kind=Kind.FIELD_DRIFT, severity=Severity.HIGH, agent=agent)
    return [replace(one, key=f"{agent}{action}{number}") for number in range(count)]


def outcomes(found: Iterable[Delta]) -> Counter[Outcome]:
    return Counter(delta.outcome for delta in found)


NOTHING: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("action", "population", "allowed"),
    [
        (Action.CREATE, populations(records=250), 25),
        (Action.CREATE, populations(records=269, linked=10_000), 26),
        (Action.CREATE, populations(records=1_000_000), 1000),
        (Action.UPDATE, populations(linked=260), 26),
        (Action.UPDATE, populations(linked=10, records=10_000), 25),
        (Action.CANCEL, populations(linked=260), 13),
        (Action.CANCEL, populations(linked=279), 13),
        (Action.CANCEL, populations(linked=0), 10),
        (Action.DELETE, populations(linked=1_000_000), 0),
    ],
)
def test_a_limit_is_the_larger_of_amount_and_share_of_its_population_and_never_over_the_cap(
    action: Action, population: Populations, allowed: int
) -> None:
    calm = replace(LIMITS, agent_cancel=Limit.parse("100%"))
    population = replace(population, linked_by_agent={ANN: 10_000, BOB: 10_000})
    assert judge(deltas(action, allowed), calm, population, NOTHING).violations == ()
    [violation] = judge(deltas(action, allowed + 1), calm, population, NOTHING).violations
    of = population.records if action is Action.CREATE else population.linked
    assert (violation.limit, violation.found, violation.allowed, violation.population) == (
        action,
        allowed + 1,
        allowed,
        of,
    )
    assert str(of) in violation.why


def test_all_violations_are_listed() -> None:
    too_many = [delta for action in Action for delta in deltas(action, 100)]
    judged = judge(
        too_many, replace(LIMITS, agent_cancel=Limit.parse("100%")), populations(by_agent={ANN: 1000}), NOTHING
    )
    assert [(violation.limit, violation.action) for violation in judged.violations] == [
        *((action.value, action) for action in Action if action is not Action.LINK),
        ("update", Action.LINK),
    ]
    assert judged.deltas == tuple(too_many)


def test_what_is_not_planned_does_not_count() -> None:
    held = [replace(delta, outcome=Outcome.HELD) for delta in deltas(Action.CREATE, 100)]
    assert judge(held, LIMITS, populations(), NOTHING).violations == ()


# ---- one agent's own limits -----------------------------------------------------------------------------------------


def test_an_agent_who_loses_too_much_is_withheld_and_nobody_else() -> None:
    plan = [*deltas(Action.CANCEL, 6, ANN), *deltas(Action.UPDATE, 3, ANN), *deltas(Action.CANCEL, 5, BOB)]
    judged = judge(plan, LIMITS, populations(by_agent={ANN: 8, BOB: 100}), NOTHING)
    assert judged.violations == ()
    assert judged.withheld == (Violation("agent_cancel", 6, 5, 8, "of 8 linked records of ann@acme.example", ANN),)
    assert {delta.agent for delta in judged.deltas if delta.outcome is Outcome.HELD} == {ANN}
    assert outcomes(judged.deltas) == {Outcome.HELD: 9, Outcome.PLANNED: 5}


def test_what_is_withheld_does_not_count_against_the_job() -> None:
    plan = [*deltas(Action.CANCEL, 12, ANN), *deltas(Action.CANCEL, 9, BOB)]
    judged = judge(plan, LIMITS, populations(linked=100, by_agent={ANN: 20, BOB: 80}), NOTHING)
    assert (judged.violations, [violation.agent for violation in judged.withheld]) == ((), [ANN])


def test_deletes_count_with_cancels_of_an_agent() -> None:
    plan = [*deltas(Action.CANCEL, 3, ANN), *deltas(Action.DELETE, 3, ANN)]
    judged = judge(plan, LIMITS, populations(by_agent={ANN: 8, BOB: 100}), NOTHING)
    assert [violation.found for violation in judged.withheld] == [6]


def test_in_a_job_with_one_agent_the_job_limits_are_enough() -> None:
    assert judge(deltas(Action.CANCEL, 9), LIMITS, populations(linked=9, by_agent={ANN: 9}), NOTHING).withheld == ()


def test_an_agent_without_links_still_makes_two() -> None:
    population = populations(by_agent={ANN: 9}, events={ANN: 3, BOB: 4})
    assert len(judge(deltas(Action.CANCEL, 9), LIMITS, population, NOTHING).withheld) == 1


@pytest.mark.parametrize(
    ("linked", "events", "withheld"),
    [(5, {ANN: 0}, True), (4, {ANN: 0}, False), (38, {ANN: 0}, True), (38, {ANN: 1}, False), (38, {}, False)],
)
def test_an_emptied_calendar_is_withheld(linked: int, events: dict[str, int], *, withheld: bool) -> None:
    judged = judge(deltas(Action.CANCEL, 2), LIMITS, populations(by_agent={ANN: linked}, events=events), NOTHING)
    assert [violation.limit for violation in judged.withheld] == (["emptied"] if withheld else [])
    assert outcomes(judged.deltas) == {Outcome.HELD if withheld else Outcome.PLANNED: 2}


# ---- approval -------------------------------------------------------------------------------------------------------


def test_approved_deltas_do_not_count_and_new_ones_do() -> None:
    plan = deltas(Action.CANCEL, 40)
    population = populations(by_agent={ANN: 260})
    approved = frozenset(identity(delta) for delta in plan[:30])
    assert judge(plan, LIMITS, population, approved).violations == ()
    [violation] = judge(plan, LIMITS, population, frozenset([*approved][:20])).violations
    assert violation.found == 20


def test_creates_consented_to_are_records_for_those_that_came_later() -> None:
    plan = deltas(Action.CREATE, 1000)
    approved = frozenset(identity(delta) for delta in plan[:900])
    assert judge(plan[:990], LIMITS, populations(records=0), approved).violations == ()
    [violation] = judge(plan, LIMITS, populations(records=0), approved).violations
    assert (violation.found, violation.allowed, violation.population) == (100, 90, 900)


def test_an_approved_delta_that_changed_counts_again() -> None:
    plan = deltas(Action.DELETE, 1)
    approved = frozenset({identity(replace(plan[0], version="other"))})
    assert len(judge(plan, LIMITS, populations(), approved).violations) == 1


def test_what_was_consented_to_passes_an_agents_own_limit() -> None:
    plan = deltas(Action.CANCEL, 8)
    population = populations(by_agent={ANN: 8, BOB: 100})
    judged = judge(plan, LIMITS, population, frozenset(identity(delta) for delta in plan))
    assert (judged.withheld, outcomes(judged.deltas)) == ((), {Outcome.PLANNED: 8})


# ---- pace -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [Action.CREATE, Action.UPDATE])
def test_pace_lets_the_first_through_and_defers_the_rest(action: Action) -> None:
    plan = deltas(action, 40)
    judged = judge(plan, PACED, populations(linked=260, records=260), NOTHING)
    assert judged.violations == ()
    assert [delta.outcome for delta in judged.deltas] == [Outcome.PLANNED] * 26 + [Outcome.DEFERRED] * 14
    assert judged.deltas[-1].why


@pytest.mark.parametrize(("action", "too_many"), [(Action.CANCEL, 14), (Action.DELETE, 1)])
def test_cancels_and_deletes_always_refuse(action: Action, too_many: int) -> None:
    judged = judge(deltas(action, too_many), PACED, populations(by_agent={ANN: 260}), NOTHING)
    assert [violation.limit for violation in judged.violations] == [action]


def test_pace_lets_everything_approved_through() -> None:
    plan = deltas(Action.CREATE, 40)
    approved = frozenset(identity(delta) for delta in plan[-20:])
    judged = judge(plan, replace(PACED, create=Limit.parse("5")), populations(records=0), approved)
    assert [delta.outcome for delta in judged.deltas] == (
        [Outcome.PLANNED] * 5 + [Outcome.DEFERRED] * 15 + [Outcome.PLANNED] * 20
    )


# ---- any 24 hours ---------------------------------------------------------------------------------------------------


def test_a_day_has_room_for_so_many_runs_and_no_more() -> None:
    limits, population = replace(LIMITS, day=2), populations(by_agent={ANN: 260})  # 13 cancels a run, 26 a day
    assert judge(deltas(Action.CANCEL, 13), limits, population, NOTHING, Past(written={"cancel": 13})).violations == ()
    [violation] = judge(deltas(Action.CANCEL, 13), limits, population, NOTHING, Past(written={"cancel": 14})).violations
    assert (violation.limit, violation.action, violation.found, violation.allowed) == ("day", Action.CANCEL, 27, 26)
    assert violation.why == "cancels within 24 hours, 14 of them by earlier runs"


def test_a_plan_over_the_run_and_over_the_day_names_both() -> None:
    past = Past(written={"cancel": 130})
    judged = judge(deltas(Action.CANCEL, 14), LIMITS, populations(by_agent={ANN: 260}), NOTHING, past)
    assert [violation.limit for violation in judged.violations] == ["cancel", "day"]


def test_a_full_day_refuses_nobody_who_has_nothing_to_do() -> None:
    past = Past(written={"cancel": 1000})
    assert judge(deltas(Action.UPDATE, 3), LIMITS, populations(), NOTHING, past).violations == ()


def test_what_was_consented_to_goes_on_a_full_day() -> None:
    plan = deltas(Action.CANCEL, 3)
    approved = frozenset(identity(delta) for delta in plan)
    past = Past(written={"cancel": 1000})
    assert judge(plan, LIMITS, populations(), approved, past).violations == ()


@pytest.mark.parametrize(("written", "going"), [(0, 26), (250, 10), (260, 0), (999, 0)])
def test_pace_keeps_to_the_smaller_room_of_run_and_day(written: int, going: int) -> None:
    past = Past(written={"update": written})
    judged = judge(deltas(Action.UPDATE, 40), PACED, populations(), NOTHING, past)
    assert judged.violations == ()
    assert [delta.outcome for delta in judged.deltas] == ([Outcome.PLANNED] * going + [Outcome.DEFERRED] * (40 - going))


def test_without_pace_a_full_day_refuses_updates_too() -> None:
    judged = judge(deltas(Action.UPDATE, 11), LIMITS, populations(), NOTHING, Past(written={"update": 250}))
    assert [(violation.limit, violation.action) for violation in judged.violations] == [("day", Action.UPDATE)]


# ---- either side, and people who would be told ----------------------------------------------------------------------


def test_what_is_written_to_calendars_counts_like_what_is_written_to_the_crm() -> None:
    plan = [*deltas(Action.CANCEL, 7), *(replace(one, side=Side.CALENDAR) for one in deltas(Action.CANCEL, 7, BOB))]
    [violation] = judge(plan, LIMITS, populations(), NOTHING).violations
    assert (violation.limit, violation.found, violation.allowed) == ("cancel", 14, 13)


def told(count: int, agent: str = ANN) -> list[Delta]:
    return [replace(delta, notify=1, side=Side.CALENDAR) for delta in deltas(Action.UPDATE, count, agent)]


def test_nobody_is_told_anything_unless_the_job_file_says_so() -> None:
    [violation] = judge(told(2), LIMITS, populations(), NOTHING).violations
    assert (violation.limit, violation.found, violation.allowed) == ("notify", 2, 0)
    assert judge(told(2), replace(LIMITS, notify=2), populations(), NOTHING).violations == ()


def test_people_are_counted_and_not_changes() -> None:
    plan = [replace(delta, notify=5) for delta in told(2)]
    [violation] = judge(plan, replace(LIMITS, notify=9), populations(), NOTHING).violations
    assert (violation.found, violation.allowed) == (10, 9)


def test_who_is_told_by_what_was_consented_to_withheld_or_put_off_does_not_count() -> None:
    plan = told(2)
    assert judge(plan, LIMITS, populations(), frozenset(identity(delta) for delta in plan)).violations == ()
    emptied = populations(by_agent={ANN: 9, BOB: 9}, events={ANN: 0})
    assert judge(plan, LIMITS, emptied, NOTHING).violations == ()
    later = judge(told(3), replace(PACED, update=Limit.parse("1"), notify=1), populations(), NOTHING)
    assert (later.violations, outcomes(later.deltas)) == ((), {Outcome.PLANNED: 1, Outcome.DEFERRED: 2})


# ---- a job file that covers less ------------------------------------------------------------------------------------


def lost(records: int, agent: str = BOB) -> Uncovered:
    return Uncovered(number=2, source="google", agent=agent, name="primary", records=records)


@pytest.mark.parametrize(("records", "limits"), [(14, ["scope"]), (13, [])])
def test_what_falls_out_of_the_job_file_is_judged_by_the_limit_of_cancels(records: int, limits: list[str]) -> None:
    population = populations(linked=260 - records)  # 5 % of those linked and those let go of
    judged = judge([], LIMITS, population, NOTHING, Past(uncovered=(lost(records),)))
    assert [violation.limit for violation in judged.violations] == limits


def test_a_smaller_scope_names_whose_calendars_fall_out() -> None:
    agents = ("a@acme.example", "b@acme.example", "c@acme.example", "d@acme.example")
    past = Past(uncovered=tuple(lost(20, agent) for agent in agents))
    [violation] = judge([], LIMITS, populations(), NOTHING, past).violations
    assert (violation.found, violation.allowed, violation.population) == (80, 17, 340)
    assert violation.why.endswith(
        "that the job file no longer names: a@acme.example, b@acme.example, c@acme.example and 1 more"
    )


def test_consent_to_a_smaller_scope_is_to_these_calendars_and_no_others() -> None:
    past = Past(uncovered=(lost(20), lost(20, ANN)))
    approved = frozenset({lost(0).identity})
    [violation] = judge([], LIMITS, populations(), approved, past).violations
    assert (violation.found, violation.why.rpartition(": ")[2]) == (20, ANN)
    assert judge([], LIMITS, populations(), approved | {lost(0, ANN).identity}, past).violations == ()


def test_a_smaller_scope_stops_everything_else() -> None:
    judged = judge(deltas(Action.UPDATE, 1), LIMITS, populations(), NOTHING, Past(uncovered=(lost(40),)))
    assert [violation.limit for violation in judged.violations] == ["scope"]


def test_an_emptied_calendar_of_which_all_was_consented_to_is_not_withheld() -> None:
    plan = deltas(Action.CANCEL, 5)
    population = populations(by_agent={ANN: 5, BOB: 9}, events={ANN: 0})
    every = frozenset(identity(delta) for delta in plan)
    assert judge(plan, LIMITS, population, every).withheld == ()
    assert len(judge(plan, LIMITS, population, frozenset([*every][:4])).withheld) == 1


# ---- properties -----------------------------------------------------------------------------------------------------

SMALL = st.builds(Limit.parse, st.sampled_from(["0", "1", "2", "50%", "1 or 25%", "3 or 10%"]))
LIMITED = st.builds(
    Limits, create=SMALL, update=SMALL, cancel=SMALL, delete=SMALL, agent_cancel=SMALL,
    cap=st.integers(0, 6), day=st.integers(1, 3), pace=st.booleans(), notify=st.integers(0, 4),
)  # fmt: skip
PEOPLED = st.builds(
    Populations,
    linked=st.integers(0, 30),
    records=st.integers(0, 30),
    linked_by_agent=st.dictionaries(st.sampled_from([ANN, BOB]), st.integers(0, 20)),
    events_by_agent=st.dictionaries(st.sampled_from([ANN, BOB]), st.integers(0, 3)),
)
WRITTEN = st.builds(Past, written=st.dictionaries(st.sampled_from(list(Action)).map(str), st.integers(0, 20)))
AGENTS = st.sampled_from([ANN, BOB, None])
ONE = st.tuples(st.sampled_from(list(Action)), AGENTS, st.integers(0, 2), st.sampled_from(list(Side)), st.booleans())


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[Delta], frozenset[str]]:
    """Return a plan, and the identities of what a person consented to."""
    made, approved = [], set()
    for number, (action, agent, notify, side, yes) in enumerate(draw(st.lists(ONE, max_size=25))):
        kind, severity = Kind.FIELD_DRIFT, Severity.HIGH
        made.append(
            Delta(action=action, side=side, key=str(number), kind=kind, severity=severity, agent=agent, notify=notify)
        )
        if yes:
            approved.add(identity(made[-1]))
    return made, frozenset(approved)


def allowed(action: Action, limits: Limits, population: Populations) -> int:
    limit: Limit = getattr(limits, "update" if action is Action.LINK else action)
    of = population.records if action in {Action.CREATE, Action.LINK} else population.linked
    return limit.allowed(of, limits.cap)


def filled(population: Populations, made: list[Delta], approved: frozenset[str]) -> Populations:
    """Return the population with the records that a person consented to create."""
    more = sum(delta.action is Action.CREATE and identity(delta) in approved for delta in made)
    return replace(population, records=population.records + more)


@given(plans(), LIMITED, PEOPLED, WRITTEN)
def test_of_any_mix_no_more_goes_than_run_day_and_people_allow_but_what_was_approved(
    plan: tuple[list[Delta], frozenset[str]], limits: Limits, population: Populations, past: Past
) -> None:
    made, approved = plan
    judged = judge(made, limits, population, approved, past)
    assert [delta.key for delta in judged.deltas] == [delta.key for delta in made]
    assert all(violation.found > violation.allowed for violation in judged.violations)
    going = [delta for delta in judged.deltas if delta.outcome is Outcome.PLANNED]
    counted = [delta for delta in going if identity(delta) not in approved]
    count = Counter(delta.action for delta in counted)
    population = filled(population, made, approved)
    refused = {(violation.limit, violation.action) for violation in judged.violations}
    for action in Action:
        run = allowed(action, limits, population)
        name = "update" if action is Action.LINK else action.value
        assert (count[action] > run) == ((name, action) in refused)
        if not refused:
            assert count[action] == 0 or past.written.get(action, 0) + count[action] <= limits.day * run
    if not refused:
        assert sum(delta.notify for delta in counted) <= limits.notify
    assert approved <= {identity(delta) for delta in going}
    withheld = {violation.agent for violation in judged.withheld}
    assert not [delta for delta in counted if delta.agent in withheld]


@given(plans(), LIMITED, PEOPLED, WRITTEN, st.randoms(use_true_random=False))
def test_the_order_of_a_plan_decides_what_goes_first_and_never_how_much(
    plan: tuple[list[Delta], frozenset[str]], limits: Limits, population: Populations, past: Past, random: Random
) -> None:
    made, approved = plan
    shuffled = list(made)
    random.shuffle(shuffled)
    limits = replace(limits, notify=50)  # who is put off decides who would be told
    one, other = (judge(deltas, limits, population, approved, past) for deltas in (made, shuffled))
    assert (one.violations, one.withheld) == (other.violations, other.withheld)
    by_action = [Counter((delta.action, delta.outcome) for delta in judged.deltas) for judged in (one, other)]
    assert by_action[0] == by_action[1]


@given(plans(), LIMITED, PEOPLED, WRITTEN)
def test_what_was_approved_counts_against_nothing(
    plan: tuple[list[Delta], frozenset[str]], limits: Limits, population: Populations, past: Past
) -> None:
    made, approved = plan
    rest = [delta for delta in made if identity(delta) not in approved]
    judged = judge(made, limits, population, approved, past)
    alone = judge(rest, limits, filled(population, made, approved), NOTHING, past)
    assert judged.violations == alone.violations
    assert [one for one in judged.deltas if identity(one) not in approved] == list(alone.deltas)


@pytest.mark.parametrize(
    ("now", "before", "hole"),
    [
        (0, 800, True),
        (9, 20, True),
        (10, 20, False),
        (0, 19, False),
        (0, None, False),
        (400, 800, False),
        (399, 800, True),
    ],
)
def test_a_snapshot_of_less_than_half_of_twenty_or_more_is_a_hole(now: int, before: int | None, *, hole: bool) -> None:
    assert collapsed(now, before) is hole
