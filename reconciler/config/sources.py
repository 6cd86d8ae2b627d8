"""The `[[source]]` tables: where calendars are read, whose they are, and with which credentials."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from reconciler.config.hosts import permitted
from reconciler.config.secret import FeedUrl, Secret
from reconciler.config.values import Email, Emails, FilePath, Name, Section, Text, WrongError

GOOGLE_ENDPOINT: Final = "https://www.googleapis.com/calendar/v3/"
MICROSOFT_ENDPOINT: Final = "https://graph.microsoft.com/v1.0/"


class Agents(Section):
    """Whose calendars: addresses `listed` in the job file, a CSV `file`, or a `query` on the CRM; one of them."""

    listed: Emails | None = None
    file: FilePath | None = None
    query: Text | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> "Agents":
        if sum(origin is not None for origin in (self.listed, self.file, self.query)) != 1:
            raise WrongError(
                "needs one origin", 'write ["ann@acme.example"], { file = "agents.csv" } or { query = "SELECT ..." }'
            )
        return self


def _agents(value: object) -> object:
    """Let a list stand for the table it is short for."""
    if isinstance(value, str):
        raise WrongError("must be a list", 'write ["ann@acme.example"], or { file = "agents.csv" }')
    return {"listed": value} if isinstance(value, list) else value


AgentsTable = Annotated[Agents, BeforeValidator(_agents)]


def _host_allowed(value: str, info: ValidationInfo, provider: str) -> str:
    environ: Mapping[str, str] = (info.context or {}).get("environ", {})
    return permitted(value, provider, environ)


def _google_url(value: str, info: ValidationInfo) -> str:
    return _host_allowed(value, info, "google")


def _microsoft_url(value: str, info: ValidationInfo) -> str:
    return _host_allowed(value, info, "microsoft")


def _slashed(value: str) -> str:
    return value if value.endswith("/") else f"{value}/"


GoogleUrl = Annotated[str, AfterValidator(_google_url)]
MicrosoftUrl = Annotated[str, AfterValidator(_microsoft_url)]


class GoogleAuth(Section):
    """One way in: the key of a service account, leave to have one sign (`impersonate`), or a token as it is.

    Beside `impersonate` stands what may ask for signatures: a token, the key of another service account, or nothing,
    which is the machine's own. `delegate = false` reads all calendars as the account itself, by what is shared with it.
    """

    service_account: Secret | None = None
    delegate: bool | None = None
    impersonate: Email | None = None
    token: Secret | None = None
    token_uri: GoogleUrl | None = None
    iam_uri: Annotated[GoogleUrl, AfterValidator(_slashed)] | None = None

    @property
    def delegated(self) -> bool:
        """Tell whether a token is for one agent; otherwise one is for all."""
        return self.delegate is not False and (self.service_account is not None or self.impersonate is not None)

    @model_validator(mode="after")
    def _one_credential(self) -> "GoogleAuth":
        keys = [key for key in ("service_account", "token") if getattr(self, key) is not None]
        if self.impersonate is None and not keys:
            raise WrongError(
                "needs one credential: service_account, impersonate or token", 'service_account = "file:google.json"'
            )
        if len(keys) > 1:
            beside = " beside impersonate" if self.impersonate else ""
            raise WrongError(f"has both service_account and token{beside}", "keep one of them")
        return self

    @model_validator(mode="after")
    def _nothing_idle(self) -> "GoogleAuth":
        """Refuse what would quietly do nothing."""
        if self.delegate is not None and (self.service_account is None or self.impersonate is not None):
            raise WrongError(
                "has delegate, which is about service_account alone",
                'write { service_account = "file:google.json", delegate = false }, or remove it',
            )
        if self.iam_uri is not None and self.impersonate is None:
            raise WrongError("has iam_uri, which is about impersonate alone", "remove it")
        if self.token_uri is not None and self.impersonate is None and self.service_account is None:
            raise WrongError("has token_uri, but a token as it is asks for no other", "remove it")
        return self


_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", re.ASCII)
_NO_TENANT: Final = {"common", "organizations", "consumers"}


def _tenant(value: str) -> str:
    if not _TENANT.fullmatch(value) or value.lower() in _NO_TENANT:
        raise WrongError("is no tenant", "write its id, or a domain of it like acme.onmicrosoft.com")
    return value


class MicrosoftAuth(Section):
    """An application of a tenant, or a token as it is.

    The application has a secret, a certificate (a PEM file with its key), or a file in which somebody else keeps a
    fresh assertion for it (`federated`: workload identity).
    """

    tenant: Annotated[Text, AfterValidator(_tenant)] | None = None
    client_id: Text | None = None
    client_secret: Secret | None = None
    certificate: Secret | None = None
    federated: Secret | None = None
    token: Secret | None = None
    token_uri: MicrosoftUrl | None = None

    @model_validator(mode="after")
    def _one_credential(self) -> "MicrosoftAuth":
        ways = (self.client_secret, self.certificate, self.federated, self.token)
        if sum(credential is not None for credential in ways) != 1:
            raise WrongError(
                "needs one credential: client_secret, certificate, federated or token",
                'client_secret = "env:MS_SECRET"',
            )
        if self.token is None and (self.tenant is None or self.client_id is None):
            raise WrongError("needs tenant and client_id beside client_secret, certificate or federated")
        return self

    @model_validator(mode="after")
    def _nothing_idle(self) -> "MicrosoftAuth":
        """Refuse what would quietly do nothing, or stop working after an hour."""
        if self.token is not None and (self.tenant or self.client_id or self.token_uri):
            raise WrongError("has token, beside which tenant, client_id and token_uri do nothing", "remove them")
        if self.federated is not None and (
            self.federated.reference is None or self.federated.reference.scheme != "file"
        ):
            raise WrongError(
                "has a federated assertion that can't be renewed", 'name the file that is: federated = "file:PATH"'
            )
        return self


class _Source(Section):
    kind: str
    name: Name = ""

    @model_validator(mode="before")
    @classmethod
    def _named_by_kind(cls, value: object) -> object:
        return {"name": value.get("kind"), **value} if isinstance(value, dict) else value


class Google(_Source):
    """Google calendars; `auth_write` is what they are written with, where that is another credential."""

    kind: Literal["google"]
    agents: AgentsTable
    auth: GoogleAuth
    auth_write: GoogleAuth | None = None
    endpoint: Annotated[GoogleUrl, AfterValidator(_slashed)] = GOOGLE_ENDPOINT


class Microsoft(_Source):
    """Outlook and Microsoft 365 calendars; `auth_write` is what they are written with, where that is another one."""

    kind: Literal["microsoft"]
    agents: AgentsTable
    auth: MicrosoftAuth
    auth_write: MicrosoftAuth | None = None
    endpoint: Annotated[MicrosoftUrl, AfterValidator(_slashed)] = MICROSOFT_ENDPOINT


class Ics(_Source):
    """iCalendar files, folders of them, or feeds: of one agent by `path` or `url`, of many by `agents`."""

    kind: Literal["ics"]
    agent: Email | None = None
    path: FilePath | None = None
    url: FeedUrl | None = None
    agents: AgentsTable | None = None
    absence: Literal["report", "evidence"] = "report"
    allow_private: bool = False


Source = Annotated[Google | Microsoft | Ics, Field(discriminator="kind")]
