"""What to ask others for before the first run, to be copied as it is: each administrator gets what is theirs to allow.

It is the least that the job needs: whoever gives it more is told so by the other lines of `check`. No secret is in it;
of credentials it names what their administrators know them by.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from reconciler.config import Google, GoogleAuth, Microsoft, MicrosoftAuth, Secret, SqlCrm
from reconciler.errors import ConfigError
from reconciler.inert import Sink, inert
from reconciler.model import Action

if TYPE_CHECKING:
    from reconciler.config import Job
    from reconciler.config.secret import DatabaseUrl

WIDE: Final = 300
"""Characters of a line: what is cut can't be typed, and nothing here is that long unless somebody means harm."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:@_-]{0,199}", re.ASCII)
"""What ids and addresses of service accounts are made of: nothing that a shell would read as more."""

Environ = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ask:
    """What one administrator is to be asked for, in lines to copy."""

    whom: str
    lines: tuple[str, ...]


def asks(job: Job, environ: Environ) -> tuple[Ask, ...]:
    """Return what the job needs of others, in the order of its file. What can't be read yet has a word in its place."""
    from reconciler.assembly import writes_calendars

    found: list[Ask] = []
    for table in job.sources:
        if isinstance(table, Google):
            found += _google(table, environ, writes=writes_calendars(job))
        elif isinstance(table, Microsoft):
            found += _microsoft(job, table, writes=writes_calendars(job))
    if isinstance(job.crm, SqlCrm):
        found += _database(job, job.crm, environ)
    found += _mail(job, environ)
    return tuple(Ask(one.whom, tuple(map(_harmless, one.lines))) for one in found)


def _harmless(line: str) -> str:
    return line if line.isprintable() and len(line) <= WIDE else inert(line, Sink.TERMINAL, WIDE)


def _credentials(table: Google | Microsoft, *, writes: bool) -> Iterator[tuple[GoogleAuth | MicrosoftAuth, bool]]:
    """Yield each credential once, and whether it writes."""
    split = writes and table.auth_write is not None
    yield table.auth, writes and not split
    if split and table.auth_write is not None:
        yield table.auth_write, True


# ---- Google ---------------------------------------------------------------------------------------------------------


def _google(table: Google, environ: Environ, *, writes: bool) -> Iterator[Ask]:
    from reconciler.sources.google_auth import READ_SCOPE, WRITE_SCOPE

    for auth, write in _credentials(table, writes=writes):
        if not isinstance(auth, GoogleAuth) or (auth.service_account is None and auth.impersonate is None):
            continue  # a token as it is was given by somebody already
        known = _account(auth, environ)
        reads = not write or table.auth_write is None
        scopes = ",".join([READ_SCOPE] * reads + [WRITE_SCOPE] * write)
        yield Ask("Google Cloud, the owner of the project", tuple(_project(auth, known)))
        if auth.delegated:
            yield Ask("Google Workspace, a super administrator", (*_DELEGATION, *_client(auth, known, scopes)))
        else:
            access = "Make changes to events" if write else "See all event details"
            lines = ("Settings and sharing of the calendar, Share with specific people:", f"{known['email']}  {access}")
            yield Ask("Each agent", lines)


_DELEGATION: Final = (
    "admin.google.com, Security, Access and data control, API controls, Manage domain-wide delegation, Add new",
)


def _account(auth: GoogleAuth, environ: Environ) -> dict[str, str]:
    """Return by which names a service account is known: of its key file, only what is no secret."""
    if auth.impersonate is not None:
        return {"email": auth.impersonate, "project": "PROJECT"}
    try:
        key = json.loads(auth.service_account.reveal(environ)) if auth.service_account else {}
        email, client, project = (_plain(key[name]) for name in ("client_email", "client_id", "project_id"))
    except (ConfigError, ValueError, TypeError, KeyError):
        return {"email": "client_email of the key file", "client": "client_id of the key file", "project": "PROJECT"}
    return {"email": email, "client": client, "project": project}


def _plain(value: object) -> str:
    """Return what can stand in a line that somebody types. Raises ValueError: whoever made the file may mean harm."""
    if not isinstance(value, str) or not _PLAIN.fullmatch(value):
        raise ValueError
    return value


