"""A whole evaluation: a manifest through the engines, one row after the other, as the latencies are to be those of one call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from appliance.config.load import LoadedConfig
from appliance.evaluation import manifest
from appliance.evaluation.audio import Line
from appliance.evaluation.errors import EvaluationError
from appliance.evaluation.recognition import Listening
from appliance.evaluation.results import EngineUsed, EvaluationReport, Outcome
from appliance.evaluation.scores import confusion, require_packages, summarise
from appliance.evaluation.servers import serving
from appliance.evaluation.translation import Translator, outcome
from appliance.interpreter.belief import Belief
from appliance.interpreter.calibration import of_recogniser
from appliance.interpreter.hinglish import Hinglish, read_lexicon
from appliance.modelserver.client import Kind
from appliance.modelserver.errors import ModelServerError

LEXICON = "lexicon/it_terms.tsv"
"""In the models folder."""

Row = TypeVar("Row", manifest.SpokenRow, manifest.TextRow)
Progress = Callable[[int, int], None]
"""Called with the number of rows done and of all."""


async def speech(
    loaded: LoadedConfig, path: Path, line: Line, *, kind: str = "stt", held: bool = True, translate: bool = False, progress: Progress
) -> EvaluationReport:
    """Evaluate recognition (`kind` stt) or the language decision (lid) on a speech manifest.

    Raises:
        EvaluationError: the manifest, a file of it or a model server; with the line of the manifest.
        CalibrationError: the recogniser's `refusal.json` cannot be used.
    """
    require_packages()
    rows = manifest.read_speech(path)
    kinds: tuple[Kind, ...] = ("stt", "mt") if translate else ("stt",)
    belief = Belief(loaded.config, of_recogniser(loaded))
    started = _now()
    async with serving(loaded, kinds) as models:
        listening = Listening(models.client, loaded.config, belief, _hinglish(loaded), line, held, translate)
        found = await _each(path, rows, listening.outcome, progress)
        return _report(kind, path, started, found, models.engines, line=str(line), held=held, translated=translate)


async def text(loaded: LoadedConfig, path: Path, *, progress: Progress) -> EvaluationReport:
    """Evaluate translation on a text manifest. Raises: as `speech`."""
    require_packages()
    rows = manifest.read_text(path)
    belief = Belief(loaded.config, of_recogniser(loaded))
    started = _now()
    async with serving(loaded, ("mt",)) as models:
        translator = Translator(models.client, _hinglish(loaded))
        found = await _each(path, rows, lambda row: outcome(row, translator, belief), progress)
        return _report("mt", path, started, found, models.engines)


async def _each(path: Path, rows: Sequence[Row], judge: Callable[[Row], Awaitable[Outcome]], progress: Progress) -> list[Outcome]:
    found = []
    for number, row in enumerate(rows):
        progress(number, len(rows))
        try:
            found.append(await judge(row))
        except ModelServerError as error:
            raise EvaluationError(f"{path}:{row.line}: model server {error}") from error
    progress(len(rows), len(rows))
    return found


def _report(
    kind: str,
    path: Path,
    started: str,
    found: list[Outcome],
    engines: dict[str, EngineUsed],
    *,
    line: str = "",
    held: bool = False,
    translated: bool = False,
) -> EvaluationReport:
    return EvaluationReport(
        kind=kind,
        manifest=path.name,
        started=started,
        line=line,
        held=held,
        translated=translated,
        engines=engines,
        scores=summarise(found),
        confusion=confusion(found),
        rows=found,
    )


def _hinglish(loaded: LoadedConfig) -> Hinglish:
    lexicon = loaded.path(loaded.config.models.folder) / LEXICON
    return Hinglish(read_lexicon(lexicon) if lexicon.exists() else {})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
