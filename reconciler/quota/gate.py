"""Who must be left alone just now: one agent or the whole project, for the provider said so or refuses too much."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from reconciler.sources.answers import Level

WINDOW: Final = 60.0
LEAST: Final = 50
# Google's guides draw the line at 5 %, where they speak of one client alone with its quota. Here the live integration
# spends from the same project: a few refusals are its peaks, each is waited out by itself, and the calls in between
# are served. From a tenth on, what we send mostly makes it worse.
TOO_MANY: Final = 0.1
OPEN: Final = 30.0
EARLY: Final = 0.001  # seconds: a sleep may end that much before its instant, and is not worth another
PROBING: Final = 0.25
"""Seconds after which those who wait for the outcome of a probe look again."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why an attempt can't be sent yet, as a clause, and for how many seconds. `spread`: many wait for that instant."""

    seconds: float
    why: str
    spread: bool = False


class Gate:
    """The pauses and the circuit breaker of one server. Not safe by itself: its owner holds the lock."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._paused = 0.0
        self._agents: dict[str, float] = {}
        self._open = False
        self._until = 0.0
        self._probing = False
        self._seconds: deque[list[int]] = deque()  # [second, attempts, of them throttled] of the last minute

    def hold(self, agent: str, now: float) -> Hold | None:
        """Say what keeps an attempt for this agent back."""
        about = now + EARLY
        if self._open and about < self._until:
            return Hold(self._until - now, f"{self._name} refuses too many requests and is left alone", spread=True)
        if self._open and self._probing:
            return Hold(PROBING, f"{self._name} refused too many requests and is tried with one")
        if about < self._paused:
            return Hold(self._paused - now, f"{self._name} asked to be left alone", spread=True)
        if about < (until := self._agents.get(agent, now)):
            return Hold(until - now, f"{self._name} asked to be left alone for this agent")
        return None

    def enter(self, now: float) -> bool:
        """Count an attempt that is being sent; tell whether it is the one that an open circuit is tried with."""
        second = int(now)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0])
            self._shed(now)
        self._seconds[-1][1] += 1
        if self._open:
            self._probing = True
        return self._open

    def served(self) -> None:
        """Note that the probe was answered and not refused for haste: the circuit closes."""
        self._open = self._probing = False
        self._seconds.clear()

    def abandoned(self, *, probe: bool) -> None:
        """Note that nothing was learned: an open circuit stays open and is tried with the next attempt."""
        self._probing = self._probing and not probe

    def throttled(self, now: float, level: Level, agent: str, *, pause: float, probe: bool) -> None:
        """Note a refusal: leave that agent or the project alone, and everything if there were too many."""
        self._pause(level, agent, now + pause)
        if self._seconds:
            self._seconds[-1][2] += 1
        if probe or self._too_many(now):
            self._open, self._until = True, max(self._until, now + max(OPEN, pause))
            self._probing = self._probing and not probe

    def forget(self, now: float) -> None:
        """Drop pauses that are over."""
        self._agents = {agent: until for agent, until in self._agents.items() if until > now}

    def _pause(self, level: Level, agent: str, until: float) -> None:
        match level:
            case Level.AGENT:
                self._agents[agent] = max(until, self._agents.get(agent, until))
            case Level.PROJECT:
                self._paused = max(until, self._paused)

    def _too_many(self, now: float) -> bool:
        self._shed(now)
        attempts, throttled = (sum(entry[column] for entry in self._seconds) for column in (1, 2))
        return attempts >= LEAST and throttled > attempts * TOO_MANY

    def _shed(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] < int(now - WINDOW):
            self._seconds.popleft()
