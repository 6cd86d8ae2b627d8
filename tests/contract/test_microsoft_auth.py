"""Ways into Microsoft 365, through O365 and MSAL as they are: few requests, no files, sentences that say what to do."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Lock
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from reconciler.config import Microsoft, load
from reconciler.errors import AccessError, ConfigError
from reconciler.model import Agent, Calendar, Window
from reconciler.quota import Budget, Quota, Scope
from reconciler.simulator.graph import CLIENT, SECRET, TENANT, Fault, GraphSimulator, Harm
from reconciler.simulator.graph_sign_in import _verified
from reconciler.simulator.loopback import Answer, Loopback, Request
from reconciler.sources.answers import DeniedError, PostponedError, TransientError
from reconciler.sources.microsoft_auth import GraphAccount, account_for
from reconciler.sources.microsoft_transport import Graph

CID = "cid@acme.example"
NOW = datetime(2026, 11, 22, 20, tzinfo=UTC)
WINDOW = Window(NOW, NOW + timedelta(days=60))
JOB = """
name = "acme"
state = "sqlite:///acme.db"
[[source]]
kind = "microsoft"
agents = ["cid@acme.example"]
endpoint = "{endpoint}"
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
    lock: Lock = field(default_factory=Lock)

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        with self.lock:
            self.now += timedelta(seconds=seconds)


@dataclass
class Office:
    """A stand-in, its clock, and a folder where job files and keys lie."""

    server: GraphSimulator
    clock: Clock
    folder: Path
    environ: dict[str, str] = field(default_factory=lambda: {"MS_SECRET": SECRET})
    accounts: list[GraphAccount] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.quota = Quota("microsoft", Budget(), None, clock=self.clock.seconds, sleep=self.clock.sleep)
        self.server.mailbox(CID)

    def account(self, auth: str, endpoint: str = "") -> GraphAccount:
        """Return the account of a job file that says `auth`."""
        path = self.folder / "acme.toml"
        path.write_text(JOB.format(endpoint=endpoint or self.server.url, auth=auth))
        [table] = load(path, self.environ).sources
        assert isinstance(table, Microsoft)
        made = account_for(table.auth, table.endpoint, self.environ, self.quota, clock=self.clock.seconds)
        self.accounts.append(made)
        return made

    def application(self, credential: str = 'client_secret = "env:MS_SECRET"', **changes: str) -> GraphAccount:
        said = {"tenant": TENANT, "client_id": CLIENT, "token_uri": self.server.token_uri, **changes}
        keys = ", ".join(f'{name} = "{value}"' for name, value in said.items())
        return self.account(f"{{ {keys}, {credential} }}")

    def graph(self, account: GraphAccount) -> Graph:
        return Graph(account, self.quota, clock=self.clock.seconds)

    def read(self, graph: Graph, agent: str = CID) -> object:
        calendar = Calendar(source="outlook", kind="microsoft", agent=Agent(email=agent))
        return graph.delta(graph.target(calendar), WINDOW)

    @property
    def asked(self) -> int:
        return len(self.server.requests("token"))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    clock = Clock()
    with GraphSimulator(clock=clock) as server:
        office = Office(server, clock, tmp_path)
        yield office
        for account in office.accounts:
            account.con.close()


def token(account: GraphAccount) -> str:
    return account.tokens.token(CID)


def at_once(work: Callable[[int], str], threads: int = 32) -> list[str]:
    barrier = Barrier(threads, timeout=60)

    def begin(number: int) -> str:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))


