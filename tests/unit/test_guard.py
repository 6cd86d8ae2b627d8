"""Limits against harm: over a job limit nothing is applied, over an agent's own limit only that agent waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.guard import Limits, Populations, collapsed, judge
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


# ---- properties -----------------------------------------------------------------------------------------------------

SMALL = st.builds(Limit.parse, st.sampled_from(["0", "1", "2", "50%", "1 or 25%", "3 or 10%"]))
LIMITED = st.builds(
    Limits, create=SMALL, update=SMALL, cancel=SMALL, delete=SMALL, agent_cancel=SMALL,
    cap=st.integers(0, 6), pace=st.booleans(),
)  # fmt: skip
PEOPLED = st.builds(
    Populations,
    linked=st.integers(0, 30),
    records=st.integers(0, 30),
    linked_by_agent=st.dictionaries(st.sampled_from([ANN, BOB]), st.integers(0, 20)),
    events_by_agent=st.dictionaries(st.sampled_from([ANN, BOB]), st.integers(0, 3)),
)
PLANS = st.lists(
    st.tuples(st.sampled_from(list(Action)), st.sampled_from([ANN, BOB, None]), st.booleans()), max_size=25
)


@given(PLANS, LIMITED, PEOPLED)
def test_without_violations_nothing_exceeds_its_allowance_but_what_was_approved(
    plan: list[tuple[Action, str | None, bool]], limits: Limits, population: Populations
) -> None:
    made = [
        Delta(action=action, side=Side.CRM, key=str(n), kind=Kind.FIELD_DRIFT, severity=Severity.HIGH, agent=agent)
        for n, (action, agent, _) in enumerate(plan)
    ]
    approved = frozenset(identity(delta) for delta, (_, _, yes) in zip(made, plan, strict=True) if yes)
    judged = judge(made, limits, population, approved)
    assert [delta.key for delta in judged.deltas] == [delta.key for delta in made]
    assert all(violation.found > violation.allowed for violation in judged.violations)
    going = [delta for delta in judged.deltas if delta.outcome is Outcome.PLANNED]
    counted = Counter(delta.action for delta in going if identity(delta) not in approved)
    refused = {violation.action for violation in judged.violations}
    ways = (limits.create, limits.update, limits.cancel, limits.delete, limits.update)
    for action, limit in zip(Action, ways, strict=True):
        of = population.records if action in {Action.CREATE, Action.LINK} else population.linked
        assert (counted[action] > limit.allowed(of, limits.cap)) == (action in refused)
    assert approved <= {identity(delta) for delta in going}
    withheld = {violation.agent for violation in judged.withheld}
    assert not [delta for delta in going if delta.agent in withheld and identity(delta) not in approved]


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
