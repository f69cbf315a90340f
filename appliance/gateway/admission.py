"""Whether a worker takes one more call: better none than bad audio for everybody."""

from __future__ import annotations

from collections import deque
from typing import Literal

Verdict = Literal["ready", "full", "busy", "not-ready"]
"""`full`: as many calls as configured. `busy`: audio is late already, so the machine carries no more, whatever is configured."""

WINDOW_S = 5.0
"""Lateness is judged over so long: one garbage collection or a busy second makes nobody refuse calls."""
LATE_SHARE = 0.1
"""Of the ticks in the window: half a second in five. A worker that keeps up has none, one that is disturbed now and then a few."""
LEAST_S = 2.0
"""Less tells nothing, as right after the start."""
TICK_S = 0.020


class Admission:
    """By the number of calls and by how well the media clock keeps its time.

    Args:
        max_calls: most calls at the same time.
    """

    def __init__(self, max_calls: int) -> None:
        self.max_calls = max_calls
        self._seen: deque[tuple[float, int]] = deque()

    def observe(self, late: int, now_s: float) -> None:
        """How many ticks of the media clock have been late since the start; to be told about once a second."""
        self._seen.append((now_s, late))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - WINDOW_S:
            self._seen.popleft()

    @property
    def late_share(self) -> float:
        """Of the ticks in the window, 0..1."""
        if not self._seen:
            return 0.0
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return (last - first) * TICK_S / (last_s - first_s) if last_s - first_s >= LEAST_S else 0.0

    def verdict(self, calls: int) -> Literal["ready", "full", "busy"]:
        """For one call more than `calls`; the first one is always taken, or lateness that is nobody's would never end."""
        if calls >= self.max_calls:
            return "full"
        return "busy" if calls and self.late_share > LATE_SHARE else "ready"
