"""What everybody on a machine can read in its process list, while something goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

LOOK_EVERY_S = 0.05
LOOKS = 60
"""At each process: its first command line is that of the one it was forked from, which may prepare much before it becomes another."""
SHORTEST_LINE = 20
"""Characters of one line of a secret of several, such as a key, that nobody writes by chance."""


class ProcessList:
    """Every command line that a process had while the context lasted: the controller's and the nodes', for a node of the lab is no
    machine of its own to the kernel. What lives for a few milliseconds may be missed."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="process-list", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def showing(self, secrets: Mapping[str, str]) -> dict[str, str]:
        """Which of the secrets stood in the process list, each with the program that had it among its arguments."""
        found = {}
        for name, secret in secrets.items():
            for needle in needles(secret):
                for line in self.seen:
                    if needle.encode() in line:
                        found[name] = line.split(b"\0")[0].decode(errors="replace")
        return found

    def _look(self) -> None:
        looked: dict[str, int] = {}
        while not self._over.wait(LOOK_EVERY_S):
            there = [name for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - many times a second
            looked = {name: looked.get(name, 0) + 1 for name in there}
            for name in there:
                if looked[name] <= LOOKS:
                    try:
                        self.seen.add(Path("/proc", name, "cmdline").read_bytes())
                    except OSError:  # it has ended
                        continue


def needles(secret: str) -> list[str]:
    """What gives a secret away: all of it, or one of its lines."""
    lines = [line for line in secret.split("\n") if len(line) >= SHORTEST_LINE and not line.startswith("-----")]
    return lines if "\n" in secret.strip() else [secret.strip()]
