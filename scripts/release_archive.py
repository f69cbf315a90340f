#!/usr/bin/env python3
"""Packs this repository as a node needs it: `release_archive.py FOLDER` writes the archives there and prints their names as JSON.

Needs nothing but Python, for it runs on an Ansible controller. The same files give the same bytes, and the name of the release
ends in a part of their checksum: a release that was changed is another release.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAM = ("appliance", "asterisk", "systemd", "grafana", "models/catalog.toml", "models/lexicon", "models/phrasebook", "pyproject.toml",
           "requirements.lock")  # fmt: skip
STARTER = ("models/catalog.toml", "models/lexicon", "models/phrasebook", "models/starter")
_LEFT_OUT = {"__pycache__", ".pytest_cache", ".mypy_cache"}


def main(folder: Path) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    program, models = packed(PROGRAM), packed(STARTER, strip="models/")
    checksum, models_checksum = hashlib.sha256(program).hexdigest(), hashlib.sha256(models).hexdigest()
    name = f"{version()}-{checksum[:8]}"
    archive, models_archive = folder / f"appliance-{name}.tar.gz", folder / f"models-starter-{models_checksum[:8]}.tar.gz"
    for path, content in ((archive, program), (models_archive, models)):
        if not path.exists():
            path.with_suffix(".part").write_bytes(content)
            path.with_suffix(".part").rename(path)
    return {
        "name": name, "archive": str(archive), "sha256": checksum,
        "models_archive": str(models_archive), "models_sha256": models_checksum,
    }  # fmt: skip


def version() -> str:
    text = (REPOSITORY / "appliance" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r"""^__version__\s*(?::\s*\w+)?\s*=\s*["'](.+?)["']""", text, re.MULTILINE)
    if match is None:
        raise SystemExit("appliance/__init__.py has no __version__")
    return match[1]


def packed(names: Iterable[str], strip: str = "") -> bytes:
    """The files as a tar.gz that is the same for the same files: no times, no owners."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(files(names)):
            inside = str(path.relative_to(REPOSITORY)).removeprefix(strip)
            entry = tarfile.TarInfo(inside)
            data = path.read_bytes()
            entry.size = len(data)
            entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(content.getvalue(), compresslevel=6, mtime=0)


def files(names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        top = REPOSITORY / name
        if top.is_dir():
            yield from (path for path in top.rglob("*") if path.is_file() and not _LEFT_OUT & set(path.parts))
        elif top.exists():
            yield top


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1])), indent=2))
