"""The reports of real calls (`appliance call`, `appliance demo`), put together: delays, languages, values, and scores as of a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from appliance.evaluation.errors import EvaluationError
from appliance.evaluation.results import Outcome, Scores
from appliance.evaluation.scores import require_packages, summarise
from appliance.phone.report import CallReport, DelaySummary, Report, Summary, Utterance, percentile
from appliance.phone.report import summarise as summarise_calls

STAGES = ("endpoint_wait", "recognise", "identify", "translate", "render", "speak", "play", "line")


class CallsReport(msgspec.Struct, frozen=True, kw_only=True):
    files: list[str]
    summary: Summary
    """As in the report of one run, over all calls."""
    stages_s: dict[str, DelaySummary]
    """Delays of the interpreted utterances by stage, and `total`."""
    languages: dict[str, Summary]
    """The summary by the caller's language, where that was known."""
    scores: dict[str, Scores]
    """By lane and language as `ta caller_to_agent`, then `all`; of the utterances whose text was known."""


def evaluate(paths: Sequence[Path]) -> CallsReport:
    """Raises: EvaluationError: no report, or a file that is none."""
    require_packages()
    files = [file for path in paths for file in _files(path)]
    calls = [call for file in files for call in _read(file).calls]
    if not calls:
        raise EvaluationError(f"{', '.join(map(str, files))}: there is no call in it")
    languages = sorted({call.language.expected for call in calls if call.language.expected is not None})
    return CallsReport(
        files=[str(file) for file in files],
        summary=summarise_calls(calls),
        stages_s=stages([row for call in calls for row in call.utterances]),
        languages={code: summarise_calls([call for call in calls if call.language.expected == code]) for code in languages},
        scores={group: _without_engines(found) for group, found in summarise(outcomes(calls)).items()},
    )


def outcomes(calls: Sequence[CallReport]) -> list[Outcome]:
    """The utterances whose text was known; numbered through."""
    known = [(call, row) for call in calls for row in call.utterances if row.reference is not None]
    return [
        Outcome(
            line=number,
            group=f"{call.language.expected or call.language.detected or 'unknown'} {row.lane}",
            reference=row.reference or "",
            hypothesis=row.recognised,
            translation_reference=row.expected or "",
            translation=row.translated,
            refused=row.outcome == "refused",
            audio_s=max(0.0, row.ended_s - row.started_s),
            latency_s=max(0.0, row.delay_s.total or 0.0),
        )
        for number, (call, row) in enumerate(known, 1)
    ]


def stages(rows: Sequence[Utterance]) -> dict[str, DelaySummary]:
    told = [row.delay_s for row in rows if row.outcome == "interpreted" and row.delay_s.total is not None]
    found = {name: [value for row in told if (value := getattr(row, name)) is not None] for name in ("total", *STAGES)}
    return {name: _summary(values) for name, values in found.items()}


def _summary(values: Sequence[float]) -> DelaySummary:
    if not values:
        return DelaySummary(0, None, None, None)
    return DelaySummary(len(values), percentile(values, 0.50), percentile(values, 0.95), max(values))


def _without_engines(found: Scores) -> Scores:
    """A call tells of its engines only how long the listener waited for them."""
    return msgspec.structs.replace(found, real_time_factor=None)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.rglob("report.json"))
    if not found:
        raise EvaluationError(f"{path}: there is no report.json in it")
    return found


def _read(path: Path) -> Report:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise EvaluationError(f"{path}: no report of calls: {error}") from error
