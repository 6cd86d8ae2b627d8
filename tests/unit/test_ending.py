"""A run that was asked to end waits for nothing any more."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from reconciler.cli.ending import SIGNALS, Ending, heeding
from reconciler.quota import Budget, Quota
from reconciler.sources.answers import PostponedError

A_YEAR = 365 * 86400.0


def test_a_sleep_ends_when_the_run_is_to_end(capfd: pytest.CaptureFixture[str]) -> None:
    ending = Ending()
    assert not ending()
    ending.ask(signal.SIGTERM)
    ending.sleep(A_YEAR)
    assert ending()
    assert "asked to end" in capfd.readouterr().err


def test_who_is_asked_to_end_while_nobody_reads_what_is_said_finishes_what_is_in_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    monkeypatch.setattr("reconciler.cli.ending.STDERR", writes)
    ending = Ending()
    try:
        ending.ask(signal.SIGINT)
    finally:
        os.close(writes)
    assert ending()


def test_who_waits_for_a_budget_gives_up_when_the_run_is_to_end() -> None:
    ending = Ending()
    quota: Quota = ending.quota("google", Budget(per_minute=1, share=1.0), None)

    def patience() -> float:
        return 0.0 if ending() else A_YEAR

    def sent() -> None:
        ending.ask(signal.SIGTERM)

    quota.call(sent, agent="", patience=patience)
    with pytest.raises(PostponedError, match="the run's time is up"):
        quota.call(sent, agent="", patience=patience)


def test_signals_are_heeded_while_a_run_is_at_work_and_no_longer() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with heeding() as ending:
        assert [signal.getsignal(number) for number in SIGNALS] == [ending.ask] * 2
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_run_in_a_thread_leaves_signals_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with heeding():
            seen.extend(signal.getsignal(number) for number in SIGNALS)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(number) for number in SIGNALS]
