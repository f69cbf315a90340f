"""Figures into a document: what stands between two marks is replaced by the tables of reports, the rest is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.evaluation import goals
from appliance.evaluation.errors import EvaluationError
from appliance.evaluation.results import EvaluationReport
from appliance.evaluation.tables import grid, markdown

BEGIN = "<!-- figures: begin -->"
END = "<!-- figures: end -->"


def filled(text: str, reports: Sequence[EvaluationReport]) -> str:
    """`text` with the figures of the reports between the marks.

    Raises:
        EvaluationError: not exactly one pair of marks.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise EvaluationError(f"one line {BEGIN} and after it one line {END} are needed")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    summary = "\n\n".join(["### Figures to reach, worst language", grid(goals.HEAD, goals.rows(reports))])
    return "\n\n".join([before + BEGIN, summary, *(markdown(report) for report in reports), END + after])


def fill(file: Path, reports: Sequence[EvaluationReport]) -> None:
    """Raises: EvaluationError, naming the file."""
    try:
        text = file.read_text(encoding="utf-8")
        written = filled(text, reports)
        unfinished = file.with_name(f".{file.name}.new")
        unfinished.write_text(written, encoding="utf-8")
        unfinished.replace(file)
    except OSError as error:
        raise EvaluationError(f"{file}: cannot be written: {error.strerror}") from error
    except EvaluationError as error:
        raise EvaluationError(f"{file}: {error.message}") from error
