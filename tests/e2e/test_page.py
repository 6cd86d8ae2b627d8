"""The page of the report in a real browser: it asks for nothing, says nothing wrong, and helps whoever reads it.

Sorting, filtering and expanding are a script's; without it, everything can be read all the same. What the page is made
of is in tests/golden/; `GOLDEN=update make test ARGS=tests/e2e/test_page.py` writes it anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import html5lib
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from reconciler.report.render import page
from reconciler.report.report import Brand, Report, Trend
from tests.browser import browser, needs_chromium, opened
from tests.reports import BOB, CID, long_report, safe_report, sample_report

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
WIDTHS = (1280, 600, 360)
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
SHOWN = ".row:visible"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def written(folder: Path, report: Report) -> Path:
    path = folder / "report.html"
    path.write_text(page(report), "utf-8")
    return path


def size(width: int) -> dict[str, Any]:
    return {"viewport": {"width": width, "height": 740}}


# ---- the file by itself ---------------------------------------------------------------------------------------------

REPORTS = {
    "bad": sample_report(),
    "safe": safe_report(),
    "long": long_report(100_000),
    "urgent": sample_report(is_urgent=True, part="Lakeview", trends=(), lines=(), unseen_more="and 12 more"),
    "branded": sample_report(brand=Brand(title="Oak & Elm <Realty>", colour="#ffcc00", logo=DOT)),
    "nothing known": sample_report(trends=(Trend(name="open", title="Open", unit="", points=(), said="Open: no."),)),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_it_is_html_by_the_letter(report: Report) -> None:
    html5lib.HTMLParser(strict=True).parse(page(report))


@pytest.mark.parametrize("name", ["bad", "safe"])
def test_it_is_made_as_it_was(name: str) -> None:
    golden = GOLDEN / {"bad": "report.html", "safe": "quiet-report.html"}[name]
    # Its style and its script are files of their own, and the policy names what they come to.
    made = re.sub(
        r"(<style>|<script>|&#39;sha256-).*?(</style>|</script>|&#39;)", r"\1…\2", page(REPORTS[name]), flags=re.DOTALL
    )
    if os.environ.get("GOLDEN") == "update":
        golden.write_text(made, "utf-8")
    assert made == golden.read_text("utf-8"), f"{golden.name} looks otherwise; see at the head of this file"


def test_it_names_no_address_but_those_of_its_links() -> None:
    html = page(REPORTS["branded"])
    link = r'<a href="https://[^"]*" rel="noopener noreferrer" target="_blank">'
    assert "//" not in re.sub(rf'{link}|src="data:[^"]*"|<script>.*</script>', "", html, flags=re.DOTALL)
    assert "url(" not in html
    assert "@import" not in html


def test_its_policy_lets_in_nothing_but_what_is_in_it() -> None:
    html = page(REPORTS["branded"])
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src &#39;none&#39;; style-src &#39;sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"<[^>]+ (style|on\w+)=", html), "an inline style or handler would not be let in"


def test_what_was_not_seen_stands_before_all_numbers_causes_and_findings() -> None:
    html = page(REPORTS["bad"])
    parts = [html.index(mark) for mark in ('class="verdict', 'class="unseen"', 'class="figures"', 'class="causes"')]
    assert parts == sorted(parts)
    assert parts[-1] < html.index('class="findings"') < html.index('class="trends"')


def test_the_mood_is_a_word_and_not_only_a_colour() -> None:
    assert "<span>BLIND</span>" in page(REPORTS["bad"])
    assert "<span>SAFE</span>" in page(REPORTS["safe"])


def test_it_says_in_which_zone_times_are() -> None:
    assert "Times in America/Chicago, and UTC." in page(REPORTS["bad"])


def test_a_report_over_100_000_findings_stays_small_and_says_where_the_rest_is() -> None:
    html = page(REPORTS["long"])
    assert len(html) < 250_000
    assert "This page lists 50 of 100,000" in html
    assert "--xlsx FILE" in html


def test_its_commands_call_the_job_what_it_is_called_on_the_command_line() -> None:
    html = page(sample_report(word="jobs/other/acme.toml"))
    assert "reconcile explain 5f2c9a1e52b0 --job jobs/other/acme.toml</code>" in html
    period = "--since 2026-11-22T12:55:00Z --until 2026-11-23T12:55:00Z"
    assert f"reconcile report jobs/other/acme.toml {period} --xlsx FILE" in html


def test_a_link_that_is_not_https_is_none() -> None:
    [section, *_] = sample_report().sections
    hostile = replace(section.rows[0], calendar_link="javascript:alert(1)", crm_link="http://crm.example/1")
    html = page(sample_report(sections=(replace(section, rows=(hostile,)),)))
    assert "javascript:" not in html
    assert "http://crm" not in html


# ---- a brokerage's own ----------------------------------------------------------------------------------------------


def test_a_brokerage_may_fill_single_parts_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "report.html.j2").write_text(
        '{% extends "shipped/report.html.j2" %}'
        "{% block brand %}<header>{{ report.brand.title }} <b>!</b></header>{% endblock %}"
    )
    html = page(sample_report(brand=Brand(title="Oak & Elm")), tmp_path)
    assert "<header>Oak &amp; Elm <b>!</b></header>" in html
    assert 'class="verdict' in html


def test_a_brokerage_may_bring_its_own_style(tmp_path: Path) -> None:
    (tmp_path / "page.css").write_text("body { color: teal }")
    html = page(sample_report(), tmp_path)
    assert "<style>body { color: teal }</style>" in html
    assert "--ground" not in html


@pytest.mark.parametrize(
    "template",
    [
        "{% broken",
        "{{ report.headline.nothing.more }}",
        "{{ ''.__class__.__mro__ }}",
        '{% include "../secret" %}',
        "{{ 1 / 0 }}",
    ],
)
def test_a_template_of_theirs_that_fails_costs_its_looks_and_not_the_report(tmp_path: Path, template: str) -> None:
    own = tmp_path / "reports"
    own.mkdir()
    (tmp_path / "secret").write_text("nobody may read this")
    (own / "report.html.j2").write_text(template)
    html = page(sample_report(), own)
    assert "this is the form that is shipped" in html
    assert 'class="verdict' in html
    assert "nobody may read this" not in html


def test_a_template_that_is_no_text_costs_its_looks_and_not_the_report(tmp_path: Path) -> None:
    (tmp_path / "report.html.j2").write_bytes(b"\xff\xfe\x00")
    assert "this is the form that is shipped" in page(sample_report(), tmp_path)


@pytest.mark.parametrize("colour", ["red", "#fff", "#ffffff;} body{display:none", "#gggggg", "#00ff0\n"])
def test_what_is_no_colour_is_left_out(colour: str) -> None:
    html = page(sample_report(brand=Brand(colour=colour)))
    assert html.count("<style>") == 1


# ---- in a browser ---------------------------------------------------------------------------------------------------


@needs_chromium
@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_it_loads_offline_without_a_word_on_the_console_and_without_a_request(
    chromium: Browser, tmp_path: Path, report: Report
) -> None:
    with opened(chromium, written(tmp_path, report)) as seen:
        seen.page.wait_for_load_state("networkidle")
        assert seen.said == []
        assert [asked for asked in seen.asked if not asked.startswith("data:")] == []
        assert seen.page.locator("h1").is_visible()


@needs_chromium
@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [
        *(("bad", scheme, width) for scheme in ("light", "dark") for width in WIDTHS),
        *((name, scheme, 600) for name in ("branded", "safe") for scheme in ("light", "dark")),
    ],
)
def test_nothing_is_in_the_way_of_a_screen_reader_a_keyboard_or_weak_eyes(
    chromium: Browser, tmp_path: Path, name: str, scheme: str, width: int
) -> None:
    with opened(chromium, written(tmp_path, REPORTS[name]), **size(width), color_scheme=scheme) as seen:
        if name == "bad":
            unfolded(seen.page)
        found = Axe().run(seen.page)
        assert found.violations_count == 0, found.generate_report()
        assert not [each["id"] for each in found.response["incomplete"] if each["id"] != "color-contrast"]


@needs_chromium
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(chromium: Browser, tmp_path: Path, width: int) -> None:
    words = "Wolfeschlegelsteinhausenbergerdorff" * 6
    [section, *rest] = sample_report().sections
    wide = replace(section, rows=(replace(section.rows[0], title=words, why=words, fate=words, client=words),))
    with opened(
        chromium, written(tmp_path, sample_report(headline=words, sections=(wide, *rest))), **size(width)
    ) as seen:
        unfolded(seen.page)
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


@needs_chromium
def test_the_first_screen_of_a_phone_tells_what_it_means_and_what_was_not_seen(
    chromium: Browser, tmp_path: Path
) -> None:
    with opened(chromium, written(tmp_path, REPORTS["bad"]), **size(360)) as seen:
        for words in ("BLIND", REPORTS["bad"].headline, "Not seen", "dee@acme.example"):
            box = seen.page.get_by_text(words).first.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] < 740


@needs_chromium
def test_a_long_report_begins_as_small_as_a_short_one(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, REPORTS["long"]), **size(360)) as seen:
        assert seen.page.locator(SHOWN).count() == 8
        assert seen.page.locator(".row .body").first.is_hidden()
        assert seen.page.locator("h1").bounding_box() == first_box(chromium, tmp_path)
        seen.page.get_by_text("42 more", exact=True).click()
        assert seen.page.locator(SHOWN).count() == 50


def first_box(chromium: Browser, folder: Path) -> object:
    with opened(chromium, written(folder, REPORTS["bad"]), **size(360)) as seen:
        return seen.page.locator("h1").bounding_box()


@needs_chromium
def test_without_javascript_all_of_it_can_be_read(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, REPORTS["bad"]), java_script_enabled=False) as seen:
        assert seen.page.locator(".tools").is_hidden()
        assert seen.page.get_by_role("button").count() == 0, "what needs a script is not offered"
        fold = seen.page.locator(".row").first
        assert fold.locator(".body").is_hidden()
        fold.locator("summary").click()
        assert fold.locator(".body").is_visible()
        seen.page.get_by_role("heading", name="Fixed").click()
        assert seen.page.get_by_text("Walk-through 8 Maple Way").is_visible()


@needs_chromium
def test_filters_leave_what_was_asked_for_and_say_how_much(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, REPORTS["bad"])) as seen:
        every = seen.page.locator(".row").count()
        seen.page.get_by_label("Agent").select_option(BOB)
        assert {row.get_attribute("data-agent") for row in seen.page.locator(SHOWN).all()} == {BOB}
        left = seen.page.locator(SHOWN).count()
        assert seen.page.get_by_role("status").inner_text() == f"{left} of {every} findings shown."
        seen.page.get_by_label("Severity").select_option("low")
        assert seen.page.locator(SHOWN).count() == 1
        assert seen.page.locator(".part:visible").count() == 1, "parts in which nothing is left are not shown"
        seen.page.get_by_role("button", name="Clear").click()
        # A form is only empty after all who heard of it: what is shown then follows in a moment.
        expect(seen.page.locator(".row:not([hidden])")).to_have_count(every)
        expect(seen.page.get_by_role("status")).to_be_empty()


@needs_chromium
def test_words_are_found_in_what_is_folded_too(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, REPORTS["bad"])) as seen:
        seen.page.get_by_role("searchbox", name="Find").fill("client3@HOME  harbor")
        assert seen.page.locator(SHOWN).count() == 1
        assert "Showing 3 Harbor Dr" in seen.page.locator(SHOWN).inner_text()
        seen.page.get_by_role("searchbox", name="Find").fill("no such words")
        assert seen.page.locator(SHOWN).count() == 0
        assert seen.page.get_by_role("status").inner_text().startswith("0 of ")


@needs_chromium
def test_findings_are_sorted_and_go_back_to_their_order(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, REPORTS["bad"])) as seen:
        agents = "[...document.querySelectorAll('.part')[4].querySelectorAll('.row')].map((row) => row.dataset.agent)"
        before = seen.page.evaluate(agents)
        seen.page.get_by_label("Sort by").select_option("agent")
        assert seen.page.evaluate(agents) == sorted(before) != before
        assert "sorted by agent" in seen.page.get_by_role("status").inner_text()
        seen.page.get_by_label("Sort by").select_option("")
        assert seen.page.evaluate(agents) == before


@needs_chromium
def test_a_figure_and_a_cause_lead_to_their_findings(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, REPORTS["bad"]), **size(360)) as seen:
        seen.page.get_by_role("link", name="Need you").click()
        assert seen.page.locator(SHOWN).count() == 4
        seen.page.get_by_role("link", name="Fixed").click()
        expect(seen.page.get_by_text("Walk-through 8 Maple Way"), "no filter is left in the way").to_be_visible()
        seen.page.locator(".cause", has_text=CID).get_by_role("button", name="Show its findings").click()
        assert {row.get_attribute("data-agent") for row in seen.page.locator(SHOWN).all()} == {CID}


@needs_chromium
def test_all_findings_expand_and_fold_at_once(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, REPORTS["bad"])) as seen:
        unfolded(seen.page)
        assert seen.page.locator(".row .body:visible").count() == seen.page.locator(".row").count()
        seen.page.get_by_role("button", name="Fold all").click()
        assert seen.page.locator(".row .body:visible").count() == 0


@needs_chromium
def test_it_is_used_by_keyboard_alone(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, REPORTS["bad"])) as seen:
        seen.page.keyboard.press("Tab")
        assert focused(seen.page) == "Skip to the findings"
        seen.page.keyboard.press("Enter")
        seen.page.locator(".part summary").first.focus()
        seen.page.keyboard.press("ArrowDown")
        seen.page.keyboard.press("Enter")
        assert seen.page.locator(".row .body").first.is_visible()
        ring = "getComputedStyle(document.activeElement).outlineStyle"
        assert seen.page.evaluate(ring) == "solid", "where the keyboard is can be seen"
        seen.page.keyboard.press("ArrowUp")
        assert focused(seen.page).startswith("New")


@needs_chromium
def test_a_command_is_copied_as_it_is_typed(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, REPORTS["bad"]), permissions=["clipboard-read", "clipboard-write"]) as seen:
        seen.page.locator(".cause").first.get_by_role("button", name="Copy").click()
        seen.page.get_by_role("button", name="Copied").wait_for()
        assert seen.page.evaluate("navigator.clipboard.readText()") == "reconcile check acme"


@needs_chromium
def test_on_paper_every_part_is_open_and_nothing_is_to_be_clicked(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, REPORTS["bad"]), color_scheme="dark") as seen:
        seen.page.emulate_media(media="print")
        assert seen.page.get_by_text("Walk-through 8 Maple Way").is_visible()
        assert seen.page.get_by_role("button").count() == 0
        assert seen.page.locator(".tools").is_hidden()
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@needs_chromium
def test_what_a_calendar_says_is_text_and_its_script_never_runs(chromium: Browser, tmp_path: Path) -> None:
    [section, *_] = sample_report().sections
    attack = '"><img src=x onerror="document.title=1"><script>document.title=1</script>{{ 7 * 7 }}'
    row = replace(section.rows[0], title=attack, agent=attack, why=attack, cause=attack)
    report = sample_report(headline=attack, sections=(replace(section, title=attack, rows=(row,)),))
    with opened(chromium, written(tmp_path, report)) as seen:
        assert seen.page.locator("img").count() == 0
        assert seen.page.locator("h1").inner_text() == attack
        assert seen.page.title() != "1"
        assert seen.said == []


def unfolded(page: Page) -> None:
    page.get_by_role("button", name="Expand all").click()


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent")).strip()
