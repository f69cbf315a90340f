from collections.abc import Iterator
from typing import Literal

import pytest

from appliance.events import (
    CallEnded,
    CallStarted,
    CallStateChanged,
    Event,
    KeyPressed,
    LanguageDecided,
    LanguageVote,
    StageDelays,
    UtteranceInterpreted,
)
from appliance.telemetry import metrics
from appliance.telemetry.calls import CallMetrics


@pytest.fixture(autouse=True)
def no_calls_before() -> Iterator[None]:
    metrics.CALLS_ACTIVE.clear()
    yield
    metrics.CALLS_ACTIVE.clear()


def active() -> dict[tuple[str, str], float]:
    (family,) = metrics.CALLS_ACTIVE.collect()
    return {(sample.labels["language"], sample.labels["state"]): sample.value for sample in family.samples if sample.value}


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def started(call: str) -> Event:
    return CallStarted(call_id=call, at=1.0, caller_number="1", called_number="2", worker="gateway-1")


def decided(call: str, language: str, how: Literal["votes", "keypad", "default", "memory"] = "votes") -> Event:
    vote = LanguageVote(source="audio", scores={language: 1.0}, weight=1.0)
    return LanguageDecided(call_id=call, at=2.0, language=language, confidence=0.9, after_s=1.5, votes=[vote], how=how)


def utterance(outcome: str, reason: str = "", **delays: float) -> UtteranceInterpreted:
    return UtteranceInterpreted(
        call_id="c",
        at=3.0,
        lane="caller_to_agent",
        utterance=1,
        segment=1,
        last_segment=True,
        started_s=0.0,
        ended_s=1.0,
        source_language="ta",
        target_language="hinglish",
        recognised="x",
        translated="y",
        confidence=0.93,
        outcome=outcome,  # type: ignore[arg-type]
        reason=reason,
        delays=StageDelays(**delays),
    )


def test_active_calls_move_between_languages_and_states_and_end_at_zero() -> None:
    calls = CallMetrics()
    calls.observe(started("a"))
    calls.observe(started("b"))
    assert active() == {("undecided", "ringing"): 2}
    calls.observe(CallStateChanged(call_id="a", at=2.0, state="interpreting"))
    calls.observe(decided("a", "ta"))
    assert active() == {("undecided", "ringing"): 1, ("ta", "interpreting"): 1}
    before = value("setu_calls_ended_total", outcome="interpreted", language="ta")
    calls.observe(CallEnded(call_id="a", at=9.0, outcome="interpreted", reason="", duration_s=8.0))
    assert value("setu_calls_ended_total", outcome="interpreted", language="ta") == before + 1
    calls.observe(CallEnded(call_id="b", at=9.0, outcome="caller_gone", reason="", duration_s=8.0))
    calls.observe(CallEnded(call_id="b", at=9.0, outcome="caller_gone", reason="", duration_s=8.0))
    assert active() == {}


def test_events_of_a_call_that_is_over_bring_nothing_back() -> None:
    calls = CallMetrics()
    calls.observe(started("a"))
    calls.observe(CallEnded(call_id="a", at=2.0, outcome="failed", reason="", duration_s=1.0))
    calls.observe(CallStateChanged(call_id="a", at=2.1, state="ended"))
    calls.observe(decided("a", "te"))
    assert active() == {}


def test_stages_of_an_interpreted_utterance() -> None:
    lane = {"lane": "caller_to_agent"}
    before = {stage: value("setu_stage_seconds_sum", stage=stage, **lane) for stage in ("recognise", "speak")}
    totals = value("setu_delay_seconds_sum", **lane)
    CallMetrics().observe(utterance("interpreted", recognise=0.25, speak=0.125, total=1.5))
    assert value("setu_stage_seconds_sum", stage="recognise", **lane) == pytest.approx(before["recognise"] + 0.25)
    assert value("setu_stage_seconds_sum", stage="speak", **lane) == pytest.approx(before["speak"] + 0.125)
    assert value("setu_delay_seconds_sum", **lane) == pytest.approx(totals + 1.5)
    assert metrics.REGISTRY.get_sample_value("setu_stage_seconds_count", {"stage": "total", **lane}) is None


def test_refused_and_silent_utterances_count_but_have_no_delay() -> None:
    lane = {"lane": "caller_to_agent"}
    delays, confidences = value("setu_delay_seconds_count", **lane), value("setu_confidence_count", **lane)
    refused = value("setu_utterances_total", outcome="refused", reason="low-confidence", **lane)
    CallMetrics().observe(utterance("refused", "low-confidence"))
    CallMetrics().observe(utterance("silence"))
    assert value("setu_utterances_total", outcome="refused", reason="low-confidence", **lane) == refused + 1
    assert value("setu_delay_seconds_count", **lane) == delays
    assert value("setu_confidence_count", **lane) == confidences + 1


def fallbacks() -> dict[str, float]:
    (family,) = metrics.FALLBACKS.collect()
    return {sample.labels["reason"]: sample.value for sample in family.samples}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (decided("c", "ta", "keypad"), "language-keypad"),
        (decided("c", "hi", "default"), "language-default"),
        (utterance("refused", "unclear-speech"), "please-repeat"),
        (utterance("failed", "timeout"), "failed"),
    ],
)
def test_what_went_with_less_than_it_should_counts_as_a_fallback(event: Event, reason: str) -> None:
    before = fallbacks()
    CallMetrics().observe(event)
    assert fallbacks() == before | {reason: before.get(reason, 0.0) + 1}


@pytest.mark.parametrize(
    "event",
    [
        decided("c", "ta", "votes"),
        decided("c", "ta", "memory"),
        utterance("interpreted"),
        utterance("silence"),
        utterance("failed", "no-listener"),
        utterance("failed", "call-ended"),
    ],
)
def test_what_went_as_it_should_is_no_fallback(event: Event) -> None:
    before = fallbacks()
    CallMetrics().observe(event)
    assert fallbacks() == before


def test_keys_keep_their_digit() -> None:
    before = value("setu_keys_pressed_total", party="caller", digit="*")
    CallMetrics().observe(KeyPressed(call_id="a", at=1.0, party="caller", digit="*"))
    assert value("setu_keys_pressed_total", party="caller", digit="*") == before + 1


def test_free_text_cannot_grow_a_label() -> None:
    assert metrics.label("test-text", "Cannot connect to 10.1.2.3: timed out") == "other"
    assert metrics.label("test-text", "") == "none"
    values = {metrics.label("test-many", f"value-{number}") for number in range(1000)}
    assert len(values) == 65
    assert "other" in values
    assert metrics.label("test-many", "value-1") == "value-1"


def test_all_names_begin_with_the_project_and_the_text_can_be_read_by_prometheus() -> None:
    body, content_type = metrics.render()
    names = {line.split()[2] for line in body.decode().splitlines() if line.startswith("# TYPE")}
    own = {name for name in names if not name.startswith(("process_", "python_"))}
    assert own
    assert all(name.startswith("setu_") for name in own)
    assert not {name for name in own if name.endswith("_created")}
    assert content_type.startswith("text/plain")
