"""Taking no new calls for a while: a mark in the state folder, so that it outlives restarts of workers and of the machine.

    drained              all workers of the node
    drained-gateway-2    that one

Whoever may write there may drain; a worker that is not there yet or hangs is drained as well as any other.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Protocol

LOOK_EVERY_S = 0.5
NODE = "drained"


class Drainable(Protocol):
    """`appliance.gateway.worker.Worker`, as far as it matters here."""

    drained: bool


class DrainMarks:
    """The marks of one node."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir

    def set(self, worker: int | None = None) -> None:
        """Drain one worker, or the node. Raises: OSError."""
        self.file(worker).touch(mode=0o644)

    def clear(self, worker: int | None = None) -> None:
        """Let one worker take calls again; without a number all of them. Raises: OSError."""
        for file in [self.file(worker)] if worker is not None else [self.file(), *self._folder.glob(f"{NODE}-gateway-*")]:
            file.unlink(missing_ok=True)

    def holds(self, worker: int) -> bool:
        """Whether this worker shall take no calls. Raises: OSError when the marks cannot be seen."""
        return _is_there(self.file()) or _is_there(self.file(worker))

    def file(self, worker: int | None = None) -> Path:
        return self._folder / (NODE if worker is None else f"{NODE}-gateway-{worker}")


async def watch(worker: Drainable, number: int, marks: DrainMarks) -> None:
    """Keep `worker.drained` true to the marks, for ever; what it is stays when they cannot be seen."""
    while True:
        with contextlib.suppress(OSError):
            worker.drained = marks.holds(number)
        await asyncio.sleep(LOOK_EVERY_S)


def _is_there(file: Path) -> bool:
    try:
        file.stat()
    except FileNotFoundError:
        return False
    return True
