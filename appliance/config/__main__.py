"""`python -m appliance.config FILE` checks a file; `python -m appliance.config --reference` prints the list of all keys."""

from __future__ import annotations

import sys

from appliance.config.errors import ConfigError
from appliance.config.load import load
from appliance.config.reference import reference


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    if arguments[0] == "--reference":
        sys.stdout.write(reference())
        return 0
    try:
        loaded = load(arguments[0])
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{loaded.file}: valid\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