def _project(auth: GoogleAuth, known: Mapping[str, str]) -> Iterator[str]:
    services = "calendar-json.googleapis.com" + (" iamcredentials.googleapis.com" if auth.impersonate else "")
    yield f"gcloud services enable {services} --project {known['project']}"
    if auth.impersonate:
        yield (
            f"gcloud iam service-accounts add-iam-policy-binding {auth.impersonate} --member MEMBER "
            "--role roles/iam.serviceAccountTokenCreator"
        )


def _client(auth: GoogleAuth, known: Mapping[str, str], scopes: str) -> Iterator[str]:
    if auth.impersonate:
        yield f"gcloud iam service-accounts describe {auth.impersonate} --format='value(oauth2ClientId)'"
    yield f"Client ID     {known.get('client', 'what the line above prints')}"
    yield f"OAuth scopes  {scopes}"


# ---- Microsoft ------------------------------------------------------------------------------------------------------


def _microsoft(job: Job, table: Microsoft, *, writes: bool) -> Iterator[Ask]:
    """Ask for access to some mailboxes alone, and name what would give it to all of them only as that.

    Both add up: with consent in Entra a scope in Exchange restricts nothing (facts, Microsoft §5).
    """
    from reconciler.sources.microsoft_faults import READ, WRITE

    for auth, write in _credentials(table, writes=writes):
        if not isinstance(auth, MicrosoftAuth) or auth.client_id is None:
            continue
        permission, name = WRITE if write else READ, f"reconcile {job.name}"
        yield Ask(
            "Exchange Online, an administrator (these mailboxes alone; give no consent in Entra then)",
            (
                f'New-ServicePrincipal -AppId {auth.client_id} -ObjectId OBJECT_ID -DisplayName "{name}"',
                "    # OBJECT_ID: of Entra ID, Enterprise applications, and not of App registrations",
                '$group = Get-DistributionGroup "GROUP"    # with every agent as a direct member',
                (
                    f'New-ManagementScope "{name}" -RecipientRestrictionFilter "MemberOfGroup -eq '
                    "'$($group.DistinguishedName)'\""
                ),
                (
                    f'New-ManagementRoleAssignment -App {auth.client_id} -Role "Application {permission}" '
                    f'-CustomResourceScope "{name}"'
                ),
                f"Test-ServicePrincipalAuthorization {auth.client_id} -Resource AGENT",
            ),
        )
        yield Ask(
            "or Entra ID, an administrator (every mailbox of the tenant)",
            (
                f"entra.microsoft.com, App registrations, {auth.client_id}, API permissions, Microsoft Graph,",
                f"Application permissions, {permission}, Grant admin consent",
            ),
        )


# ---- databases and mail ---------------------------------------------------------------------------------------------


def _database(job: Job, crm: SqlCrm, environ: Environ) -> Iterator[Ask]:
    from reconciler.assembly import writes_crm
    from reconciler.crm.grants import grants

    writes = bool(job.policy.allow) and writes_crm(job)
    url, write_url = _spelled(crm.url, environ), _spelled(crm.write_url or crm.url, environ)
    tables = (crm.table, *(each.table for each in crm.lookup.values()))
    deletes = Action.DELETE in job.policy.allow and crm.columns.deleted_at is None
    lines = grants(url, write_url if writes else None, tables, deletes=deletes)
    if lines:
        yield Ask("The CRM's database, its administrator", lines)


def _spelled(url: DatabaseUrl, environ: Environ) -> str:
    try:
        return url.reveal(environ)
    except ConfigError:
        return ""  # what is wrong with it is said where it is used


def _mail(job: Job, environ: Environ) -> Iterator[Ask]:
    if job.report.mail is None:
        return
    mail = job.report.mail
    host = _host(mail.smtp, environ)
    lines = (
        f"an account at {host} that may send as {mail.sender}, to: {', '.join(mail.to)}",
        f"SPF and DKIM of {mail.sender.rpartition('@')[2].rstrip('>')} that cover what {host} sends",
    )
    yield Ask("The mail server, its administrator", lines)


def _host(url: Secret, environ: Environ) -> str:
    try:
        return urlsplit(url.reveal(environ)).hostname or "the server"
    except (ConfigError, ValueError):
        return "the server"
