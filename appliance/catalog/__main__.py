"""`python -m appliance.catalog verify|seal [ID ...] [--file models/catalog.toml]`: check files, or write their checksums."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.catalog.entries import FILE_NAME, load
from appliance.catalog.seal import seal
from appliance.catalog.verify import verify
from appliance.errors import ApplianceError

DEFAULT = Path(__file__).parents[2] / "models" / FILE_NAME


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.catalog", description=__doc__)
    parser.add_argument("action", choices=("verify", "seal"))
    parser.add_argument("model", nargs="*", help="id in the catalogue; all of them when none is given")
    parser.add_argument("--file", type=Path, default=DEFAULT)
    options = parser.parse_args(arguments)
    try:
        catalog = load(options.file)
        names = options.model or list(catalog.models)
        if options.action == "seal":
            for name in names:
                sys.stdout.write(f"{name}: {len(seal(options.file, name))} files\n")
            return 0
        problems = [problem for name in names for problem in verify(catalog.get(name), catalog.folder)]
    except ApplianceError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if not problems:
        sys.stdout.write(f"{len(names)} models verified\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
