"""In a real browser: a report full of spite shows it as text, runs nothing, asks for nothing, leads nowhere new."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from reconciler.model import Kind
from reconciler.report.build import build
from reconciler.report.render import mail_page, page
from reconciler.report.report import Report
from tests.browser import browser, needs_chromium, opened
from tests.hostile import PAYLOADS, in_turn, look, period, spiked
from tests.reports import sample_report

pytestmark = needs_chromium

FEW = (Kind.FIELD_DRIFT, Kind.COVERAGE_GAP, Kind.MISSING_IN_CRM)
TURNS = (0, 21)
CHOOSE = "(choice, value) => { choice.value = value; choice.dispatchEvent(new Event('input', {bubbles: true})) }"
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def told(turn: int) -> Report:
    say = in_turn(turn)
    return build(period(say, FEW), look(say))


def laid(turn: int) -> Report:
    return spiked(sample_report(), in_turn(turn))


def unguarded(report: Report) -> str:
    """Return the page without the policy that would stop a script: escaping alone must do."""
    whole = page(report)
    assert POLICY.search(whole)
    return POLICY.sub("", whole)


def used(shown: Page) -> None:
    """Use all that a page offers: open everything, filter by everything, sort, search, print."""
    for part in shown.query_selector_all("details"):
        part.evaluate("part => { part.open = true }")
    for choice in shown.query_selector_all("select"):
        values: list[str] = choice.evaluate("choice => [...choice.options].map(option => option.value)")
        for value in values[:6]:
            choice.evaluate(CHOOSE, value)
    if shown.query_selector("#find"):
        shown.fill("#find", PAYLOADS[0])
        shown.fill("#find", "")
    for button in shown.query_selector_all("button"):
        if button.is_visible():
            button.click()
    shown.emulate_media(media="print")
    shown.emulate_media(media="screen", color_scheme="dark")


@pytest.mark.parametrize("made", [told, laid])
@pytest.mark.parametrize("face", [page, unguarded, mail_page])
@pytest.mark.parametrize("turn", TURNS)
def test_nothing_runs_nothing_is_asked_for_and_nothing_leads_elsewhere(
    made: Callable[[int], Report], face: Callable[[Report], str], turn: int, chromium: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text(face(made(turn)), "utf-8")
    with opened(chromium, file) as seen:
        used(seen.page)
        assert seen.page.evaluate("'pwned' in window") is False
        assert seen.said == []
        assert seen.asked == []
        assert seen.page.url == file.as_uri()
        links: list[str] = seen.page.evaluate("[...document.links].map(link => link.href)")
        assert all(is_ours(link, file.as_uri()) for link in links)
        assert seen.page.query_selector_all("iframe, object, embed, base, [onload], [onerror], [onclick]") == []


def is_ours(link: str, own: str) -> bool:
    hosts = ("https://www.google.com/calendar/event?eid=", "https://outlook.office365.com/owa/?itemid=")
    return link.startswith((f"{own}#", *hosts, "https://crm.acme.example/appointments/"))


def test_the_marker_would_be_seen(chromium: Browser, tmp_path: Path) -> None:
    """What is looked for is left behind where text is not escaped: by half of what is written here."""
    left = 0
    for number, payload in enumerate(PAYLOADS[:11]):
        file = tmp_path / f"{number}.html"
        file.write_text(f'<!doctype html><title>{payload}</title><p title="{payload}">{payload}', "utf-8")
        with opened(chromium, file) as seen:
            seen.page.wait_for_load_state("load")
            left += seen.page.evaluate("'pwned' in window")
    assert left >= 5
