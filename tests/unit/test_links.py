"""Links lead to the event and the record that they stand at, and nowhere else, whatever these are called."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.report.links import calendar_link, crm_link
from reconciler.report.recorded import Place

ANY_TEXT = st.text(st.characters(exclude_categories=()))
TEMPLATE = "https://crm.acme.example/appointments/{id}"


def place(kind: str = "google", **given: Any) -> Place:
    return Place(**({"source": kind, "kind": kind, "agent": "ann@acme.example", "name": "primary"} | given))


def eid(link: str) -> str:
    [value] = parse_qs(urlsplit(link).query)["eid"]
    return urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()


def test_a_google_link_names_the_event_and_its_calendar() -> None:
    link = calendar_link(place(), "54qj4v9633hvpd0jnucdo07hns")
    assert link == (
        "https://www.google.com/calendar/event?eid=NTRxajR2OTYzM2h2cGQwam51Y2RvMDdobnMgYW5uQGFjbWUuZXhhbXBsZQ"
    )
    assert eid(link) == "54qj4v9633hvpd0jnucdo07hns ann@acme.example"


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("ann.smith@gmail.com", "ann.smith@m"),
        ("6u5rrtce6lrtv07pfi3damgjus@group.calendar.google.com", "6u5rrtce6lrtv07pfi3damgjus@g"),
        ("showings@acme.example", "showings@acme.example"),
    ],
)
def test_a_google_calendar_is_spelled_as_google_spells_it(name: str, spelled: str) -> None:
    assert eid(calendar_link(place(name=name), "evt1")) == f"evt1 {spelled}"


def test_an_outlook_link_spells_the_id_as_outlook_does() -> None:
    assert calendar_link(place("microsoft"), "AAkALg-EWg0A_x=") == (
        "https://outlook.office365.com/owa/?itemid=AAkALg%2FEWg0A%2Bx%3D&exvsurl=1&path=/calendar/item"
    )


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://graph.microsoft.com/v1.0/", "outlook.office365.com"),
        ("https://graph.microsoft.us/v1.0/", "outlook.office365.us"),
        ("https://dod-graph.microsoft.us/v1.0/", "webmail.apps.mil"),
        ("https://microsoftgraph.chinacloudapi.cn/v1.0/", "partner.outlook.cn"),
    ],
)
def test_each_cloud_has_its_own_outlook(endpoint: str, host: str) -> None:
    assert urlsplit(calendar_link(place("microsoft"), "AAk", endpoint)).netloc == host


@pytest.mark.parametrize("kind", ["google", "microsoft"])
def test_what_a_stand_in_serves_is_opened_nowhere(kind: str) -> None:
    assert calendar_link(place(kind), "evt1", "http://127.0.0.1:8080/") == ""


def test_a_feed_has_no_place_where_it_is_opened() -> None:
    assert calendar_link(place("ics"), "evt1") == ""


@pytest.mark.parametrize("suffix", ["/20261124T160000Z", "/20261124"])
def test_an_occurrence_leads_to_its_series(suffix: str) -> None:
    for kind in ("google", "microsoft"):
        assert calendar_link(place(kind), f"evt1{suffix}") == calendar_link(place(kind), "evt1")


def test_a_record_is_opened_by_the_address_that_the_job_file_gives() -> None:
    assert crm_link(TEMPLATE, "17") == "https://crm.acme.example/appointments/17"
    assert (
        crm_link("https://crm.acme.example:8443/#/a/{id}/edit", "a/b") == "https://crm.acme.example:8443/#/a/a%2Fb/edit"
    )


@pytest.mark.parametrize(("template", "crm_id"), [(None, "17"), (TEMPLATE, None), (TEMPLATE, ""), (TEMPLATE, "..")])
def test_without_an_address_or_an_id_there_is_no_link(template: str | None, crm_id: str | None) -> None:
    assert crm_link(template, crm_id) == ""


@given(ANY_TEXT, ANY_TEXT, st.sampled_from(["google", "microsoft", "ics"]))
def test_no_id_and_no_name_leads_elsewhere(event: str, name: str, kind: str) -> None:
    link = calendar_link(place(kind, name=name, agent=name), event)
    assert link == "" or link.startswith(
        ("https://www.google.com/calendar/event?eid=", "https://outlook.office365.com/owa/?itemid=")
    )
    assert link.isascii()
    assert not set(link) & set("<>\"' \r\n\t\\")
    assert set(parse_qs(urlsplit(link).query)) <= {"eid", "itemid", "exvsurl", "path"}


@given(ANY_TEXT)
def test_no_record_leads_elsewhere(crm_id: str) -> None:
    link = crm_link(TEMPLATE, crm_id)
    assert link == "" or link.startswith("https://crm.acme.example/appointments/")
    assert link == "" or "/" not in link.removeprefix("https://crm.acme.example/appointments/")
    assert not set(link) & set("<>\"' \r\n\t\\?#&")
