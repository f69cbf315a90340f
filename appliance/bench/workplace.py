"""A folder for what a benchmark starts: short enough for sockets, gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def workplace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="setu-bench-") as folder:
        yield Path(folder)
