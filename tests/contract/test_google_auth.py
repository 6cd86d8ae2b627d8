"""Tokens of Google against the stand-in: few requests, the least rights, and sentences that say what to do."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from reconciler.config import Google, load
from reconciler.errors import AccessError, ConfigError
from reconciler.quota import Budget, Quota, Scope
from reconciler.simulator.google import READ, ROBOT, WRITE, Fault, GoogleSimulator, Harm
from reconciler.simulator.loopback import Answer, Loopback, Request
from reconciler.sources.answers import DeniedError, ParkedError, PostponedError, TransientError
from reconciler.sources.google_auth import tokens_for
from reconciler.sources.google_grants import Sender
from reconciler.sources.tokens import StaticTokens, Tokens
from reconciler.sources.wire import Wire

ANN, BOB = "ann@acme.example", "bob@acme.example"
NOW = datetime(2026, 11, 22, 20, tzinfo=UTC)
JOB = """
name = "acme"
state = "sqlite:///acme.db"
[[source]]
kind = "google"
agents = ["ann@acme.example"]
auth = {auth}
[crm]
kind = "csv"
path = "crm.csv"
time = "utc"
columns = {{ id = "id", agent = "agent", start = "start", end = "end" }}
"""


@dataclass
class Clock:
    """Time that passes when somebody sleeps, or a test says so."""

    now: datetime = NOW
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


@dataclass
class Office:
    """A stand-in, its clock, and a folder where job files and keys lie."""

    server: GoogleSimulator
    clock: Clock
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    wire: Wire = field(default_factory=Wire)

    def __post_init__(self) -> None:
        self.quota = Quota("google", Budget(), None, clock=self.clock.seconds, sleep=self.clock.sleep)
        for agent in (ANN, BOB):
            self.server.calendar(agent)

    def key(self, name: str = "google.json", **changes: Any) -> str:
        """Write a key file; what is changed to None is left out."""
        info = {**self.server.service_account_info(), **changes}
        text = json.dumps({name: value for name, value in info.items() if value is not None})
        (self.folder / name).write_text(text)
        return f"file:{name}"

    def tokens(self, auth: str) -> Tokens:
        """Return the tokens of a job file that says `auth`."""
        path = self.folder / "acme.toml"
        path.write_text(JOB.format(auth=auth))
        [table] = load(path, self.environ).sources
        assert isinstance(table, Google)
        return tokens_for(table.auth, self.environ, Sender(self.wire, self.quota, self.clock.seconds))

    def delegated(self) -> Tokens:
        return self.tokens(f'{{ service_account = "{self.key()}" }}')

    def keyless(self, beside: str = "") -> Tokens:
        uris = f'token_uri = "{self.server.token_uri}", iam_uri = "{self.server.iam_uri}"'
        return self.tokens(f'{{ impersonate = "{ROBOT}", {uris}{beside} }}')

    def asked(self, kind: str = "token") -> int:
        return len(self.server.requests(kind))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    clock = Clock()
    with GoogleSimulator(clock=clock) as server:
        office = Office(server, clock, tmp_path)
        yield office
        office.wire.close()


def opened(office: Office, token: str) -> tuple[str, set[str]]:
    """Return whom a token speaks for, and what it may."""
    access = office.server.accounts._tokens[token]
    return access.subject, set(access.scopes)


def at_once(work: Callable[[int], str], threads: int = 32) -> list[str]:
    barrier = Barrier(threads, timeout=60)

    def begin(number: int) -> str:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))


def refused(tokens: Tokens, agent: str = ANN, *, write: bool = False) -> str:
    with pytest.raises(AccessError) as caught:
        tokens.token(agent, write=write)
    return str(caught.value)


# ---- how many requests ----------------------------------------------------------------------------------------------


def test_thirty_two_threads_that_want_one_agents_token_ask_for_it_once(office: Office) -> None:
    tokens = office.delegated()
    assert len(set(at_once(lambda _: tokens.token(ANN)))) == 1
    assert office.asked() == 1
    assert office.quota.attempts == {Scope.TOKEN: 1}


def test_each_agent_has_a_token_of_his_own(office: Office) -> None:
    agents = [f"agent{number}@acme.example" for number in range(32)]
    for agent in agents:
        office.server.calendar(agent)
    tokens = office.delegated()
    assert not tokens.shared
    got = at_once(lambda number: tokens.token(agents[number]))
    assert [opened(office, token) for token in got] == [(agent, {READ}) for agent in agents]
    assert office.asked() == 32


def test_a_token_is_used_for_its_hour_and_renewed_five_minutes_before_its_end(office: Office) -> None:
    tokens = office.delegated()
    first = tokens.token(ANN)
    office.clock.now += timedelta(minutes=54)
    assert tokens.token(ANN) == first
    office.clock.now += timedelta(minutes=1)
    renewed = set(at_once(lambda _: tokens.token(ANN)))
    assert first not in renewed
    assert (len(renewed), office.asked()) == (1, 2)


def test_one_robot_has_one_token_for_all_agents(office: Office) -> None:
    tokens = office.tokens(f'{{ service_account = "{office.key()}", delegate = false }}')
    assert tokens.shared
    [token] = set(at_once(lambda number: tokens.token([ANN, BOB][number % 2])))
    assert opened(office, token) == (ROBOT, {READ})
    assert office.asked() == 1


def test_a_token_as_it_is_costs_nothing_and_there_is_no_other(office: Office) -> None:
    office.environ["TOKEN"] = "ya29.s3cr3t"
    tokens = office.tokens('{ token = "env:TOKEN" }')
    assert tokens.shared
    assert {tokens.token(ANN), tokens.token(BOB, write=True)} == {"ya29.s3cr3t"}
    assert not tokens.forget(ANN, "ya29.s3cr3t")
    assert not StaticTokens("x", alone=True).shared
    assert office.asked() == 0


def test_without_a_key_an_agent_costs_two_requests_and_who_asks_for_signatures_one(office: Office) -> None:
    tokens = office.keyless(f', service_account = "{office.key()}"')
    got = at_once(lambda number: tokens.token([ANN, BOB][number % 2]))
    assert {opened(office, token)[0] for token in got} == {ANN, BOB}
    assert (office.asked("iam"), office.asked()) == (2, 1 + 2)
    assert office.quota.attempts == {Scope.TOKEN: 5}


def test_a_token_that_was_refused_is_renewed_once_for_all_who_held_it(office: Office) -> None:
    tokens = office.delegated()
    stale = tokens.token(ANN)

    def again(_: int) -> str:
        assert tokens.forget(ANN, stale)
        return tokens.token(ANN)

    assert len(set(at_once(again))) == 1
    assert office.asked() == 2


# ---- the least rights -----------------------------------------------------------------------------------------------


def test_reading_and_writing_have_tokens_of_their_own(office: Office) -> None:
    tokens = office.delegated()
    assert opened(office, tokens.token(ANN)) == (ANN, {READ})
    assert opened(office, tokens.token(ANN, write=True)) == (ANN, {WRITE})
    assert office.asked() == 2


def test_who_asks_for_signatures_may_do_that_alone(office: Office) -> None:
    office.keyless(f', service_account = "{office.key()}"').token(ANN)
    scopes = {access.subject: set(access.scopes) for access in office.server.accounts._tokens.values()}
    assert scopes == {ROBOT: {"https://www.googleapis.com/auth/iam"}, ANN: {READ}}


# ---- what an administrator has to do --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ["unauthorized_client", "access_denied"])
def test_delegation_that_is_not_allowed_says_what_to_allow_and_where(office: Office, error: str) -> None:
    office.server.accounts.refuse(ANN, error)
    assert refused(office.delegated()) == (
        f"Google does not let {ROBOT} act for agents ({error}). An administrator of the Workspace has to allow it: "
        "admin.google.com, Security, Access and data control, API controls, Manage domain-wide delegation, Add new, "
        f"with the client id 100000000000000000001 and the scope {READ}. It may take a day until that holds; "
        "then: reconcile check"
    )


def test_the_scope_that_is_missing_is_the_one_that_is_named(office: Office) -> None:
    office.server.accounts.allowed = {READ}
    tokens = office.delegated()
    tokens.token(ANN)
    assert f"the scope {WRITE}." in refused(tokens, write=True)


def test_without_a_key_it_is_said_how_to_find_the_client_id(office: Office) -> None:
    office.server.accounts.refuse(ANN, "unauthorized_client")
    office.environ["TOKEN"] = office.server.token()
    told = refused(office.keyless(', token = "env:TOKEN"'))
    assert f"gcloud iam service-accounts describe {ROBOT} --format='value(oauth2ClientId)'" in told


@pytest.mark.parametrize("error", ["invalid_scope", "invalid_client"])
def test_an_account_that_is_switched_off_stops_the_run(office: Office, error: str) -> None:
    office.server.accounts.refuse(ANN, error)
    assert refused(office.delegated()).startswith(f"Google refuses {ROBOT} ({error}): the account is switched off")


def test_a_robot_that_is_gone_stops_the_run(office: Office) -> None:
    office.server.accounts.refuse(ROBOT)
    told = refused(office.tokens(f'{{ service_account = "{office.key()}", delegate = false }}'))
    assert told.startswith(f"Google refuses {ROBOT} (invalid_grant): the account is switched off or deleted")


def test_a_key_that_was_deleted_stops_the_run(office: Office) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    tokens = office.tokens(f'{{ service_account = "{office.key(private_key=pem.decode())}" }}')
    assert "(invalid_grant): the key was deleted or replaced" in refused(tokens)


def test_a_clock_that_is_off_stops_the_run_rather_than_park_everybody(office: Office) -> None:
    sender = Sender(office.wire, office.quota, lambda: office.clock.seconds() - 86_400)
    path = office.folder / "acme.toml"
    path.write_text(JOB.format(auth=f'{{ service_account = "{office.key()}" }}'))
    [table] = load(path, {}).sources
    assert isinstance(table, Google)
    assert "the clock of this machine is off" in refused(tokens_for(table.auth, {}, sender))


def test_an_agent_who_is_gone_is_parked_and_the_others_are_not(office: Office) -> None:
    office.server.accounts.refuse(ANN)
    tokens = office.delegated()
    why = "the account is gone, suspended or renamed, or the clock of this machine is off"
    for _ in range(3):  # each of his calendars, one request
        with pytest.raises(ParkedError) as caught:
            tokens.token(ANN)
        assert (str(caught.value), caught.value.reason) == (f"gives no token (invalid_grant): {why}", "invalid_grant")
    assert opened(office, tokens.token(BOB))[0] == BOB
    assert office.asked() == 2


def test_a_source_that_may_not_ask_for_signatures_says_which_role_it_lacks(office: Office) -> None:
    office.environ["TOKEN"] = office.server.token(scopes={READ})
    told = refused(office.keyless(', token = "env:TOKEN"'))
    assert f"add-iam-policy-binding {ROBOT} --member MEMBER --role roles/iam.serviceAccountTokenCreator" in told


def test_a_source_whose_token_ran_out_is_said_to_be_so(office: Office) -> None:
    office.environ["TOKEN"] = "ya29.gone"
    told = refused(office.keyless(', token = "env:TOKEN"'))
    assert told.startswith("Google answered 401 authError and does not accept the credential beside impersonate")
    assert office.asked("iam") == 1


def test_a_source_whose_token_ends_early_gets_another(office: Office) -> None:
    tokens = office.keyless(f', service_account = "{office.key()}"')
    tokens.token(ANN)
    office.server.accounts.withdraw(ROBOT)
    assert opened(office, tokens.token(BOB))[0] == BOB
    assert (office.asked("iam"), office.asked()) == (3, 4)


def test_an_account_nobody_knows_is_said_to_be_misspelled(office: Office) -> None:
    office.environ["TOKEN"] = office.server.token()
    uris = f'token_uri = "{office.server.token_uri}", iam_uri = "{office.server.iam_uri}"'
    told = refused(office.tokens(f'{{ impersonate = "x@acme.example", token = "env:TOKEN", {uris} }}'))
    assert "does not sign for x@acme.example: is it spelled as" in told


# ---- the machine's own ----------------------------------------------------------------------------------------------


@contextmanager
def metadata(office: Office, answer: Answer | None = None) -> Iterator[list[Request]]:
    """Stand in for the metadata server of a machine on Google Cloud."""
    asked: list[Request] = []

    def handle(request: Request) -> Answer:
        asked.append(request)
        token = office.server.token(scopes=request.query["scopes"])
        body = json.dumps({"access_token": token, "expires_in": 3599, "token_type": "Bearer"}).encode()
        return answer or Answer(body=body)

    with Loopback(handle) as server:
        office.environ["GCE_METADATA_HOST"] = f"127.0.0.1:{server.port}"
        yield asked


def test_alone_impersonate_means_the_machines_own_credential(office: Office) -> None:
    with metadata(office) as asked:
        tokens = office.keyless()
        assert {opened(office, tokens.token(agent))[0] for agent in (ANN, BOB)} == {ANN, BOB}
    [request] = asked
    assert request.path == "/computeMetadata/v1/instance/service-accounts/default/token"
    assert request.headers["metadata-flavor"] == "Google"
    assert request.query == {"scopes": ["https://www.googleapis.com/auth/iam"]}


@pytest.mark.parametrize("answer", [Answer(status=404, body=b"no"), Answer(status=503), Answer(body=b"<html>")])
def test_a_machine_without_a_credential_says_what_to_name(office: Office, answer: Answer) -> None:
    with metadata(office, answer):
        told = refused(office.keyless())
    assert told.startswith("this machine has no Google credential of its own: ")
    assert 'token = "env:NAME" or service_account = "file:PATH"' in told


def test_what_lies_around_on_the_machine_is_never_used(
    office: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    office.key("lying-around.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "lying-around.json"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with metadata(office, Answer(status=404)):
        refused(office.keyless())
    assert (office.asked(), office.asked("iam")) == (0, 0)


# ---- when it does not work at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="token", status=503, nth=(1,)),
        Fault(kind="token", status=429, reason="rateLimitExceeded", nth=(1,)),
        Fault(kind="token", what=Harm.DROP_BEFORE, nth=(1,)),
        Fault(kind="token", what=Harm.HTML, status=200, nth=(1,)),
        Fault(kind="token", what=Harm.TORN_JSON, nth=(1,)),
        Fault(kind="token", what=Harm.TORN_GZIP, nth=(1,)),
        Fault(kind="iam", status=500, nth=(1,)),
    ],
    ids=lambda fault: f"{fault.kind} {fault.what} {fault.status}",
)
def test_what_passes_is_tried_again_by_the_quota_and_charged(office: Office, fault: Fault) -> None:
    office.environ["TOKEN"] = office.server.token()
    tokens = office.keyless(', token = "env:TOKEN"')
    office.server.faults.add(fault)
    assert opened(office, tokens.token(ANN))[0] == ANN
    sent = office.asked() + office.asked("iam")
    assert (sent, office.quota.attempts) == (3, {Scope.TOKEN: 3})
    assert len(office.clock.slept) == 1


def test_a_server_that_is_down_is_not_waited_for_by_each_calendar(office: Office) -> None:
    office.server.faults.add(Fault(kind="token", status=503))
    tokens = office.tokens(f'{{ service_account = "{office.key()}", delegate = false }}')
    for _ in range(100):
        with pytest.raises(TransientError):
            tokens.token(ANN)
    assert office.asked() == 5
    office.server.faults.clear()
    office.clock.now += timedelta(minutes=1)
    assert tokens.token(ANN)


def test_a_token_is_not_asked_for_when_there_is_no_time_left(office: Office) -> None:
    with pytest.raises(PostponedError):
        office.delegated().token(ANN, patience=lambda: 0.0)
    assert office.asked() == 0


def test_a_redirect_is_not_followed(office: Office) -> None:
    with GoogleSimulator(clock=office.clock) as elsewhere:
        fault = Fault(kind="token", what=Harm.REDIRECT, status=307, location=elsewhere.token_uri)
        office.server.faults.add(fault)
        with pytest.raises(DeniedError, match="redirect"):
            office.delegated().token(ANN)
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"access_token": "a b", "expires_in": 9}',
        b'{"access_token": "a\\r\\nb"}',
        b'{"access_token": 1}',
    ],
)
def test_what_is_no_token_is_never_used_as_one(office: Office, body: bytes) -> None:
    with Loopback(lambda _: Answer(body=body)) as server:
        key = office.key(token_uri=f"http://127.0.0.1:{server.port}/token")
        with pytest.raises(TransientError):
            office.tokens(f'{{ service_account = "{key}" }}').token(ANN)


@pytest.mark.parametrize("lifetime", ["null", "-5", '"x"', "1e400", "true", "10"])
def test_a_lifetime_that_makes_no_sense_is_no_lifetime(office: Office, lifetime: str) -> None:
    bodies = iter([f'{{"access_token": "a{number}", "expires_in": {lifetime}}}'.encode() for number in range(9)])
    with Loopback(lambda _: Answer(body=next(bodies))) as server:
        tokens = office.tokens(f'{{ service_account = "{office.key(token_uri=f"http://127.0.0.1:{server.port}/")}" }}')
        if lifetime == "1e400":
            with pytest.raises(TransientError):  # no JSON
                tokens.token(ANN)
            return
        assert tokens.token(ANN) == "a0"
        office.clock.now += timedelta(seconds=9)
        assert tokens.token(ANN) == "a1"


# ---- key files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"type": "authorized_user"}, 'is no key of a service account, whose type is "service_account"'),
        ({"type": "external_account"}, 'is no key of a service account, whose type is "service_account"'),
        ({"type": None}, 'is no key of a service account, whose type is "service_account"'),
        (
            {"credential_source": {"executable": {"command": "/bin/s3cr3t"}}},
            'is no key of a service account, whose type is "service_account"',
        ),
        ({"private_key": None}, "lacks client_email or private_key"),
        ({"client_email": 7}, "lacks client_email or private_key"),
        ({"private_key": "s3cr3t"}, "has a private_key that can't be read"),
        (
            {"token_uri": "https://evil.example/token"},
            'names a token_uri that is not used: "evil.example" is no host of google',
        ),
        ({"token_uri": {"s3cr3t": 1}}, "names a token_uri that is not used: is not a URL"),
    ],
)
def test_a_file_that_is_no_plain_key_is_refused_in_one_sentence(
    office: Office, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        office.tokens(f'{{ service_account = "{office.key(**changes)}" }}')
    [problem] = caught.value.problems
    assert problem.key == "source.auth.service_account"
    assert problem.what.startswith(f"what file:google.json holds {why}")
    assert "s3cr3t" not in str(caught.value)
    assert "BEGIN" not in str(caught.value)
    assert office.asked() == 0


@pytest.mark.parametrize("content", ["", "s3cr3t", "[]", '"s3cr3t"', "-----BEGIN PRIVATE KEY-----\ns3cr3t"])
def test_a_file_that_is_no_json_is_refused_without_being_shown(office: Office, content: str) -> None:
    (office.folder / "google.json").write_text(content)
    with pytest.raises(ConfigError) as caught:
        office.tokens('{ service_account = "file:google.json" }')
    assert "s3cr3t" not in f"{caught.value}{caught.value!r}"


def test_a_key_of_another_sort_is_found_before_the_run(office: Office) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ConfigError, match="has a private_key that can't be read"):
        office.tokens(f'{{ service_account = "{office.key(private_key=pem.decode())}" }}')


def test_where_the_environment_allows_it_a_key_may_name_another_host(office: Office) -> None:
    office.environ["RECONCILE_ALLOW_HOSTS"] = "sign-in.example"
    office.tokens(f'{{ service_account = "{office.key(token_uri="https://sign-in.example/token")}" }}')


def test_the_job_file_knows_better_than_the_key_where_tokens_are(office: Office) -> None:
    key = office.key(token_uri="https://oauth2.googleapis.com/token")
    tokens = office.tokens(f'{{ service_account = "{key}", token_uri = "{office.server.token_uri}" }}')
    assert opened(office, tokens.token(ANN))[0] == ANN


@pytest.mark.parametrize("value", ["a b", "a\nb", "a\u00e9", "x" * 9000])
def test_what_can_not_be_a_token_is_said_to_be_none(office: Office, value: str) -> None:
    office.environ["TOKEN"] = value
    with pytest.raises(ConfigError, match="what env:TOKEN holds is no access token") as caught:
        office.tokens('{ token = "env:TOKEN" }')
    assert value not in str(caught.value)


# ---- secrets --------------------------------------------------------------------------------------------------------


def test_no_representation_and_no_log_has_a_token_or_a_key(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    office.environ["TOKEN"] = office.server.token()
    office.server.accounts.refuse(BOB)
    office.server.faults.add(Fault(kind="token", status=503, nth=(1,)))
    shown = ""
    ways = (office.delegated(), office.keyless(', token = "env:TOKEN"'), office.tokens('{ token = "env:TOKEN" }'))
    for tokens in ways:
        tokens.token(ANN)
        shown += f"{tokens!r}{getattr(tokens, '_granter', '')!r}{getattr(tokens, '_kept', '')!r}"
    with pytest.raises(ParkedError) as caught:
        office.delegated().token(BOB)
    shown += f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}{caplog.text}"
    secrets = [*office.server.accounts._tokens, office.environ["TOKEN"], "PRIVATE KEY", "eyJ"]
    assert [secret for secret in secrets if secret in shown] == []
