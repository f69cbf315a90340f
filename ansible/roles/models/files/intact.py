"""`intact.py FOLDER PART`: whether the models of FOLDER/catalog.toml that lie under FOLDER/PART are as the catalogue has them.

PART may be `.`: all models that are there; the catalogue may know more. Prints what is missing or damaged, a line each, and ends with
status 1 when anything is. Needs nothing but Python, for it runs before there is a release on the node.
"""

import hashlib
import sys
import tomllib
from pathlib import Path


def problems(folder: Path, part: str) -> list[str]:
    catalog = folder / "catalog.toml"
    try:
        models = tomllib.loads(catalog.read_text(encoding="utf-8"))["model"]
    except OSError as error:
        return [f"{catalog}: {error.strerror}"]
    except (ValueError, KeyError):
        return [f"{catalog} is damaged"]
    files = {model.get("folder") or model["id"]: model.get("files", {}) for model in models}
    inside = [place for place in files if ((folder / place).is_dir() if part == "." else place.startswith(f"{part}/"))]
    if not inside:
        return [f"{catalog} has no models in {folder / part}"]
    return [line for place in inside for name, expected in files[place].items() if (line := problem(folder / place / name, expected))]


def problem(file: Path, expected: str) -> str:
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"{file}: {error.strerror}"
    return "" if found == expected else f"{file} is not what the catalogue says"


if __name__ == "__main__":
    lines = problems(Path(sys.argv[1]), sys.argv[2])
    print("\n".join(lines))
    sys.exit(1 if lines else 0)
