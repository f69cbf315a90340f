"""How many cores are free: on a shared machine a thread that waits for a busy core slows its siblings tenfold."""

from __future__ import annotations

import os
from pathlib import Path

_STAT = Path("/proc/stat")
_SLACK = 0.35
"""Cores that others may use on average before a thread is given up."""


class Cores:
    """Watches what other processes take between two questions."""

    def __init__(self) -> None:
        self._last = self._read()

    def seconds(self) -> float:
        """Time since the last question."""
        return os.times().elapsed - self._last[0]

    def free(self, most: int) -> int:
        """Threads worth running now, 1 to `most`, from the CPU time of others since the last call."""
        wall, busy, own = (now - before for now, before in zip(self._read(), self._last, strict=True))
        self._last = self._read()
        others = max(0.0, busy - own) / max(wall, 1e-3)
        return max(1, min(most, int((os.cpu_count() or 1) - others + _SLACK)))

    def _read(self) -> tuple[float, float, float]:
        """Wall-clock time, busy time of all cores, own CPU time, in seconds."""
        user, nice, system, _idle, _wait, *rest = (int(field) for field in _STAT.read_text().splitlines()[0].split()[1:8])
        times = os.times()
        return times.elapsed, (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK"), times.user + times.system
