"""How long a pause must be to end an utterance: short after a finished sentence, longer in the middle of one. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.config.schema import Listen

SENTENCE_MARKS = ".?!।"
CLAUSE_MARKS = ",;:"

SHORTEST_CUT_S = 0.2
"""Pause that ends an utterance close to its greatest length: a gap between words, so the cut is not inside one."""
_PATIENT_SHARE = 0.6
"""Up to this share of the greatest length the pause is not shortened."""
_BREATH_S = 0.1
"""Who paused so long inside the utterance may do it again and a little longer."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the recogniser makes of the utterance so far."""

    text: str
    stable: bool
    """Whether the decode before said the same."""


def endpoint_wait_s(listen: Listen, heard: Heard | None, inner_pause_s: float = 0.0, length_s: float = 0.0) -> float:
    """Seconds of silence after which the utterance is over.

    Args:
        listen: the configured shortest and longest wait and the greatest length.
        heard: None while nothing has been recognised yet.
        inner_pause_s: longest pause inside the utterance after which the speaker went on.
        length_s: length of the utterance so far.
    """
    shortest, longest = listen.endpoint_min_s, max(listen.endpoint_min_s, listen.endpoint_max_s)
    wait = shortest + _doubt(heard) * (longest - shortest)
    if inner_pause_s > 0:
        wait = max(wait, min(longest, inner_pause_s + _BREATH_S))
    patient_s = _PATIENT_SHARE * listen.max_utterance_s
    if length_s > patient_s:
        hurry = min(1.0, (length_s - patient_s) / (listen.max_utterance_s - patient_s))
        wait += hurry * (min(wait, SHORTEST_CUT_S) - wait)
    return wait


def _doubt(heard: Heard | None) -> float:
    """0: certainly a finished sentence, 1: certainly not. A recogniser that writes no marks is never certain."""
    if heard is None or not heard.text.strip():
        return 0.5
    last = heard.text.rstrip()[-1]
    if last in SENTENCE_MARKS:
        return 0.0 if heard.stable else 0.3
    if last in CLAUSE_MARKS:
        return 1.0
    return 0.5 if heard.stable else 1.0
