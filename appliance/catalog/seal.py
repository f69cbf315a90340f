"""Writing the checksums of a model's files into the catalogue, once they are the files that are meant."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.catalog.entries import CatalogError, load
from appliance.catalog.verify import sha256

_ENTRY = re.compile(r"^\[\[model\]\]\s*$", re.MULTILINE)
_FILES = re.compile(r"^\[model\.files\][^\n]*\n(?:(?!\[)[^\n]*\n?)*", re.MULTILINE)


def seal(file: Path, name: str) -> dict[str, str]:
    """Put the SHA-256 of every file in the folder of model `name` into the catalogue `file`; what was written.

    Raises:
        CatalogError: no such model, no such folder, or nothing in it.
    """
    catalog = load(file)
    model = catalog.get(name)
    folder = model.location(catalog.folder)
    if folder is None or not folder.is_dir():
        raise CatalogError(f"{file}: model {name}: folder {folder or model.folder} does not exist")
    wanted = [folder / known for known in model.files] if model.folder else sorted(path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): sha256(path) for path in wanted}
    if not found:
        raise CatalogError(f"{file}: model {name}: folder {folder} is empty")
    text = file.read_text(encoding="utf-8")
    number = list(catalog.models).index(name)
    starts = [match.start() for match in _ENTRY.finditer(text)] + [len(text)]
    entry = text[starts[number] : starts[number + 1]]
    table = "[model.files]\n" + "".join(f'"{path}" = "{digest}"\n' for path, digest in found.items())
    last = starts[number + 1] == len(text)
    entry = _FILES.sub("", entry).rstrip() + "\n\n" + table + ("" if last else "\n")  # one blank line between entries
    written = text[: starts[number]] + entry + text[starts[number + 1] :]
    unfinished = file.with_suffix(".toml.new")
    unfinished.write_text(written, encoding="utf-8")
    load(unfinished)
    unfinished.replace(file)
    return found
