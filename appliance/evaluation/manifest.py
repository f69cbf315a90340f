"""Manifests: tab-separated files with a header, one utterance or sentence a line.

    speech  audio text language [values target_language reference target_values]
    text    source_language source target_language reference [values]

`values` holds slot values with `|` between them; those of a text manifest are to be found in the translation. Other columns
are allowed and left alone. Audio paths are relative to the manifest. An empty `text` is speech (or noise) that must be refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.evaluation.errors import EvaluationError
from appliance.text.languages import BY_CODE

SPEECH_COLUMNS = ("audio", "text", "language")
TEXT_COLUMNS = ("source_language", "source", "target_language", "reference")


@dataclass(frozen=True, slots=True)
class SpokenRow:
    line: int
    """Of the manifest, the header being 1."""
    audio: Path
    text: str
    """What was said; empty: nothing that the appliance should understand."""
    language: str
    """Language code, `hinglish` included."""
    values: tuple[str, ...] = ()
    """Slot values as they are in `text`."""
    target_language: str = ""
    reference: str = ""
    """What `text` is in the target language."""
    target_values: tuple[str, ...] = ()
    """Slot values as they are in `reference`."""


@dataclass(frozen=True, slots=True)
class TextRow:
    line: int
    source_language: str
    source: str
    target_language: str
    reference: str
    values: tuple[str, ...] = ()
    """Slot values as they are in `reference`."""


def read_speech(path: Path) -> list[SpokenRow]:
    """Raises: EvaluationError, naming file, line, column and what is allowed."""
    rows = []
    for line, cells in _rows(path, SPEECH_COLUMNS):
        where = f"{path}:{line}"
        audio = path.parent / _filled(cells, "audio", where)
        if not audio.is_file():
            raise EvaluationError(f"{where}: audio: there is no file {audio}")
        target = cells.get("target_language", "")
        if target:
            _language(cells, "target_language", where)
        rows.append(
            SpokenRow(
                line,
                audio,
                cells["text"],
                _language(cells, "language", where),
                _values(cells.get("values", "")),
                target,
                cells.get("reference", ""),
                _values(cells.get("target_values", "")),
            )
        )
    return rows


def read_text(path: Path) -> list[TextRow]:
    """Raises: EvaluationError, naming file, line, column and what is allowed."""
    rows = []
    for line, cells in _rows(path, TEXT_COLUMNS):
        where = f"{path}:{line}"
        source, target = _language(cells, "source_language", where), _language(cells, "target_language", where)
        if source == target:
            raise EvaluationError(f"{where}: target_language: {target!r} is the source language, allowed: another")
        texts = _filled(cells, "source", where), _filled(cells, "reference", where)
        rows.append(TextRow(line, source, texts[0], target, texts[1], _values(cells.get("values", ""))))
    return rows


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from error
    header = [name.strip() for name in lines[0].split("\t")] if lines else []
    missing = [name for name in columns if name not in header]
    if missing:
        found = ", ".join(header) or "nothing"
        raise EvaluationError(f"{path}:1: column {', '.join(missing)} is missing; needed: {', '.join(columns)}; found: {found}")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise EvaluationError(f"{path}:1: column {', '.join(repeated)} is there twice")
    count = 0
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != len(header):
            raise EvaluationError(f"{path}:{number}: {len(cells)} columns, the header has {len(header)}")
        count += 1
        yield number, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    if not count:
        raise EvaluationError(f"{path}: holds no row behind its header")


def _filled(cells: Mapping[str, str], column: str, where: str) -> str:
    if not cells[column]:
        raise EvaluationError(f"{where}: {column}: is empty")
    return cells[column]


def _language(cells: Mapping[str, str], column: str, where: str) -> str:
    code = cells[column]
    if code not in BY_CODE:
        raise EvaluationError(f"{where}: {column}: unknown language {code!r}, allowed: {', '.join(BY_CODE)}")
    return code


def _values(cell: str) -> tuple[str, ...]:
    return tuple(value for part in cell.split("|") if (value := part.strip()))
