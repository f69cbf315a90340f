"""When a worker takes one more call."""

from __future__ import annotations

import pytest

from appliance.gateway.admission import LATE_SHARE, TICK_S, WINDOW_S, Admission


def test_up_to_the_configured_number() -> None:
    admission = Admission(2)
    assert [admission.verdict(calls) for calls in range(4)] == ["ready", "ready", "full", "full"]


def late(share: float, seconds: int) -> Admission:
    """After so long with such a share of late ticks."""
    admission = Admission(100)
    for second in range(seconds + 1):
        admission.observe(round(second * share / TICK_S), float(second))
    return admission


def test_late_audio_refuses_calls_whatever_is_configured() -> None:
    assert late(2 * LATE_SHARE, 10).verdict(3) == "busy"
    assert late(LATE_SHARE / 2, 10).verdict(3) == "ready"


def test_the_first_call_is_always_taken() -> None:
    assert late(1.0, 10).verdict(0) == "ready"


def test_a_moment_of_lateness_right_after_the_start_says_nothing() -> None:
    assert late(1.0, 1).verdict(3) == "ready"


def test_lateness_is_forgotten() -> None:
    admission = late(1.0, 10)
    ended = round(10 / TICK_S)
    for second in range(11, 11 + round(WINDOW_S) + 1):
        admission.observe(ended, float(second))
    assert admission.late_share == pytest.approx(0.0)
    assert admission.verdict(3) == "ready"
