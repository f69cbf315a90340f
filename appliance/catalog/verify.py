"""Whether the files of a model are there and are the ones the catalogue means."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance.catalog.entries import Catalog, Model
from appliance.errors import ApplianceError


class ModelFilesError(ApplianceError):
    """Files of a model are missing or corrupted: all of them, named."""


@dataclass(frozen=True, slots=True)
class Problem:
    model: str
    file: Path
    """The file, or the folder when all of it is missing."""
    kind: Literal["missing", "corrupted", "unreadable", "unsealed"]
    detail: str = ""

    def __str__(self) -> str:
        return f"model {self.model}: {self.file} is {self.kind}{f': {self.detail}' if self.detail else ''}"


def verify(model: Model, models: Path) -> list[Problem]:
    """What is wrong with the files of `model`, `models` being the models folder; empty when it may be served."""
    folder = model.location(models)
    if folder is None:
        return [Problem(model.id, Path(model.folder), "missing", "the package is not installed")]
    if not folder.is_dir():
        return [Problem(model.id, folder, "missing")]
    if not model.files:
        return [
            Problem(model.id, folder, "unsealed", f"the catalogue has no checksums for it; python -m appliance.catalog seal {model.id}")
        ]
    problems = []
    for name, expected in model.files.items():
        path = folder / name
        try:
            found = sha256(path)
        except FileNotFoundError:
            problems.append(Problem(model.id, path, "missing"))
        except OSError as error:
            problems.append(Problem(model.id, path, "unreadable", error.strerror or ""))
        else:
            if found != expected:
                size = path.stat().st_size
                problems.append(Problem(model.id, path, "corrupted", f"sha256 {found[:12]}..., expected {expected[:12]}..., {size} bytes"))
    return problems


def require_intact(catalog: Catalog, name: str) -> None:
    """Raises: ModelFilesError, naming every bad file; CatalogError for a model the catalogue does not know."""
    problems = verify(catalog.get(name), catalog.folder)
    if problems:
        raise ModelFilesError("\n".join(str(problem) for problem in problems))


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
