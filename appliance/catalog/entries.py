"""The catalogue of models, `models/catalog.toml`: every key of an entry, and reading it strictly."""

from __future__ import annotations

import importlib.util
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.config.keylines import key_lines, line_of
from appliance.config.shape import shape_problems, written
from appliance.errors import ApplianceError

FILE_NAME = "catalog.toml"
PACKAGE = "package:"

Stage = Literal["recognise", "translate", "speak", "identify"]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class CatalogError(ApplianceError):
    """The catalogue cannot be used; one line per problem, each with file, line, key and what is allowed."""


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$")]
    """Name in `appliance.toml`, and folder under the models folder unless `folder` says otherwise."""
    stage: Stage
    title: str
    languages: list[str]
    licence: str
    """SPDX identifier where there is one."""
    commercial: bool
    """Whether a company may use it in its business."""
    source: str
    """Where it comes from."""
    revision: str
    """What exactly is taken from there."""
    format: Literal["ctranslate2-whisper", "ctranslate2-translator", "onnx-vits", "onnx-ctc", "fasttext"]
    recipe: str = ""
    """Command that makes the files from the source; empty when they are used as they come."""
    memory_mb: Annotated[int, Meta(ge=0)]
    """Of a process that holds it, in 1,000,000 bytes, beyond the process without it."""
    quality: str = ""
    """Published figures."""
    quality_source: str = ""
    """Who measured them, on what."""
    folder: str = ""
    """`package:NAME/FOLDER` for a model that an installed Python package carries."""
    files: dict[str, Sha256] = msgspec.field(default_factory=dict)
    """SHA-256 by file name, every file that is read; empty while the model has never been made here."""

    def location(self, models: Path) -> Path | None:
        """Its folder, which need not exist; None when the package that carries it is not installed."""
        if not self.folder.startswith(PACKAGE):
            return models / (self.folder or self.id)
        package, _, inside = self.folder.removeprefix(PACKAGE).partition("/")
        found = importlib.util.find_spec(package)
        roots = list(found.submodule_search_locations or []) if found else []
        return Path(roots[0]) / inside if roots else None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: list[Model]


@dataclass(frozen=True, slots=True)
class Catalog:
    file: Path
    models: dict[str, Model]

    @property
    def folder(self) -> Path:
        """The models folder, where the catalogue lies."""
        return self.file.parent

    def get(self, name: str) -> Model:
        """Raises: CatalogError, naming the models there are."""
        try:
            return self.models[name]
        except KeyError:
            raise CatalogError(f"{self.file}: no model {name!r}; it has {', '.join(self.models)}") from None


def load(file: Path) -> Catalog:
    """Raises: CatalogError."""
    try:
        text = file.read_text(encoding="utf-8")
        table: dict[str, Any] = tomllib.loads(text)
    except OSError as error:
        raise CatalogError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # bad UTF-8 and bad TOML
        raise CatalogError(f"{file}: {error}") from error
    problems = list(shape_problems(table, _File))
    if problems:
        lines = key_lines(text)
        raise CatalogError(
            "\n".join(f"{file}:{line_of(lines, problem.path) or 1}: {written(problem.path)}: {problem.message}" for problem in problems)
        )
    entries = msgspec.convert(table, _File).model
    names = [entry.id for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CatalogError(f"{file}: more than one entry with id {', '.join(twice)}")
    return Catalog(file, {entry.id: entry for entry in entries})
