"""`reconcile state forget`: what is kept about a person is kept no more, in the state and in files of reports."""

from __future__ import annotations

import shlex
import unicodedata
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli import folders, logs, screen
from reconciler.cli.world import Format, load_job
from reconciler.errors import Problem, UsageError
from reconciler.report.words import bounded, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.agents import Directory
    from reconciler.cli.folders import Searched
    from reconciler.cli.world import Call, Named
    from reconciler.store.erasing import Room
    from reconciler.store.scrubbing import Terms
    from reconciler.store.state import State
    from reconciler.store.subject import Person

PARTIAL: Final = 5
PAUSE: Final = 0.05
"""Seconds between two steps, in which others write: SQLite gives nobody a turn, who waits looks again now and then."""
_SHORTEST: Final = 4
"""Characters of a name: a shorter one is in too many words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line said: who, by which names besides, and which folders of reports are looked through."""

    address: str
    names: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What forgetting came to: rows by table, report files that went or stayed, and the room in the file.

    `is_rest` tells that they were asked to be forgotten before: what was found is what that left, or came since.
    """

    counts: Mapping[str, int]
    is_rest: bool
    files: Searched
    stayed: tuple[str, ...] = ()
    room: Room | None = None

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing is left of what was found."""
        return not (self.stayed or self.files.unread or (self.room and not self.room.is_flushed))


# ---- forget ---------------------------------------------------------------------------------------------------------


@logs.told("state forget")
def forget(call: Call, asked: Asked, argument: str | None) -> int:
    """Forget a person. Needs the state database; agents are read where the job file has them."""
    from reconciler.store.state import open_state

    named = load_job(call, argument)
    places = [folders.folder_of(call.world.cwd, word) for word in asked.reports]
    people = people_of(call, named)
    person = person_of(asked, people, named, of_us=False)
    state = open_state(named.job.state.reveal(call.world.environ), named.job.name)
    try:
        terms = _terms(state, named, people, call)
        files = folders.search(places, person)
        if asked.dry_run:
            done = _counted(state, person, terms, files)
        else:
            done = _forgotten(state, person, terms, files, lambda: call.world.sleep(PAUSE))
    finally:
        state.engine.dispose()
    call.event.add(forgotten=0 if asked.dry_run else sum(done.counts.values()))
    if call.common.format is Format.JSON:
        screen.write_json(_as_json(named, asked, done))
    elif not call.common.quiet:
        screen.write("\n".join(_lines(named, asked, done)))
    return 0 if asked.dry_run or done.is_whole else PARTIAL


def _counted(state: State, person: Person, terms: Terms, files: Searched) -> Done:
    from reconciler.store import forgetting

    is_rest = forgetting.is_asked(state, person)
    return Done(counts=forgetting.count(state, person, terms), is_rest=is_rest, files=files)


def _forgotten(state: State, person: Person, terms: Terms, files: Searched, pause: Callable[[], None]) -> Done:
    """Forget them in the state while no run is at work, then in the files. Raises LockedError."""
    from reconciler.store import erasing, forgetting
    from reconciler.store.database import run_lock

    with ExitStack() as stack:
        crm = forgetting.crm_of(state)
        is_held = stack.enter_context(run_lock(state.engine, crm)) if crm else _never_lost
        is_rest = forgetting.is_asked(state, person)
        try:
            counts = forgetting.forget(state, person, terms, is_held, pause)
        except KeyboardInterrupt:
            screen.say("Stopped before all was forgotten; no run does the rest: the same command does, typed again.")
            raise
        stayed = tuple(map(str, folders.remove(files)))
        room = erasing.rewrite(state.engine)
        return Done(counts=counts, is_rest=is_rest, files=files, stayed=stayed, room=room)


def _never_lost() -> bool:
    return True


