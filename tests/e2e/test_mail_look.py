"""The body of the mail in a real browser: it asks for nothing, fits a phone, and reads by day and by night."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from reconciler.report.render import mail_page
from reconciler.report.report import Brand, Report
from tests.browser import browser, needs_chromium, opened
from tests.reports import safe_report, sample_report

pytestmark = needs_chromium

REPORTS = {
    "bad": sample_report(),
    "quiet": safe_report(),
    "urgent": sample_report(is_urgent=True, part="Lakeview", trends=(), lines=()),
    "branded": sample_report(brand=Brand(title="Oak & Elm <Realty>", colour="#ffcc00")),
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def written(folder: Path, report: Report) -> Path:
    path = folder / "mail.html"
    path.write_text(mail_page(report), "utf-8")
    return path


@pytest.mark.parametrize("name", REPORTS)
def test_it_opens_without_a_word_on_the_console_and_without_a_request(
    chromium: Browser, tmp_path: Path, name: str
) -> None:
    with opened(chromium, written(tmp_path, REPORTS[name])) as seen:
        assert seen.said == []
        assert seen.asked == []


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        *((name, scheme) for name in ("bad", "branded") for scheme in ("light", "dark")),
        ("quiet", "dark"),
        ("urgent", "light"),
    ],
)
def test_weak_eyes_and_screen_readers_can_read_it(chromium: Browser, tmp_path: Path, name: str, scheme: str) -> None:
    size = {"width": 600, "height": 900}
    with opened(chromium, written(tmp_path, REPORTS[name]), viewport=size, color_scheme=scheme) as seen:
        # Mail programs have landmarks of their own: a mail is a part of their page and has none.
        found = Axe().run(
            seen.page, options={"rules": {"region": {"enabled": False}, "landmark-one-main": {"enabled": False}}}
        )
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [600, 360, 320])
def test_nothing_is_wider_than_the_screen(chromium: Browser, tmp_path: Path, width: int) -> None:
    [section, *others] = sample_report().sections
    long = [replace(row, why="x" * 300, title="y" * 120, client="z" * 100 + "@home.example") for row in section.rows]
    report = sample_report(sections=(replace(section, rows=tuple(long)), *others), headline="v" * 200)
    with opened(chromium, written(tmp_path, report), viewport={"width": width, "height": 740}) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_first_screen_of_a_phone_tells_what_it_means_and_what_was_not_seen(
    chromium: Browser, tmp_path: Path
) -> None:
    with opened(chromium, written(tmp_path, REPORTS["bad"]), viewport={"width": 360, "height": 640}) as seen:
        for words in ("BLIND", "Not seen", "dee@acme.example", "Refused as unsafe"):
            box = seen.page.get_by_text(words).first.bounding_box()
            assert box
            assert box["y"] + box["height"] < 640


def test_it_is_dark_at_night(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, REPORTS["bad"]), color_scheme="dark") as seen:
        colours = [
            seen.page.locator(name).first.evaluate("each => getComputedStyle(each).backgroundColor")
            for name in (".card", ".alarm", ".box", ".code")
        ]
        assert all(sum(map(int, colour[4:-1].split(", "))) < 200 for colour in colours)
