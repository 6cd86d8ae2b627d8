"""Every answer has a class of its own for those who count them, whichever words a provider chose."""

from __future__ import annotations

import pytest

from reconciler.errors import AccessError
from reconciler.sources import answers, google_faults, microsoft_faults
from reconciler.sources.answers import kind_of
from reconciler.sources.wire import Answer


@pytest.mark.parametrize(
    ("status", "kind"),
    [(302, "3xx"), (400, "4xx"), (401, "4xx"), (404, "4xx"), (408, "4xx"), (410, "4xx"), (429, "429"), (503, "5xx")],
)
def test_what_a_provider_answered_is_known_by_its_status(status: int, kind: str) -> None:
    answer = Answer(status, {}, b"{}")
    said = (
        google_faults.fault(answer, google_faults.Asked(now=0.0)),
        microsoft_faults.fault(answer, microsoft_faults.Asked(now=0.0)),
    )
    assert [kind_of(error) for error in said] == [kind, kind]


def test_what_asks_for_less_haste_is_throttled_whatever_its_status() -> None:
    body = b'{"error": {"code": 403, "errors": [{"reason": "userRateLimitExceeded"}]}}'
    assert kind_of(google_faults.fault(Answer(403, {}, body), google_faults.Asked(now=0.0))) == "429"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answers.TransientError("did not answer in time"), "none"),
        (answers.DeniedError("gives no token (unauthorized_client)"), "4xx"),
        (AccessError("Google refuses this program: switch it on"), "4xx"),
        (RuntimeError("a mistake of ours"), "none"),
    ],
)
def test_without_a_status_the_kind_of_error_tells(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind
