"""How much a recognised and translated segment is to be believed, 0 to 1, by what each engine says of its own work. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SILENT = 0.5
"""Probability of no speech from which on a weak decode is taken for silence."""
_SILENT_BELOW = 0.5
"""Recogniser confidence under which it is."""
_AGREEMENT_SHARE = 0.3
"""How much of the confidence a final decode loses that has no word in common with the partial before it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of one decode."""

    text: str
    avg_logprob: float
    no_speech_prob: float
    agreement: float | None = None
    """Of the last partial with the final decode, 0..1; None when there was no partial."""
    support: float | None = None
    """Of the text by a second reading of the sound, 0..1; None when the engine has none."""
    empty_prob: float | None = None
    """That the recogniser would rather have written nothing; None when the engine does not tell."""


def is_wordless(seen: Evidence) -> bool:
    return not any(character.isalnum() for character in seen.text)


def is_silence(seen: Evidence) -> bool:
    """Nothing was said: no word, or a weak decode, of what the recogniser itself takes for no speech."""
    return seen.no_speech_prob >= _SILENT and (is_wordless(seen) or math.exp(min(0.0, seen.avg_logprob)) < _SILENT_BELOW)


def recognised(seen: Evidence) -> float:
    """Confidence in a transcript: its mean probability per token, less when the partial before saw something else."""
    if is_wordless(seen) or is_silence(seen):
        return 0.0
    agreement = 1.0 if seen.agreement is None else seen.agreement
    doubt = max(0.0, seen.no_speech_prob - _SILENT) / (1 - _SILENT) / 2
    return math.exp(min(0.0, seen.avg_logprob)) * (1 - _AGREEMENT_SHARE * (1 - agreement)) * (1 - doubt)


def translated(score: float) -> float:
    """Confidence in a translation from its mean log-probability per token."""
    return math.exp(min(0.0, score))


def overall(recogniser: float, translator: float) -> float:
    """Of a segment: the geometric mean, so that one bad half cannot hide behind the other."""
    return math.sqrt(recogniser * translator)
