"""`python -m appliance.stack --config FILE`: the stack in the foreground, with plain output."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.stack.up import up


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.stack")
    parser.add_argument("--config", type=Path, required=True)
    try:
        up(parser.parse_args().config)
    except ApplianceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
