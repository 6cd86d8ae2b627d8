"""Waiting ends with the signals that end a service, also with one that came before, and leaves no trace of itself."""

from __future__ import annotations

import signal

import pytest

from reconciler.cli.serving import ENDINGS, until_stopped


@pytest.mark.parametrize("number", ENDINGS)
def test_a_signal_before_the_wait_ends_it(number: signal.Signals) -> None:
    with until_stopped() as wait:
        signal.raise_signal(number)
        assert wait() == number


@pytest.mark.parametrize("number", ENDINGS)
def test_signals_mean_afterwards_what_they_meant_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(RuntimeError, match="the stand-in failed"), until_stopped():
        assert signal.getsignal(number) != before
        raise RuntimeError("the stand-in failed")
    assert signal.getsignal(number) == before
