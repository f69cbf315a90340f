"""`refusal.json` of a recogniser: how what the engines say of an utterance weighs into the chance that they understood it.

score = 1 / (1 + exp(-(bias + sum of weight x feature))), a logistic regression on development data, written by
`appliance evaluate refusal`. Made for one recogniser with its translator: it lies in the recogniser's folder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.config.load import LoadedConfig
from appliance.errors import ApplianceError

FILE_NAME = "refusal.json"
Share = Annotated[float, Meta(ge=0, le=1)]

_LEAST_SHARE = 1e-4
_ODDS = math.log((1 - _LEAST_SHARE) / _LEAST_SHARE)
RANGES: dict[str, tuple[float, float]] = {
    "avg_logprob": (-4.0, 0.0),
    "no_speech_log_odds": (-_ODDS, _ODDS),
    "log_agreement": (-4.0, 0.0),
    "empty_log_odds": (-_ODDS, _ODDS),
    "partial_agreement": (0.0, 1.0),
    "translation_score": (-4.0, 0.0),
}
"""What may be weighed, and the bounds it is kept within. Logarithms are natural; the agreement is that of the second reading."""
TRANSLATION = "translation_score"


class CalibrationError(ApplianceError):
    """A `refusal.json` cannot be used."""


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    threshold: Share
    in_domain: Share
    """Share refused of what should be understood."""
    out_of_domain: Share
    """Share refused of the rest."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An utterance whose score is below `threshold` is refused."""

    weights: dict[str, float]
    """By name of the feature."""
    bias: float
    threshold: Share
    typical: dict[str, float]
    """Median of each weighed feature over the utterances that should be understood."""
    in_domain: int
    """Utterances it was made from."""
    out_of_domain: int
    curve: list[Point]
    """Refused shares as the threshold rises."""

    def __post_init__(self) -> None:
        """Raises: ValueError for a feature that there is not, or one without a typical value."""
        unknown = sorted(self.weights.keys() - RANGES.keys())
        if unknown or not self.weights:
            raise ValueError(f"weights of {', '.join(unknown) or 'nothing'}; possible: {', '.join(RANGES)}")
        if self.typical.keys() != self.weights.keys():
            raise ValueError(f"typical values of {', '.join(self.typical) or 'nothing'}, but weights of {', '.join(self.weights)}")
        if not all(map(math.isfinite, (self.bias, *self.weights.values(), *self.typical.values()))):
            raise ValueError("a number is not finite")

    @property
    def weighs_translation(self) -> bool:
        return TRANSLATION in self.weights

    def missing(self, values: Mapping[str, float]) -> list[str]:
        """Features that are weighed and not among `values`."""
        return [name for name in self.weights if name not in values]

    def score(self, values: Mapping[str, float]) -> float:
        """0 to 1. Raises: KeyError for a missing feature."""
        total = self.bias + sum(weight * values[name] for name, weight in self.weights.items())
        return 1 / (1 + math.exp(-_within(total, -60.0, 60.0)))

    def best(self, name: str) -> float:
        """The value of a feature that speaks most for an utterance."""
        low, high = RANGES[name]
        return high if self.weights[name] >= 0 else low

    def weakest(self, values: Mapping[str, float]) -> str:
        """Name of the feature that lowers the score most against what is typical. Raises: as `score`."""
        return max(self.weights, key=lambda name: self.weights[name] * (self.typical[name] - values[name]))


def features(
    *,
    avg_logprob: float | None,
    no_speech_prob: float | None,
    support: float | None,
    empty_prob: float | None,
    partial_agreement: float | None,
    translation_score: float | None,
) -> dict[str, float]:
    """The features that can be had, by name.

    Args:
        avg_logprob: of the recogniser, natural logarithm, mean per token.
        no_speech_prob: of the recogniser.
        support: of its text by the second reading, 0 to 1.
        empty_prob: that the recogniser would rather have written nothing.
        partial_agreement: of the last partial decode with the final one, 0 to 1.
        translation_score: as `avg_logprob`, of the translator.
    """
    found: dict[str, float | None] = {
        "avg_logprob": avg_logprob,
        "no_speech_log_odds": None if no_speech_prob is None else _log_odds(no_speech_prob),
        "log_agreement": None if support is None else math.log(max(support, 1e-9)),
        "empty_log_odds": None if empty_prob is None else _log_odds(empty_prob),
        "partial_agreement": partial_agreement,
        TRANSLATION: translation_score,
    }
    return {name: _within(value, *RANGES[name]) for name, value in found.items() if value is not None}


def decode(data: bytes, name: str) -> Calibration:
    """Raises: CalibrationError, naming the file `name`."""
    try:
        return msgspec.json.decode(data, type=Calibration)
    except msgspec.MsgspecError as error:
        hint = "make it with: appliance evaluate refusal --out FILE"
        raise CalibrationError(f"{name}: no calibration of a recogniser: {error}", hint=hint) from error


def read(folder: Path) -> Calibration | None:
    """That of a recogniser's folder; None when it has none. Raises: CalibrationError."""
    file = folder / FILE_NAME
    try:
        return decode(file.read_bytes(), str(file))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CalibrationError(f"{file}: cannot be read: {error.strerror}") from error


def of_recogniser(loaded: LoadedConfig) -> Calibration | None:
    """That of the active recogniser, None when it was never calibrated. Raises: CalibrationError."""
    config = loaded.config
    if config.stt.engine == "stub" or not config.stt.model:
        return None  # whatever model is named, it is not the one that answers
    return read(loaded.path(config.models.folder) / config.stt.model)


def _within(value: float, low: float, high: float) -> float:
    return min(high, max(low, value))


def _log_odds(share: float) -> float:
    bounded = _within(share, _LEAST_SHARE, 1 - _LEAST_SHARE)
    return math.log(bounded / (1 - bounded))