def refused(account: GraphAccount) -> str:
    with pytest.raises(AccessError) as caught:
        token(account)
    return str(caught.value)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """Write down a private key."""
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, plain).decode()


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """Make a certificate that a key signs for itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reconciler")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=365))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


# ---- how many requests ----------------------------------------------------------------------------------------------


def test_thirty_two_threads_sign_in_once_and_each_attempt_is_charged(office: Office) -> None:
    account = office.application()
    assert len(set(at_once(lambda _: token(account)))) == 1
    assert office.asked == 1
    assert office.quota.attempts == {Scope.TOKEN: 1}
    assert account.tokens.shared


def test_a_token_is_renewed_five_minutes_before_its_end(office: Office) -> None:
    account = office.application()
    first = token(account)
    office.clock.advance(3599 - 301)
    assert token(account) == first
    office.clock.advance(1)
    assert first not in set(at_once(lambda _: token(account)))
    assert office.asked == 2


def test_an_hour_of_eight_threads_with_tokens_of_two_minutes_sees_no_expired_one(office: Office) -> None:
    threads = 8
    office.server.accounts.lifetime = timedelta(seconds=120)
    graph = office.graph(office.application())
    agents = [f"agent{number}@acme.example" for number in range(threads)]
    for agent in agents:
        office.server.mailbox(agent)
    # Nobody takes more than twenty seconds for a request: what is under way for longer may well expire on the way.
    barrier = Barrier(threads, lambda: office.clock.advance(20), timeout=60)

    def work(agent: str) -> None:
        for _ in range(180):
            office.read(graph, agent)
            barrier.wait()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, agents))
    assert office.clock.now - NOW >= timedelta(hours=1)
    assert {entry.status for entry in office.server.requests()} == {200}
    assert office.asked == 60  # one each time that half of their life is left
    assert office.quota.attempts[Scope.TOKEN] == office.asked


def test_a_token_that_was_withdrawn_is_renewed_once_and_asked_with_again_once(office: Office) -> None:
    graph = office.graph(office.application())
    office.read(graph)
    office.server.accounts.withdraw()
    office.read(graph)
    assert [entry.status for entry in office.server.requests()] == [200, 200, 401, 200]
    assert office.asked == 2


def test_a_token_that_is_refused_again_stops_the_run(office: Office) -> None:
    graph = office.graph(office.application())
    office.server.faults.add(Fault(status=401, reason="InvalidAuthenticationToken"))
    with pytest.raises(AccessError, match="Microsoft answered 401 InvalidAuthenticationToken and does not accept"):
        office.read(graph)
    assert (len(office.server.requests()), office.asked) == (2, 2)


def test_a_mailbox_that_accepts_no_token_at_all_stops_nobody_else(office: Office) -> None:
    graph = office.graph(office.application())
    office.server.faults.add(Fault(status=401, reason="UnknownError"))
    with pytest.raises(DeniedError, match=r"does not accept the token \(answered 401 UnknownError\)"):
        office.read(graph)


def test_a_token_as_it_is_asks_for_none(office: Office) -> None:
    office.environ["TOKEN"] = office.server.token()
    account = office.account('{ token = "env:TOKEN" }')
    office.read(office.graph(account))
    assert account.tokens.shared
    assert office.asked == 0


def test_a_token_as_it_is_that_ran_out_is_not_tried_twice(office: Office) -> None:
    office.environ["TOKEN"] = "eyGone"
    with pytest.raises(AccessError, match="Look at auth in the job file; then: reconcile check"):
        office.read(office.graph(office.account('{ token = "env:TOKEN" }')))
    assert len(office.server.requests()) == 1


# ---- credentials ----------------------------------------------------------------------------------------------------


def test_what_is_sent_for_a_secret_is_a_form_with_the_scope_of_graph(office: Office) -> None:
    forms: list[dict[str, list[str]]] = []

    def handle(request: Request) -> Answer:
        forms.append(parse_qs(request.body.decode()))
        return Answer(body=b'{"token_type": "Bearer", "expires_in": 3599, "access_token": "eyT"}')

    with Loopback(handle) as login:
        account = office.application(token_uri=f"http://127.0.0.1:{login.port}/{TENANT}/oauth2/v2.0/token")
        assert token(account) == "eyT"
    [form] = forms
    assert form["grant_type"] == ["client_credentials"]
    assert form["scope"] == ["https://graph.microsoft.com/.default"]
    assert (form["client_id"], form["client_secret"]) == ([CLIENT], [SECRET])


def test_a_certificate_signs_an_assertion_and_its_key_is_not_sent(office: Office, key: rsa.RSAPrivateKey) -> None:
    (office.folder / "app.pem").write_text(certificate(key) + pem(key))
    forms: list[dict[str, list[str]]] = []

    def handle(request: Request) -> Answer:
        forms.append(parse_qs(request.body.decode()))
        return Answer(body=b'{"token_type": "Bearer", "expires_in": 3599, "access_token": "eyT"}')

    with Loopback(handle) as login:
        uri = f"http://127.0.0.1:{login.port}/{TENANT}/oauth2/v2.0/token"
        assert token(office.application('certificate = "file:app.pem"', token_uri=uri)) == "eyT"
    [form] = forms
    claims = _verified(form["client_assertion"][0], [key.public_key()])
    assert (claims["iss"], claims["sub"]) == (CLIENT, CLIENT)
    assert claims["aud"] == f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"
    assert "client_secret" not in form


@pytest.mark.parametrize(
    ("holds", "what"),
    [
        ("key", "lacks a private key or a certificate"),
        ("certificate", "lacks a private key or a certificate"),
        ("others", "has a key that is not the certificate's, or not RSA"),
        ("elliptic", "has a key that is not the certificate's, or not RSA"),
        ("torn", "has a key or a certificate that can't be read"),
        ("words", "lacks a private key or a certificate"),
    ],
)
def test_a_certificate_that_can_not_sign_is_found_before_the_run(
    office: Office, key: rsa.RSAPrivateKey, holds: str, what: str
) -> None:
    other, curve = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
        ec.generate_private_key(ec.SECP256R1()),
    )
    texts = {
        "key": pem(key),
        "certificate": certificate(key),
        "others": certificate(other) + pem(key),
        "elliptic": certificate(curve) + pem(curve),
        "torn": certificate(key) + pem(key).replace("MII", "AAA", 1),
        "words": "s3cr3t",
    }
    (office.folder / "app.pem").write_text(texts[holds])
    with pytest.raises(ConfigError) as caught:
        office.application('certificate = "file:app.pem"')
    assert f"what file:app.pem holds {what}" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert office.server.connections == 0


def test_a_federated_assertion_is_read_anew_for_each_token(office: Office) -> None:
    path = office.folder / "assertion"
    path.write_text("eyFirst\n")
    office.server.accounts.trust("eyFirst")
    account = office.application('federated = "file:assertion"')
    first = token(account)
    path.write_text("eySecond")
    office.server.accounts.trust("eySecond")
    office.server.accounts._assertions.discard("eyFirst")
    office.clock.advance(3600)
    assert token(account) != first
    path.unlink()
    office.clock.advance(3600)
    assert "can't be read any more" in refused(account)


def test_a_way_in_that_is_not_there_is_found_before_the_run(office: Office) -> None:
    with pytest.raises(ConfigError, match="NOWHERE is not set"):
        office.application('client_secret = "env:NOWHERE"')
    with pytest.raises(ConfigError, match="can't be read"):
        office.application('federated = "file:nowhere"')
    office.environ["TOKEN"] = "Bearer eyT"
    with pytest.raises(ConfigError, match="is no token"):
        office.account('{ token = "env:TOKEN" }')


# ---- what an administrator has to do --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("AADSTS7000215", "(invalid_client, AADSTS7000215): the secret is none of the application's"),
        ("AADSTS7000222", "(invalid_client, AADSTS7000222): the secret has expired: make a new one"),
        ("AADSTS700016", "(unauthorized_client, AADSTS700016): no such application in this tenant"),
        ("AADSTS90002", "(invalid_request, AADSTS90002): no such tenant"),
        ("AADSTS700027", "(invalid_client, AADSTS700027): the certificate is none of the application's"),
        ("AADSTS700024", "(invalid_client, AADSTS700024): the assertion is not valid at this time: set the clock"),
        ("AADSTS70021", "(invalid_client, AADSTS70021): no federated credential has the issuer"),
        ("AADSTS1002012", "(invalid_scope, AADSTS1002012): the endpoint is no address that tokens can be had for"),
        ("AADSTS530001", "(invalid_request, AADSTS530001): an administrator of the tenant has to allow it"),
    ],
)
def test_a_sign_in_that_is_refused_says_what_to_do(office: Office, error: str, says: str) -> None:
    office.server.accounts.refuse(error)
    told = refused(office.application())
    assert told.startswith(f"Microsoft refuses the application {CLIENT} of the tenant {TENANT} {says}")
    assert told.endswith("; then: reconcile check")
    assert SECRET not in told


def test_who_puts_it_right_gets_in_without_a_new_start(office: Office) -> None:
    office.server.accounts.refuse("AADSTS7000222")
    account = office.application()
    refused(account)
    office.server.accounts.admit()
    assert token(account)


def test_an_application_without_consent_says_which_permission_it_lacks(office: Office) -> None:
    office.server.accounts.roles = ()
    with pytest.raises(AccessError) as caught:
        office.read(office.graph(office.application()))
    told = str(caught.value)
    assert told.startswith("Microsoft answered 403 Authorization_RequestDenied: the application may not do that")
    assert "Application permissions, Calendars.Read, then Grant admin consent; then: reconcile check" in told


def test_a_sign_in_that_is_down_is_tried_again_and_charged_each_time(office: Office) -> None:
    account = office.application()
    office.server.faults.add(Fault(kind="token", status=503, nth=(1,)))
    office.server.faults.add(Fault(kind="token", what=Harm.DROP_BEFORE, nth=(1,)))
    office.server.faults.add(Fault(kind="token", what=Harm.HTML, status=200, nth=(1,)))
    assert token(account)
    assert office.quota.attempts[Scope.TOKEN] == office.asked == 4


def test_a_sign_in_that_stays_down_answers_for_half_a_minute(office: Office) -> None:
    account = office.application()
    office.server.faults.add(Fault(kind="token", status=503))
    for _ in range(3):
        with pytest.raises(TransientError):
            token(account)
    assert office.asked == 5
    assert office.quota.attempts[Scope.READ] == 0


def test_nothing_is_sent_when_there_is_no_time_left(office: Office) -> None:
    account = office.application()
    with pytest.raises(PostponedError):
        account.tokens.token(CID, patience=lambda: 0.0)
    assert office.asked == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"access_token": 7, "expires_in": 3599}',
        b'{"access_token": "a b", "expires_in": 3599}',
        b'{"access_token": "eyT\\r\\nx: y", "expires_in": 3599}',
        b'{"access_token": "eyT", "expires_in": "soon"}',
        b'{"access_token": "eyT"}',
    ],
)
def test_an_answer_that_is_no_token_is_none(office: Office, body: bytes) -> None:
    with Loopback(lambda _: Answer(body=body)) as login:
        account = office.application(token_uri=f"http://127.0.0.1:{login.port}/{TENANT}/oauth2/v2.0/token")
        with pytest.raises(TransientError, match="answered a request for a token without one"):
            token(account)


@pytest.mark.parametrize("body", [b'{"error": "s"}', b'{"error": null}', b"[1]", b"<html>", b'{"error_codes": "x"}'])
def test_a_refusal_in_any_shape_is_a_sentence(office: Office, body: bytes) -> None:
    with Loopback(lambda _: Answer(status=400, body=body)) as login:
        account = office.application(token_uri=f"http://127.0.0.1:{login.port}/{TENANT}/oauth2/v2.0/token")
        assert refused(account).startswith("Microsoft refuses the application")


# ---- nothing stays, nothing is told ---------------------------------------------------------------------------------


def test_no_file_is_written_and_nothing_that_is_secret_is_told(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    caplog.set_level(logging.DEBUG)
    account = office.application()
    graph = office.graph(account)
    page: Any = office.read(graph)
    graph.follow(graph.target(Calendar(source="outlook", kind="microsoft", agent=Agent(email=CID))), page.delta)
    office.server.faults.add(Fault(status=404, reason="ErrorItemNotFound"))
    office.server.faults.add(Fault(kind="token", status=400, reason="invalid"))
    with pytest.raises(Exception, match="ErrorItemNotFound") as caught:
        office.read(graph)
    office.clock.advance(7200)
    with pytest.raises(AccessError) as refusal:
        token(account)
    said = f"{account!r}{account.con!r}{account.tokens!r}{graph!r}{caught.value!r}{refusal.value!r}{caplog.text}"
    secrets = [SECRET, *office.server.accounts._tokens]
    assert [secret for secret in secrets if secret in said] == []
    assert "deltatoken" not in said
    assert CID not in caplog.text
    assert list(here.iterdir()) == []
    assert dict(account.con.session.headers).get("Authorization") is None


def test_no_netrc_and_no_proxy_gets_between(office: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Loopback(lambda _: Answer(status=502)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        office.read(office.graph(office.application()))
        assert proxy.accepted == 0
    assert {entry.status for entry in office.server.requests()} == {200}


def test_a_sign_in_that_leads_elsewhere_is_not_followed(office: Office) -> None:
    with GraphSimulator() as elsewhere:
        office.server.faults.add(Fault(kind="token", what=Harm.REDIRECT, location=elsewhere.token_uri))
        refused(office.application())
        assert elsewhere.connections == 0


def test_national_clouds_sign_in_at_their_own_place(office: Office) -> None:
    keys = f'tenant = "{TENANT}", client_id = "{CLIENT}", client_secret = "env:MS_SECRET"'
    account = office.account(f"{{ {keys} }}", "https://graph.microsoft.us/v1.0")
    assert account.con.sign_in is not None
    assert account.con.sign_in.url == f"https://login.microsoftonline.us/{TENANT}/oauth2/v2.0/token"
    assert account.protocol.scope == "https://graph.microsoft.us/.default"
    assert account.protocol.service_url == "https://graph.microsoft.us/v1.0/"
    assert json.loads(account.con.sign_in.get("").text)["token_endpoint"] == account.con.sign_in.url
