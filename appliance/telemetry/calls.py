"""What the events of calls say in metrics: one function to hand every event to."""

from __future__ import annotations

import msgspec

from appliance.events import (
    CallEnded,
    CallStarted,
    CallStateChanged,
    Event,
    KeyPressed,
    LanguageDecided,
    StageDelays,
    UtteranceInterpreted,
)
from appliance.telemetry import metrics
from appliance.telemetry.metrics import label

UNDECIDED = "undecided"
"""Language of a call before its decision."""
FIRST_STATE = "ringing"

_LANGUAGE_FALLBACKS = {"keypad": "language-keypad", "default": "language-default"}
_UTTERANCE_FALLBACKS = {"refused": "please-repeat", "failed": "failed"}
_NOBODY_LEFT = ("no-listener", "call-ended")
"""Reasons of utterances whose listener had gone: no call went on with less."""
_STAGES = tuple(name for name in StageDelays.__struct_fields__ if name != "total")


class CallMetrics:
    """Follows the calls of one process; `observe` never raises and never waits."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[str, str]] = {}  # call id -> language, state

    def observe(self, event: Event) -> None:
        match event:
            case CallStarted():
                metrics.CALLS_STARTED.inc()
                self._move(event.call_id, UNDECIDED, FIRST_STATE)
            case CallStateChanged(call_id=call, state=state):
                if call in self._calls:
                    self._move(call, self._calls[call][0], label("state", state))
            case LanguageDecided(call_id=call):
                language = label("language", event.language)
                metrics.LANGUAGE_DECISIONS.labels(language, event.how).inc()
                metrics.LANGUAGE_DECISION_DELAY.observe(event.after_s)
                if event.how in _LANGUAGE_FALLBACKS:
                    _fallback(_LANGUAGE_FALLBACKS[event.how])
                if call in self._calls:
                    self._move(call, language, self._calls[call][1])
            case UtteranceInterpreted():
                self._utterance(event)
            case KeyPressed():
                metrics.KEYS_PRESSED.labels(event.party, label("digit", event.digit) if event.digit not in "*#" else event.digit).inc()
            case CallEnded(call_id=call):
                language, _ = self._calls.get(call, (UNDECIDED, ""))
                metrics.CALLS_ENDED.labels(event.outcome, language).inc()
                metrics.CALL_DURATION.observe(event.duration_s)
                self._forget(call)
            case _:
                pass

    def _utterance(self, event: UtteranceInterpreted) -> None:
        metrics.UTTERANCES.labels(event.lane, event.outcome, label("reason", event.reason)).inc()
        if event.outcome in _UTTERANCE_FALLBACKS and event.reason not in _NOBODY_LEFT:
            _fallback(_UTTERANCE_FALLBACKS[event.outcome])
        if event.outcome != "silence":
            metrics.CONFIDENCE.labels(event.lane).observe(event.confidence)
        if event.outcome == "interpreted":
            metrics.DELAY.labels(event.lane).observe(event.delays.total)
            for stage, seconds in msgspec.structs.asdict(event.delays).items():
                if stage in _STAGES:
                    metrics.STAGE_DELAY.labels(event.lane, stage).observe(seconds)

    def _move(self, call: str, language: str, state: str) -> None:
        self._forget(call)
        self._calls[call] = (language, state)
        metrics.CALLS_ACTIVE.labels(language, state).inc()

    def _forget(self, call: str) -> None:
        before = self._calls.pop(call, None)
        if before is not None:
            metrics.CALLS_ACTIVE.labels(*before).dec()


def _fallback(reason: str) -> None:
    metrics.FALLBACKS.labels(label("reason", reason)).inc()
