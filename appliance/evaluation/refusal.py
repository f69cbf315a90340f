"""When to ask a speaker to say it again: what the engines say of an utterance, weighed into one score, and where to cut. Pure.

The score is the probability that an utterance is one the models understand, by a logistic regression on a few features of
development data, both sorts of utterance counting the same in all. An utterance without a word needs no score: it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from appliance.evaluation.errors import EvaluationError
from appliance.evaluation.results import Outcome

IN_DOMAIN_REFUSED = 0.06
"""Most of the understandable utterances that may be refused."""
RIDGE = 1.0
"""Penalty on the weights of standardised features, in utterances: keeps them finite where the two sorts do not overlap."""
STEPS = 50
CURVE = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10, 0.15, 0.20)
"""In-domain refused shares at which the curve is told."""

Floats = npt.NDArray[np.float64]


def _clipped(value: float, low: float, high: float) -> float:
    return min(high, max(low, value))


def _log(value: float) -> float:
    return _clipped(math.log(max(value, 1e-9)), -4.0, 0.0)


def _odds(value: float) -> float:
    bounded = _clipped(value, 1e-4, 1 - 1e-4)
    return math.log(bounded / (1 - bounded))


FEATURES: dict[str, Callable[[Outcome], float | None]] = {
    "avg_logprob": lambda item: None if item.avg_logprob is None else _clipped(item.avg_logprob, -4.0, 0.0),
    "no_speech_log_odds": lambda item: None if item.no_speech_prob is None else _odds(item.no_speech_prob),
    "log_agreement": lambda item: None if item.agreement is None else _log(item.agreement),
    "translation_score": lambda item: None if item.translation_score is None else _clipped(item.translation_score, -4.0, 0.0),
    "translation_flaw": lambda item: None if item.translation_score is None else float(bool(item.translation_flaw)),
}
"""What is weighed, by name. Logarithms are natural and kept within -4..0, probabilities within 0.0001..0.9999."""


class Point(msgspec.Struct, frozen=True):
    threshold: float
    in_domain: float
    """Share refused of what should be understood."""
    out_of_domain: float
    """Share refused of the rest."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """`refusal.json`: score = 1 / (1 + exp(-(bias + sum of weight x feature))); below `threshold` it is refused."""

    weights: dict[str, float]
    """By name of the feature."""
    bias: float
    threshold: float
    in_domain: int
    """Utterances it was made from."""
    out_of_domain: int
    curve: list[Point]

    def score(self, features: Mapping[str, float]) -> float:
        """0 to 1. Raises: KeyError for a missing feature."""
        total = self.bias + sum(weight * features[name] for name, weight in self.weights.items())
        return 1 / (1 + math.exp(-_clipped(total, -60.0, 60.0)))


def usable(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Names of the features that every utterance with a word has."""
    worded = [item for item in outcomes if _has_words(item)]
    return tuple(name for name, value in FEATURES.items() if worded and all(value(item) is not None for item in worded))


def calibrate(outcomes: Sequence[Outcome], names: Sequence[str] = ()) -> Calibration:
    """Fit the score on development data and set its threshold.

    Args:
        names: of the features to weigh; all usable ones when empty.

    Raises:
        EvaluationError: too few utterances of one of the two sorts, or a feature some of them do not have.
    """
    available = usable(outcomes)
    chosen = tuple(names) or available
    missing = [name for name in chosen if name not in available]
    if missing or not chosen:
        raise EvaluationError(f"refusal: not every utterance has {', '.join(missing) or 'any feature'}; usable: {', '.join(available)}")
    sorts = [sum(item.in_domain == sort for item in outcomes) for sort in (True, False)]
    if min(sorts) < 2:
        raise EvaluationError(f"refusal: {sorts[0]} in-domain and {sorts[1]} out-of-domain utterances; at least two of each are needed")
    worded = [item for item in outcomes if _has_words(item)]
    rows = np.array([[_feature(item, name) for name in chosen] for item in worded])
    weights, bias = _fit(rows, np.array([item.in_domain for item in worded], np.float64))
    made = Calibration(
        weights=dict(zip(chosen, weights.tolist(), strict=True)),
        bias=bias,
        threshold=0.0,
        in_domain=sorts[0],
        out_of_domain=sorts[1],
        curve=[],
    )
    points = curve(made, outcomes)
    threshold = _threshold(scores(made, outcomes, in_domain=True), IN_DOMAIN_REFUSED)
    return msgspec.structs.replace(made, threshold=threshold, curve=points)


def scores(calibration: Calibration, outcomes: Sequence[Outcome], *, in_domain: bool) -> list[float]:
    """Of one sort of utterance, 0 for one without a word."""
    chosen = [item for item in outcomes if item.in_domain == in_domain]
    return [calibration.score({name: _feature(item, name) for name in calibration.weights}) if _has_words(item) else 0.0 for item in chosen]


def curve(calibration: Calibration, outcomes: Sequence[Outcome]) -> list[Point]:
    """Refused shares of both sorts as the threshold rises."""
    known, unknown = (scores(calibration, outcomes, in_domain=sort) for sort in (True, False))
    thresholds = [_threshold(known, share) for share in CURVE]
    return [point(known, unknown, threshold) for threshold in dict.fromkeys(thresholds)]


def point(known: Sequence[float], unknown: Sequence[float], threshold: float) -> Point:
    return Point(threshold, _below(known, threshold), _below(unknown, threshold))


def _below(values: Sequence[float], threshold: float) -> float:
    return sum(value < threshold for value in values) / len(values) if values else 0.0


def _threshold(known: Sequence[float], share: float) -> float:
    """The highest threshold with at most `share` of the values below it."""
    ordered = sorted(known)
    return ordered[min(len(ordered) - 1, int(share * len(ordered) + 1e-9))]


def _feature(item: Outcome, name: str) -> float:
    value = FEATURES[name](item)
    if value is None:
        raise EvaluationError(f"refusal: line {item.line} has no {name}: evaluate it as the calibration's data was")
    return value


def _has_words(item: Outcome) -> bool:
    return any(character.isalnum() for character in item.hypothesis)


def _fit(rows: Floats, wanted: Floats) -> tuple[Floats, float]:
    """Weights (features) and bias of a ridge logistic regression by Newton's method; rows (utterances, features), wanted 0 or 1."""
    if not len(rows):
        raise EvaluationError("refusal: nothing was recognised in any utterance, so there is nothing to weigh")
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    design = np.column_stack([(rows - mean) / spread, np.ones(len(rows))])
    positives = max(1.0, float(wanted.sum()))
    negatives = max(1.0, float(len(wanted) - wanted.sum()))
    share = np.where(wanted > 0, len(wanted) / (2 * positives), len(wanted) / (2 * negatives))
    penalty = np.diag([RIDGE] * rows.shape[1] + [1e-3])
    solution = np.zeros(design.shape[1])
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-np.clip(design @ solution, -30, 30)))
        gradient = design.T @ (share * (likely - wanted)) + penalty @ solution
        curvature = (design * (share * likely * (1 - likely))[:, None]).T @ design + penalty
        step = np.linalg.solve(curvature, gradient)
        size = float(np.abs(step).max())
        solution = solution - step * min(1.0, 2.0 / max(size, 1e-12))  # a longer one may overshoot
        if size < 1e-8:
            break
    weights = solution[:-1] / spread
    return weights, float(solution[-1] - weights @ mean)
