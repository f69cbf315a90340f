"""The lab's tests need root, a network for packages and a quarter of an hour: `make test-lab` asks for them, `make test` does not."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

WANTED = os.environ.get("SETU_LAB", "")
collect_ignore_glob = [] if WANTED else ["test_*.py"]

if WANTED:
    sys.path.insert(0, str(Path(__file__).parents[2]))

BENCH = Path(__file__).parents[2] / "build" / "bench" / "install.json"


@pytest.fixture(scope="session")
def lab() -> Iterator[None]:
    """Programs, image and network; everything is removed at the end, unless `SETU_LAB_KEEP` is set."""
    from lab.__main__ import bring_up, locked, take_down

    with locked():
        bring_up(0)
    yield
    if not os.environ.get("SETU_LAB_KEEP"):
        with locked():
            take_down()


@pytest.fixture(scope="session")
def times() -> Iterator[dict[str, float]]:
    """Seconds by what took them; written to `build/bench/install.json`."""
    found: dict[str, float] = json.loads(BENCH.read_text()) if BENCH.exists() else {}
    yield found
    BENCH.parent.mkdir(parents=True, exist_ok=True)
    BENCH.write_text(json.dumps({name: round(seconds, 1) for name, seconds in found.items()}, indent=2) + "\n")
