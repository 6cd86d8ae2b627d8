"""What goes with a mail is bounded, and never cut without a word."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace

import pytest

from reconciler.delivering import Delivered, Outcome, Step
from reconciler.report import mail
from reconciler.report.report import Report, Row
from tests.reports import sample_report


def of(count: int) -> Report:
    """Return a report of so many findings."""
    report = sample_report()
    first = next(report.rows())

    def rows() -> Iterator[Row]:
        for number in range(count):
            yield replace(first, key=f"{number:08d}", why=f"The calendar moved at {number * 7919 % 86_400}.")

    return replace(report, rows=rows)


def test_a_few_findings_go_as_they_are() -> None:
    [attached], note = mail.attached(of(3), "acme")
    assert (attached.kind, note) == ("text/csv", "")
    assert attached.name == "acme-2026-11-23.csv"
    assert attached.content.decode("utf-8-sig").count("\r\n") == 4


def test_many_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "AS_IT_IS", 10_000)
    [attached], note = mail.attached(of(500), "acme")
    assert (attached.kind, attached.name, note) == ("application/gzip", "acme-2026-11-23.csv.gz", "")
    assert gzip.decompress(attached.content).decode("utf-8-sig").count("\r\n") == 501


def test_what_is_too_large_for_a_mail_is_named_and_made_by_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "AS_IT_IS", 10_000)
    monkeypatch.setattr(mail, "PACKED", 5_000)
    attached, note = mail.attached(of(20_000), "acme")
    assert attached == ()
    assert note == "All findings are too large for a mail: `reconcile report acme --csv FILE` writes them."


def test_where_nothing_was_found_nothing_is_attached() -> None:
    assert mail.attached(of(0), "acme") == ((), "")


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ((), 0),
        ((Step.SENT, Step.NOTHING, Step.BUSY), 0),
        ((Step.SENT, Step.REFUSED), 5),
        ((Step.UNCONFIRMED,), 5),
    ],
)
def test_what_did_not_arrive_for_sure_is_the_exit_code(steps: tuple[Step, ...], code: int) -> None:
    assert Outcome(tuple(Delivered("mail", step) for step in steps)).exit_code == code
