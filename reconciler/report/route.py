"""The part of a period that one team may see: its agents' findings, writes and calendars, and nobody else's name.

Pure. What is kept is narrowed before anything is said of it. Other people of the brokerage who stand in a value or a
sentence of what is kept become "another agent"; of runs there are numbers, which name nobody.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from reconciler.model import Kind, Side
from reconciler.report.recorded import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.model import Acceptance, Change, Fields, Finding, Value
    from reconciler.report.recorded import Fix, PastRun, Place, Recorded, Taken, Told, Tracked, Watched

OTHER: Final = "another agent"

_RUN: Final = re.compile(r"[^\W_]+")
_ADDRESS: Final = re.compile(r"(?<![\w.+%-])[\w.+%-]+@[\w-]+(?:\.[\w-]+)*")
_SHORTEST: Final = 3
"""Letters of a name in the CRM that is looked for in sentences; a shorter one, or a number, stands in any of them."""

_TIMES: Final = frozenset({"start", "end", "all_day"})
_NUMBERS: Final = (
    "format_version",
    "job",
    "run",
    "dry_run",
    "status",
    "window",
    "digest",
    "counts",
    "balance",
    "consent",
)
"""What of a run's result names nobody."""

_LED_ELSEWHERE: Final = (
    "Its key leads to a CRM record that belongs to another agent, to another event, or is not the only one."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Whose part it is. `own` and `others` hold every address, alias and CRM name of these and of all other agents.

    Whoever has an address in one of `domains` is one of the brokerage too. `is_strict` where nobody could say who the
    others are: then nobody is named but `own` and the clients of a record. `has_days` where days were read for exactly
    these agents. `notes` say what is wrong with how the part is named.
    """

    name: str
    own: frozenset[str]
    others: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()
    is_strict: bool = False
    has_days: bool = False
    notes: tuple[str, ...] = ()

    def holds(self, agent: str | None) -> bool:
        """Tell whether an agent is one of this part."""
        return agent is not None and folded(agent) in self.own

    def concerns(self, agent: str | None) -> bool:
        """Tell whether something about an agent, or about nobody in particular, may be of this part."""
        return agent is None or self.holds(agent)


def narrowed(recorded: Recorded, part: Part) -> Recorded:
    """Return what `part` may see of a period."""
    view = _View(part)
    return replace(
        recorded,
        part=part.name,
        has_days=recorded.has_days and part.has_days,
        days=recorded.days if part.has_days else (),
        runs=tuple(view.run(run) for run in recorded.runs),
        last=view.run(recorded.last) if recorded.last else None,
        attempted=view.run(recorded.attempted) if recorded.attempted else None,
        before=view.run(recorded.before) if recorded.before else None,
        calendars=tuple(view.watched(each) for each in recorded.calendars if part.holds(each.place.agent)),
        findings=Stream(lambda: view.findings(recorded.findings)),
        fixes=Stream(lambda: (view.fix(each) for each in recorded.fixes if part.holds(each.agent))),
        told=tuple(view.told(each) for each in recorded.told),
        office_of={agent: office for agent, office in recorded.office_of.items() if part.holds(agent)},
        notes=tuple(view.text(note) for note in (*recorded.notes, *part.notes)),
    )


def folded(name: str) -> str:
    """Spell a name as names are compared, with as many letters as it has."""
    lower = name.strip().lower()
    return lower if len(lower) == len(name.strip()) else "".join(_lower(letter) for letter in name.strip())


def _lower(letter: str) -> str:
    return lower if len(lower := letter.lower()) == 1 else letter


# ---- names in text --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Names:
    """The names that are looked for in text, by their first letters: a brokerage may have very many."""

    part: Part
    by_run: dict[str, list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for name in sorted(self.part.own | self.part.others, key=lambda name: (-len(name), name)):
            first = _RUN.search(name)
            if first and ("@" in name or (len(name) >= _SHORTEST and not name.isdigit())):
                self.by_run[first[0]].append((name, first.start()))

    def found(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield where names stand in a folded text, each from where to where; the longest where several fit."""
        free = 0
        for run in _RUN.finditer(text):
            for name, offset in self.by_run.get(run[0], ()):
                start = run.start() - offset
                if start >= free and self._stands(text, start, name):
                    free = start + len(name)
                    yield start, free, name
                    break

    def _stands(self, text: str, start: int, name: str) -> bool:
        end = start + len(name)
        is_whole = not text[end : end + 1].isalnum() and not text[max(start - 1, 0) : start].isalnum()
        return is_whole and text.startswith(name, start) and not ("@" in name and _goes_on(text, start))


def _goes_on(text: str, start: int) -> bool:
    """Tell whether what stands before belongs to the same address: then it is another one."""
    return start > 1 and text[start - 1] in ".+-_" and text[start - 2].isalnum()


# ---- what is seen of it ---------------------------------------------------------------------------------------------


class _View:
    """What one part sees of anything."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._names = _Names(part)

    def text(self, value: str) -> str:
        """Return a sentence without the names of other people of the brokerage."""
        kept, at = [], 0
        for start, end, name in self._names.found(_folded_in_place(value)):
            kept += [value[at:start], OTHER if name in self._part.others else value[start:end]]
            at = end
        return _ADDRESS.sub(lambda found: self._address(found[0]), "".join([*kept, value[at:]]))

    def _address(self, address: str) -> str:
        is_named = folded(address) in self._part.own or not (self._part.is_strict or self._is_ours(address))
        return address if is_named else OTHER

    def _is_ours(self, address: str) -> bool:
        host = folded(address).rpartition("@")[2]
        return any(host == domain or host.endswith(f".{domain}") for domain in self._part.domains)

    def value(self, name: str, value: Value) -> Value:
        """Return one value of the field `name`."""
        match value:
            case tuple():
                return tuple(dict.fromkeys(self._person(name, each) for each in value))
            case str() if name == "agent":
                return value if not value or folded(value) in self._part.own else OTHER
            case str() if name == "contact":
                return self._person(name, value)
            case str() if name not in _TIMES:
                return self.text(value)
            case _:
                return value

    def _person(self, name: str, address: str) -> str:
        """Return who is named: a client is no secret to whoever has the appointment, a colleague elsewhere is."""
        who = folded(address)
        if who in self._part.own:
            return address
        is_client = name == "contact" and who not in self._part.others and not self._is_ours(who)
        return address if is_client and "@" in address else self.text(address)

    def fields(self, values: Fields) -> Fields:
        """Return what a side holds."""
        return {name: self.value(name, value) for name, value in values.items()}

    def changes(self, values: Mapping[str, Change]) -> Mapping[str, Change]:
        """Return what differs."""
        return {name: (self.value(name, one), self.value(name, other)) for name, (one, other) in values.items()}

    # ---- findings and writes

    def findings(self, found: Iterable[Tracked]) -> Iterator[Tracked]:
        """Yield the part's findings, and what nobody could see of the whole job."""
        for tracked in found:
            finding = tracked.finding
            if self._part.holds(finding.agent) or (finding.agent is None and finding.kind is Kind.COVERAGE_GAP):
                yield self._tracked(tracked)

    def _tracked(self, tracked: Tracked) -> Tracked:
        is_elsewhere = tracked.finding.kind is Kind.AMBIGUOUS and tracked.finding.tier is None
        finding = self._finding(tracked.finding)
        return replace(
            tracked,
            finding=_without_record(finding) if is_elsewhere else finding,
            taken=() if is_elsewhere else tuple(self._taken(each) for each in tracked.taken),
            accepted=self._accepted(tracked.accepted) if tracked.accepted else None,
            place=self._place(tracked.place),
        )

    def _finding(self, finding: Finding) -> Finding:
        return replace(
            finding,
            why=self.text(finding.why),
            fields=self.changes(finding.fields),
            has={side: self.fields(values) for side, values in finding.has.items()},
            clues=tuple(self.text(clue) for clue in finding.clues),
        )

    def _taken(self, taken: Taken) -> Taken:
        return replace(taken, why=self.text(taken.why), fields=self.changes(taken.fields))

    def _accepted(self, accepted: Acceptance) -> Acceptance:
        return replace(accepted, by=self.text(accepted.by), why=self.text(accepted.why))

    def _place(self, place: Place | None) -> Place | None:
        return place if place is not None and self._part.holds(place.agent) else None

    def fix(self, fix: Fix) -> Fix:
        """Return a write of the part."""
        return replace(fix, key=self.text(fix.key), before=self.fields(fix.before), after=self.fields(fix.after))

    # ---- runs, calendars, reports

    def run(self, run: PastRun) -> PastRun:
        """Return a run: how it went, in numbers, and what it says of the part."""
        said = {name: run.result[name] for name in _NUMBERS if name in run.result}
        exceeded = run.result.get("violations") or ()
        said["violations"] = [self._violation(each) for each in exceeded if self._part.concerns(each.get("agent"))]
        return replace(run, why=self.text(run.why) if run.why else run.why, result=said)

    def _violation(self, violation: Mapping[str, Any]) -> dict[str, Any]:
        return {**violation, "why": self.text(str(violation.get("why") or ""))}

    def watched(self, watched: Watched) -> Watched:
        """Return a calendar of the part."""
        return replace(watched, why=self.text(watched.why)) if watched.why else watched

    def told(self, told: Told) -> Told:
        """Return an earlier report."""
        return replace(told, why=self.text(told.why)) if told.why else told


def _folded_in_place(text: str) -> str:
    """Return `text` with every letter in its place, as names are compared."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(_lower(letter) for letter in text)


def _without_record(finding: Finding) -> Finding:
    """Leave out the record that a key led to: it may be anybody's."""
    seen: dict[Side, Fields] = {side: fields for side, fields in finding.has.items() if side != Side.CRM}
    return replace(finding, why=_LED_ELSEWHERE, crm_id=None, fields={}, has=seen)
