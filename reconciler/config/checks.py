"""Mistakes that no section shows by itself: what contradicts, what can't work, what would quietly do nothing.

A check sees only sections that are valid by themselves; one whose section is not is left out, never guessed.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from reconciler.config.crm import Crm, CsvCrm, SqlCrm, StatusMap
from reconciler.config.secret import StateUrl
from reconciler.config.sections import Budget, Policy, Report, WindowSection
from reconciler.config.sources import Ics, Source
from reconciler.config.values import nearest, one_of, shown
from reconciler.errors import Problem
from reconciler.model import Action, Direction

Problems = Iterator[Problem]
MAY_SHARE_A_COLUMN: Final = {"version", "updated"}


def contradictions(sections: Mapping[str, Any], labels: Sequence[str]) -> Problems:
    """Yield what is wrong between and within the valid `sections`; `labels` name the sources that are among them."""
    for needs, check in CHECKS:
        if all(need in sections for need in needs):
            yield from check(*(sections[need] for need in needs))
    yield from _sources(dict(zip(labels, sections.get("source", ()), strict=True)), sections.get("crm"))


def _window(window: WindowSection) -> Problems:
    if window.settle >= window.past + window.future:
        yield Problem("window.settle", "is as long as the whole window, so nothing would ever be settled", 'try "10m"')


def _columns(crm: Crm) -> Problems:
    roles: dict[str, list[str]] = {}
    for role, column in crm.columns.mapped.items():
        roles.setdefault(column.lower(), []).append(role)
    for column, sharing in roles.items():
        if len(sharing) > 1 and not set(sharing) <= MAY_SHARE_A_COLUMN:
            yield Problem(
                "crm.columns", f"{' and '.join(sharing)} share the column {shown(column)}", "each needs its own"
            )


def _status(crm: Crm) -> Problems:
    if crm.columns.status and not crm.status:
        yield Problem(
            "crm.status",
            "is required, because columns names a status column",
            'status = { confirmed = "scheduled", cancelled = "cancelled" }',
        )
    if crm.status and not crm.columns.status:
        yield Problem(
            "crm.columns.status", "is required, because crm.status says what the values mean", 'status = "status"'
        )
    if crm.status:
        yield from _shared_statuses(crm.status)


def _shared_statuses(status: StatusMap) -> Problems:
    live = {*status.confirmed, *status.tentative}
    for name, values, others in (
        ("cancelled", status.cancelled, live | set(status.closed)),
        ("closed", status.closed, live),
    ):
        for value in set(values) & others:
            yield Problem(f"crm.status.{name}", f"{shown(str(value))} already means something else", "one meaning each")


def _written_columns(crm: Crm) -> Problems:
    if not isinstance(crm, SqlCrm):
        return
    mapped = {column.lower(): role for role, column in crm.columns.mapped.items()}
    for column in crm.set:
        if column.lower() in mapped:
            yield Problem(
                f"crm.set.{column}", f"is the column of {mapped[column.lower()]}, which the job writes itself"
            )
    for role in crm.lookup:
        if role not in crm.columns.mapped:
            yield Problem(f"crm.lookup.{role}", "has no column to look up", f"name it in columns.{role}")


def _compare(crm: Crm, policy: Policy) -> Problems:
    if "compare" not in policy.model_fields_set:
        return
    for word in policy.compare:
        if word not in crm.columns.comparable:
            yield Problem(
                "policy.compare", f'"{word}" has no column in the CRM', f"map it in crm.columns.{word}, or leave it out"
            )


def _allow(crm: Crm, policy: Policy) -> Problems:
    if policy.sync is Direction.CRM_TO_CALENDAR:
        return  # what is allowed is done to calendars
    if isinstance(crm, CsvCrm):
        if policy.allow:
            yield Problem("policy.allow", "must be empty: a CSV export can only be read", "remove it; the job reports")
        return
    if Action.CANCEL in policy.allow and not (crm.status and crm.status.cancelled and crm.columns.status):
        yield Problem(
            "policy.allow",
            'has "cancel", but the CRM has no way to say cancelled',
            'map crm.columns.status and crm.status.cancelled, or allow "delete" in its place',
        )
    if policy.remove == "delete" and policy.allow and Action.DELETE not in policy.allow:
        yield Problem("policy.remove", 'is "delete", which policy.allow does not have', 'add "delete" to policy.allow')


def _state(state: StateUrl, crm: Crm) -> Problems:
    if isinstance(crm, SqlCrm) and state.literal and state.reveal({}) == (crm.url.literal and crm.url.reveal({})):
        yield Problem(
            "state", "is the CRM's own database", "the state needs one of its own, like sqlite:///var/acme.db"
        )


def _direction(policy: Policy, source: tuple[Source, ...]) -> Problems:
    if policy.sync is not Direction.CALENDAR_TO_CRM and all(isinstance(one, Ics) for one in source):
        yield Problem(
            "policy.sync", f'"{policy.sync}" writes to calendars, and ICS can only be read', 'write "calendar-to-crm"'
        )


_FILES: Final = frozenset({"csv", "ics"})
_ONE_ACCOUNT: Final = "a CRM is written to for all agents by one account"


def _budget(budget: dict[str, Budget], source: tuple[Source, ...], crm: Crm, report: Report) -> Problems:
    used = {crm.kind, *(one.kind for one in source), *(["webhook"] if report.webhook else [])}
    kinds = sorted(used - _FILES)
    for name, table in budget.items():
        if name in used & _FILES:
            yield Problem(f"budget.{name}", "limits nothing: files and feeds are read without a budget", "remove it")
        elif name not in kinds:
            hint = nearest(name, kinds) or (one_of(kinds) if kinds else "remove it")
            yield Problem(f"budget.{name}", "is no provider or CRM of this job", hint)
        elif name in {crm.kind, "webhook"} and table.per_agent_minute is not None:
            what = "can't be kept: " + ("what is sent there is no agent's" if name == "webhook" else _ONE_ACCOUNT)
            yield Problem(f"budget.{name}.per_agent_minute", what, "set per_minute or per_day")


def _report(report: Report) -> Problems:
    if report.route and not report.mail:
        yield Problem("report.route", "needs report.mail: the server and the sender are named there")
    if report.webhook and report.webhook.format == "json" and report.webhook.secret is None:
        yield Problem("report.webhook.secret", "is required: by what would the receiver know us?", 'secret = "env:KEY"')
    for number, route in enumerate(report.route, 1):
        if not route.agent and not route.office:
            key = "report.route" if len(report.route) == 1 else f"report.route[{number}]"
            yield Problem(key, "names neither agent nor office", 'office = "north"; report.mail gets the whole report')


def _sources(sources: Mapping[str, Source], crm: Crm | None) -> Problems:
    names = Counter(source.name for source in sources.values())
    for label, source in sources.items():
        if names[source.name] > 1:
            yield Problem(
                f"{label}.name", f'"{source.name}" names another source too', 'give each its own: name = "north"'
            )
        if source.agents and source.agents.query and isinstance(crm, CsvCrm):
            yield Problem(
                f"{label}.agents.query", "needs a SQL CRM to run on", 'write agents = { file = "agents.csv" }'
            )
        if isinstance(source, Ics):
            yield from _ics(label, source)


def _ics(label: str, source: Ics) -> Problems:
    places = [key for key, value in (("path", source.path), ("url", source.url)) if value is not None]
    if source.agents is not None:
        for key in [*places, *(["agent"] if source.agent else [])]:
            yield Problem(f"{label}.{key}", "can't stand beside agents", "the agents file has a calendar column for it")
        if source.agents.listed:
            hint = 'write agents = { file = "agents.csv" } with a column calendar, or one source for each agent'
            yield Problem(f"{label}.agents", "does not say where each calendar is", hint)
        return
    if source.agent is None:
        yield Problem(f"{label}.agent", "is required: whose calendar is it?", 'agent = "dee@acme.example"')
    if len(places) != 1:
        what = "names two places" if places else "names no calendar"
        yield Problem(label, what, 'write path = "dee.ics" or url = "env:DEE_ICS", one of them')
    if source.allow_private and not source.url:
        yield Problem(f"{label}.allow_private", "is about url, and there is none", "remove it")


CHECKS: Final[tuple[tuple[tuple[str, ...], Callable[..., Problems]], ...]] = (
    (("window",), _window),
    (("crm",), _columns),
    (("crm",), _status),
    (("crm",), _written_columns),
    (("crm", "policy"), _compare),
    (("crm", "policy"), _allow),
    (("state", "crm"), _state),
    (("policy", "source"), _direction),
    (("budget", "source", "crm", "report"), _budget),
    (("report",), _report),
)
