"""When to ask a speaker to say it again: what the engines say of an utterance, weighed into one score, and where to cut. Pure.

The score is the probability that an utterance is one the models understand, by a logistic regression on a few features of
development data, both sorts of utterance counting the same in all. Silence, and a translation that the guards reject, need no
score: they are refused, as in a call (`appliance.interpreter.belief`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt

from appliance.evaluation.errors import EvaluationError
from appliance.evaluation.results import Outcome
from appliance.interpreter.calibration import RANGES, Calibration, Point, features
from appliance.interpreter.confidence import Evidence, is_silence, is_wordless

IN_DOMAIN_REFUSED = 0.06
"""Most of the understandable utterances that may be refused, however many others are."""
RIDGE = 1.0
"""Penalty on the weights of standardised features, in utterances: keeps them finite where the two sorts do not overlap."""
STEPS = 50
CURVE = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10, 0.15, 0.20)
"""In-domain refused shares at which the curve is told."""

Floats = npt.NDArray[np.float64]


def usable(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Names of the features that every utterance has, those left out that are refused without a score."""
    scored = [_features(item) for item in outcomes if _needs_score(item)]
    return tuple(name for name in RANGES if scored and all(name in values for values in scored))


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
    scored = [item for item in outcomes if _needs_score(item)]
    rows = np.array([[_features(item)[name] for name in chosen] for item in scored])
    wanted = np.array([item.in_domain for item in scored], np.float64)
    if not wanted.any():
        raise EvaluationError("refusal: no in-domain utterance was understood, so there is nothing to weigh")
    weights, bias = _fit(rows, wanted)
    made = Calibration(
        weights=dict(zip(chosen, weights.tolist(), strict=True)),
        bias=bias,
        threshold=0.0,
        typical=dict(zip(chosen, np.median(rows[wanted > 0], axis=0).tolist(), strict=True)),
        in_domain=sorts[0],
        out_of_domain=sorts[1],
        curve=[],
    )
    known, unknown = (scores(made, outcomes, in_domain=sort) for sort in (True, False))
    threshold = _best(known, unknown)
    points = sorted([*curve(made, outcomes), point(known, unknown, threshold)], key=lambda item: item.threshold)
    return msgspec.structs.replace(made, threshold=threshold, curve=list(dict.fromkeys(points)))


def scores(calibration: Calibration, outcomes: Sequence[Outcome], *, in_domain: bool) -> list[float]:
    """Of one sort of utterance, 0 for those that need none.

    Raises:
        EvaluationError: an utterance does not have what is weighed.
    """
    return [_score(calibration, item) for item in outcomes if item.in_domain == in_domain]


def curve(calibration: Calibration, outcomes: Sequence[Outcome]) -> list[Point]:
    """Refused shares of both sorts as the threshold rises."""
    known, unknown = (scores(calibration, outcomes, in_domain=sort) for sort in (True, False))
    thresholds = [_threshold(known, share) for share in CURVE]
    return [point(known, unknown, threshold) for threshold in dict.fromkeys(thresholds)]


def point(known: Sequence[float], unknown: Sequence[float], threshold: float) -> Point:
    return Point(threshold, _below(known, threshold), _below(unknown, threshold))


def _below(values: Sequence[float], threshold: float) -> float:
    return sum(value < threshold or value == 0.0 for value in values) / len(values) if values else 0.0


def _best(known: Sequence[float], unknown: Sequence[float]) -> float:
    """The threshold that errs least, a share refused wrongly and one accepted wrongly weighing the same, within the bound.

    It lies in the middle between two scores; where several are as good, in the widest gap.
    """
    most = _threshold(known, IN_DOMAIN_REFUSED)
    ordered = sorted({score for score in (*known, *unknown) if score <= most} | {0.0})
    gaps = [(high - low, (high + low) / 2) for low, high in pairwise(ordered)]

    def errors(threshold: float) -> float:
        return _below(known, threshold) + 1 - _below(unknown, threshold)

    return min([*gaps, (0.0, most)], key=lambda gap: (errors(gap[1]), -gap[0]))[1]


def _threshold(known: Sequence[float], share: float) -> float:
    """The highest threshold with at most `share` of the values below it."""
    ordered = sorted(known)
    return ordered[min(len(ordered) - 1, int(share * len(ordered) + 1e-9))]


def _score(calibration: Calibration, item: Outcome) -> float:
    if not _needs_score(item):
        return 0.0
    values = _features(item)
    missing = calibration.missing(values)
    if missing:
        raise EvaluationError(f"refusal: line {item.line} has no {', '.join(missing)}: evaluate it as the calibration's data was")
    return calibration.score(values)


def _features(item: Outcome) -> dict[str, float]:
    return features(
        avg_logprob=item.avg_logprob,
        no_speech_prob=item.no_speech_prob,
        support=item.agreement,
        empty_prob=item.empty_prob,
        partial_agreement=item.partial_agreement,
        translation_score=item.translation_score,
    )


def _needs_score(item: Outcome) -> bool:
    seen = Evidence(item.hypothesis, item.avg_logprob or 0.0, item.no_speech_prob or 0.0)
    return not (item.translation_flaw or is_wordless(seen) or is_silence(seen))


def _fit(rows: Floats, wanted: Floats) -> tuple[Floats, float]:
    """Weights (features) and bias of a ridge logistic regression by Newton's method; rows (utterances, features), wanted 0 or 1."""
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
