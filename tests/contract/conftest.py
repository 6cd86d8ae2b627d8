"""The stand-in Google with two agents, and the provider's client for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.simulator.google import GoogleSimulator
from tests.contract.google_client import ANN, BOB, CHICAGO, Client, Clients, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[GoogleSimulator]:
    with GoogleSimulator(seed=7, clock=clock) as server:
        for address in (ANN, BOB):
            server.calendar(address, CHICAGO)
        yield server


@pytest.fixture
def clients(server: GoogleSimulator) -> Iterator[Clients]:
    made: list[Client] = []

    def make(subject: str = ANN, *, of: GoogleSimulator | None = None, token: str = "") -> Client:
        where = of or server
        made.append(Client(where, token or where.token(subject)))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def ann(clients: Clients) -> Client:
    return clients(ANN)


@pytest.fixture
def bob(clients: Clients) -> Client:
    return clients(BOB)
