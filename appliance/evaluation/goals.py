"""The figures the starter models are to reach, and how far reports say they do: the worst language counts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from appliance.evaluation.audio import Line
from appliance.evaluation.results import EvaluationReport
from appliance.evaluation.scores import ALL
from appliance.evaluation.tables import NONE, cell

Condition = Literal["clean", "noise"]
CONDITIONS: tuple[Condition, ...] = ("clean", "noise")
NOISE_DB = 10.0
HEAD = ("", "goal, clean", "clean", f"goal, {NOISE_DB:g} dB noise", f"{NOISE_DB:g} dB noise")


@dataclass(frozen=True, slots=True)
class Goal:
    title: str
    kinds: tuple[str, ...]
    """Kinds of evaluation that tell it."""
    field: str
    """Of `Scores`."""
    clean: float
    noise: float | None
    """None: noise has nothing to do with it."""
    lower: bool = False
    """Whether less is better."""

    def wanted(self, condition: Condition) -> float | None:
        return self.clean if condition == "clean" else self.noise


GOALS = (
    Goal("WER", ("stt",), "wer", 0.05, 0.12, lower=True),
    Goal("numbers right", ("stt",), "numbers", 0.96, 0.88),
    Goal("slot values right", ("stt",), "values", 0.96, 0.88),
    Goal("language right after one utterance", ("lid",), "language", 0.99, 0.97),
    Goal("chrF of the translation of the reference text", ("mt",), "chrf", 93.0, None),
    Goal("slot values right after recognition and translation", ("stt",), "translation_values", 0.95, 0.86),
    Goal("in-domain utterances refused", ("stt",), "refused_in_domain", 0.06, 0.06, lower=True),
    Goal("out-of-phrasebook utterances refused", ("stt",), "refused_out_of_domain", 0.85, 0.80),
)


def condition(report: EvaluationReport) -> Condition | None:
    """Under which of the two conditions it was measured; None: under neither. Text has no noise."""
    if report.kind == "mt" or report.line == str(Line(bandlimit=True)):
        return "clean"
    return "noise" if report.line.startswith(f"{Line(bandlimit=True)}, ") and report.line.endswith(f" at {NOISE_DB:g} dB") else None


def rows(reports: Sequence[EvaluationReport]) -> list[list[str]]:
    """Cells under `HEAD`: for each goal the worst language (or direction) of all reports under that condition."""
    return [[goal.title, *(text for name in CONDITIONS for text in _cells(goal, name, reports))] for goal in GOALS]


def _cells(goal: Goal, name: Condition, reports: Sequence[EvaluationReport]) -> tuple[str, str]:
    wanted = goal.wanted(name)
    if wanted is None:
        return "", ""
    sign = "<=" if goal.lower else ">="
    found = [
        (value, group)
        for report in reports
        if report.kind in goal.kinds and condition(report) == name
        for group, scores in report.scores.items()
        if group != ALL and (value := getattr(scores, goal.field)) is not None
    ]
    if not found:
        return f"{sign} {cell(goal.field, wanted)}", NONE
    value, group = (max if goal.lower else min)(found)
    reached = value <= wanted if goal.lower else value >= wanted
    return f"{sign} {cell(goal.field, wanted)}", f"{cell(goal.field, value)} ({group}){'' if reached else ', **missed**'}"