def _terms(state: State, named: Named, people: Directory, call: Call) -> Terms:
    from reconciler import normalise
    from reconciler.store import state as states
    from reconciler.store.scrubbing import Terms

    policy = named.job.policy
    with state.engine.connect() as connection:
        shape = states.shape(connection, state)
    return Terms(
        compare=normalise.compared(policy.compare, shape) if shape else (),
        is_ours=lambda who: who in people.people or who.rpartition("@")[2] in policy.internal_domains,
        now=call.world.clock(),
    )


def _as_json(named: Named, asked: Asked, done: Done) -> dict[str, Any]:
    return {
        "job": named.job.name,
        "dry_run": asked.dry_run,
        "changed": dict(done.counts),
        "asked_before": done.is_rest,
        "reports": {
            "looked_at": done.files.looked_at,
            "named": list(map(str, done.files.found)),
            "unread": list(map(str, done.files.unread)),
            "stayed": list(done.stayed),
        },
        "rewritten": done.room.is_flushed if done.room else None,
    }


def _lines(named: Named, asked: Asked, done: Done) -> Iterator[str]:
    who, job = bounded(asked.address), named.job.name
    total = sum(done.counts.values())
    if asked.dry_run:
        yield f"{job}: {plural(total, 'row')} would be changed or dropped to forget {who}; nothing was."
    else:
        yield f"{job}: {who} is forgotten; {plural(total, 'row')} were changed or dropped."
    yield from (f"  {count:>9,}  {name}" for name, count in done.counts.items())
    if done.is_rest and total:
        yield "It was asked for before: this is what an earlier call had left to do when it ended, or what came since."
    yield from _said_of_files(asked, done)
    if asked.dry_run:
        options = [word for name in asked.names for word in ("--name", bounded(name))]
        options += [word for folder in asked.reports for word in ("--reports", bounded(folder, 1000))]
        again = shlex.join(["reconcile", "state", "forget", who, "--job", named.word, *options])
        yield f"To do it:    {again}"
        return
    if done.room and not done.room.is_flushed:
        yield "The state's file could not be rewritten, because something uses it: run the same command once more."
    yield "From now on reads keep the time of appointments with them, and nothing else. Backups hold what they held."


def _said_of_files(asked: Asked, done: Done) -> Iterator[str]:
    files = done.files
    if asked.reports:
        yield f"Reports: {len(files.found)} of {files.looked_at} name them."
    for path in files.found:
        left = str(path) in done.stayed
        says = "would go" if asked.dry_run else "could not be removed" if left else "removed"
        yield f"  {says}: {bounded(str(path), 300)}"
    for path in files.unread:
        yield f"  could not be read, and stays: {bounded(str(path), 300)}"


# ---- who ------------------------------------------------------------------------------------------------------------


def people_of(call: Call, named: Named) -> Directory:
    """Return who the people of the job are; where they are a query on its CRM, that is asked."""
    from reconciler import assembly

    return assembly.people_of(named.job, call.world.environ)


def person_of(asked: Asked, people: Directory, named: Named, *, of_us: bool) -> Person:
    """Return who is meant. Raises UsageError for what is no address, and for one of us who can't be forgotten."""
    from reconciler.agents import names_of
    from reconciler.store.subject import Person

    address = unicodedata.normalize("NFC", asked.address.strip()).lower()
    if "@" not in address.strip("@") or any(letter.isspace() for letter in address):
        raise UsageError(str(Problem("EMAIL", f"{bounded(address, 60)} is no address", "e.g. jane@client.example")))
    short = next((name for name in asked.names if len(name.strip()) < _SHORTEST), None)
    if short is not None:
        hint = f"a name of {_SHORTEST} letters or more, first and last name"
        raise UsageError(str(Problem("--name", f"{bounded(short, 20)!r} is in too many words", hint)))
    agent = people.agent_of(address)
    if agent is None:
        return Person([address], asked.names)
    if not of_us:
        raise UsageError(
            f"{bounded(agent.email)} is an agent of {named.job.name}, whose calendar it compares: take them out of the "
            "job file, or out of its list of agents, and let a run see that; then they can be forgotten."
        )
    return Person([address, *(name for name in names_of(agent) if "@" in name)], asked.names)
