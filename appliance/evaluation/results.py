"""What an evaluation finds, row by row and in all: the JSON of `--report`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance.evaluation.errors import EvaluationError


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of a manifest. Fields that do not apply keep their default, and are left out of the JSON."""

    line: int
    """Of the manifest."""
    group: str
    """What it is counted under: a language, or a direction as `ta-hinglish`."""
    in_domain: bool = True
    """False: it should be refused."""
    reference: str = ""
    hypothesis: str = ""
    """Recognised."""
    values: tuple[str, ...] = ()
    """Slot values that should be in the hypothesis."""
    translation_reference: str = ""
    translation: str = ""
    translation_values: tuple[str, ...] = ()
    """Slot values that should be in the translation."""
    language: str = ""
    """Right one; Hinglish is heard as `hi`."""
    language_found: str | None = None
    """None: nothing was to be found."""
    refused: bool | None = None
    """Whether a call would have asked to say it again; None: the evaluation does not tell."""
    reason: str = ""
    """Why it was refused."""
    audio_s: float = 0.0
    latency_s: float = 0.0
    """From the request to the answer, waiting included; all requests of the row together."""
    compute_s: float = 0.0
    """In the engines."""
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    agreement: float | None = None
    """Of the recogniser's second reading with its text."""
    empty_prob: float | None = None
    """That the recogniser would rather have written nothing."""
    partial_agreement: float | None = None
    """Of what a partial decode saw with the final one; 1 where it saw too little to differ."""
    translation_score: float | None = None
    """Mean log-probability per token of the translation."""
    translation_flaw: str = ""
    """What the guards found wrong with the translation."""


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Shares are 0 to 1; null: nothing of the kind was there to count."""

    rows: int
    wer: float | None = None
    cer: float | None = None
    exact: float | None = None
    """Share of rows recognised without any error, punctuation aside."""
    numbers: float | None = None
    """Share of rows with numbers whose numbers are exactly those of the reference."""
    values: float | None = None
    """Share of rows with slot values where all are in the hypothesis."""
    chrf: float | None = None
    """0 to 100."""
    translation_exact: float | None = None
    translation_numbers: float | None = None
    translation_values: float | None = None
    language: float | None = None
    """Share of the right language after the one utterance."""
    refused_in_domain: float | None = None
    refused_out_of_domain: float | None = None
    out_of_domain: int = 0
    """Rows that should be refused."""
    silent: float | None = None
    """Share of those in which nothing was recognised at all."""
    real_time_factor: float | None = None
    """Engine time over length of the audio."""
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None


class EngineUsed(msgspec.Struct, frozen=True):
    engine: str
    model: str
    languages: list[str]


class EvaluationReport(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    """stt, mt or lid."""
    manifest: str
    started: str
    """UTC, ISO 8601."""
    line: str
    """What was done to the audio; empty for text."""
    held: bool = False
    """Whether the recogniser was told the language."""
    translated: bool = False
    """Whether what was recognised was translated too."""
    engines: dict[str, EngineUsed]
    """By kind of server."""
    scores: dict[str, Scores]
    """By language or direction, then `all`."""
    confusion: dict[str, dict[str, int]]
    rows: list[Outcome]


def write(report: msgspec.Struct, path: Path) -> None:
    """Raises: EvaluationError when the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be written: {error.strerror}") from error


def read(path: Path) -> EvaluationReport:
    """Raises: EvaluationError when it is no report of an evaluation."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=EvaluationReport)
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise EvaluationError(f"{path}: no report of an evaluation: {error}") from error
