"""What administrators are asked for: the least that the job needs, by the names that they know, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.cli.asking import asks
from reconciler.config import load
from reconciler.crm.grants import grants
from reconciler.simulator.google_sign_in import READ, WRITE
from tests.e2e.world import JOB

ENVIRON = {
    "CRM": "postgresql://crm-read:s3cret@127.0.0.1/crm",
    "CRM_WRITE": "postgresql://crm_write:s3cret@127.0.0.1/crm",
    "SMTP": "smtp://robot:s3cret@mail.acme.example",
    "MS": "s3cret",
}
KEY: dict[str, object] = {
    "client_email": "reader@acme-project.iam.gserviceaccount.com",
    "client_id": "117700000000000000001",
    "project_id": "acme-project",
    "private_key": "s3cret",
}
GOOGLE = '[[source]]\nkind = "google"\nagents = ["ann@acme.example"]\nauth = {auth}\n'
OUTLOOK = (
    '[[source]]\nkind = "microsoft"\nagents = ["cid@acme.example"]\n'
    'auth = { tenant = "acme.example", client_id = "1111-2222", client_secret = "env:MS" }\n'
)
MAIL = '[report]\nmail = { to = ["ops@acme.example"], from = "reconcile@acme.example", smtp = "env:SMTP" }\n'


def asked(folder: Path, sources: str, *, sync: str = "calendar-to-crm", allow: str = "[]") -> dict[str, list[str]]:
    (folder / "google.json").write_text(json.dumps(KEY))
    parts = {"state": "sqlite:///s.db", "sources": sources, "run": "", "policy": f'sync = "{sync}"', "limits": ""}
    text = JOB.format(**parts, allow=allow, crm='write_url = "env:CRM_WRITE"')
    (folder / "acme.toml").write_text(text.replace('url = "sqlite:///crm.db"', 'url = "env:CRM"') + MAIL)
    found: dict[str, list[str]] = {}
    for ask in asks(load(folder / "acme.toml", ENVIRON), ENVIRON):
        found.setdefault(ask.whom.partition(",")[0], []).extend(ask.lines)
    assert "s3cret" not in str(found)
    return found


def test_google_is_asked_for_the_scope_that_the_direction_takes(tmp_path: Path) -> None:
    table = GOOGLE.format(auth='{ service_account = "file:google.json" }')
    found = asked(tmp_path, table)
    assert found["Google Cloud"] == ["gcloud services enable calendar-json.googleapis.com --project acme-project"]
    assert found["Google Workspace"][1:] == ["Client ID     117700000000000000001", f"OAuth scopes  {READ}"]
    both = asked(tmp_path, table, sync="two-way")["Google Workspace"]
    assert both[2] == f"OAuth scopes  {READ},{WRITE}"


def test_reading_and_writing_accounts_are_asked_for_apart(tmp_path: Path) -> None:
    table = GOOGLE.format(auth='{ service_account = "file:google.json" }')
    more = 'auth_write = { impersonate = "writer@acme-project.iam.gserviceaccount.com" }\n'
    said = asked(tmp_path, table + more, sync="two-way")
    scopes = [line for line in said["Google Workspace"] if line.startswith("OAuth")]
    assert scopes == [f"OAuth scopes  {READ}", f"OAuth scopes  {WRITE}"]
    assert any("serviceAccountTokenCreator" in line for line in said["Google Cloud"])
    assert "writer@" not in str(asked(tmp_path, table + more)), "nobody is asked for what this job does not use"


def test_calendars_that_are_shared_are_asked_of_each_agent(tmp_path: Path) -> None:
    table = GOOGLE.format(auth='{ service_account = "file:google.json", delegate = false }')
    found = asked(tmp_path, table)
    assert found["Each agent"][1] == "reader@acme-project.iam.gserviceaccount.com  See all event details"
    assert "Google Workspace" not in found


def test_a_key_that_is_not_there_yet_leaves_a_word_in_its_place(tmp_path: Path) -> None:
    found = asked(tmp_path, GOOGLE.format(auth='{ service_account = "file:no.json" }'))
    assert "Client ID     client_id of the key file" in found["Google Workspace"]


@pytest.mark.parametrize("name", ["client_email", "client_id", "project_id"])
@pytest.mark.parametrize("value", ["x; touch owned", "$(id)", "--quiet", "a\nb", 7, "\x1b[2J"])
def test_no_key_file_puts_more_into_a_line_to_type_than_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setitem(KEY, name, value)
    found = asked(tmp_path, GOOGLE.format(auth='{ service_account = "file:google.json" }'))
    assert "gcloud services enable calendar-json.googleapis.com --project PROJECT" in found["Google Cloud"]


def test_what_an_administrator_reads_is_one_visible_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRON, "CRM", "postgresql://crm%1b%5b2J%0aowned@127.0.0.1/crm")
    [line] = asked(tmp_path, OUTLOOK)["The CRM's database"]
    assert line.isprintable()


def test_exchange_is_asked_for_these_mailboxes_alone(tmp_path: Path) -> None:
    found = asked(tmp_path, OUTLOOK)
    lines = found["Exchange Online"]
    assert 'New-ServicePrincipal -AppId 1111-2222 -ObjectId OBJECT_ID -DisplayName "reconcile acme"' in lines
    assert (
        'New-ManagementRoleAssignment -App 1111-2222 -Role "Application Calendars.Read" '
        '-CustomResourceScope "reconcile acme"'
    ) in lines
    assert "Application permissions, Calendars.Read, Grant admin consent" in found["or Entra ID"]
    assert "Application Calendars.ReadWrite" in str(asked(tmp_path, OUTLOOK, sync="two-way"))


def test_a_database_is_asked_for_what_is_read_and_what_is_written(tmp_path: Path) -> None:
    found = asked(tmp_path, OUTLOOK)
    assert found["The CRM's database"] == ['GRANT SELECT ON "appointments" TO "crm-read";']
    lines = asked(tmp_path, OUTLOOK, allow='["create", "update", "cancel"]')["The CRM's database"]
    assert 'GRANT INSERT, UPDATE ON "appointments" TO "crm_write";' in lines
    assert not any("DELETE" in line for line in lines)


def test_names_are_quoted_as_the_database_quotes_them() -> None:
    hostile = 'a"b; DROP TABLE users --'
    [line] = grants("postgresql://crm@127.0.0.1/crm", None, [hostile])
    assert line == 'GRANT SELECT ON "a""b; DROP TABLE users --" TO "crm";'
    [line] = grants("mysql://o'neil@127.0.0.1/crm", None, ["a`b"])
    assert line == "GRANT SELECT ON `crm`.`a``b` TO 'o''neil'@'HOST';"


@pytest.mark.parametrize("url", ["sqlite:///crm.db", "", "nonsense"])
def test_where_nobody_grants_nothing_is_asked(url: str) -> None:
    assert grants(url, url, ["appointments"]) == ()


def test_a_mail_server_is_asked_for_an_account_that_may_send(tmp_path: Path) -> None:
    [account, domain] = asked(tmp_path, OUTLOOK)["The mail server"]
    assert account == "an account at mail.acme.example that may send as reconcile@acme.example, to: ops@acme.example"
    assert domain.startswith("SPF and DKIM of acme.example")
