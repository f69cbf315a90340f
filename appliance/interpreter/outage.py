"""When a call goes on without its interpreter, and when with it again. Pure.

Lost: the servers of a stage are out for `OUT_S`, at once when an utterance was lost to that, or three utterances in a row failed
though the servers seem well. Back: all have been well for a while, which doubles each time interpretation is lost again soon.
"""

from __future__ import annotations

import math
from typing import Literal

LOST_AFTER = 3
"""So many utterances in a row that failed for want of a model and interpretation counts as lost."""
SAME_FAULT_S = 2.0
"""Failures so close together count once: each segment of an utterance tells of its own."""
OUT_S = 2.0
"""Nobody is told of an outage shorter than this that cost no utterance: one answer about a server's health may be late."""
BACK_S = 2.0
LONGEST_BACK_S = 30.0
CALM_S = 60.0
"""Lost again so soon after it was back, and the servers are trusted less."""

Change = Literal["", "lost", "back"]


class Outage:
    """Of one call. Times are seconds of one clock."""

    def __init__(self) -> None:
        self.direct = False
        """Whether the parties hear each other's own voice in place of translations."""
        self._failures = 0
        self._counted_s = -math.inf
        self._out_since: float | None = None
        self._well_since: float | None = None
        self._back_s = -math.inf
        self._patience_s = BACK_S

    def worked(self) -> None:
        """A segment could be interpreted."""
        self._failures = 0

    def failed(self, now: float, out: bool) -> Change:
        """A segment could not be, for want of a model.

        Args:
            out: whether the servers of a stage are known to be out.
        """
        if self.direct:
            return ""
        if out:
            return self._lose(now)
        if now - self._counted_s < SAME_FAULT_S:
            return ""
        self._counted_s = now
        self._failures += 1
        return self._lose(now) if self._failures >= LOST_AFTER else ""

    def look(self, now: float, out: bool) -> Change:
        """To be called several times a second."""
        if out:
            self._well_since = None
            self._out_since = now if self._out_since is None else self._out_since
            return self._lose(now) if not self.direct and now - self._out_since >= OUT_S else ""
        self._out_since = None
        self._well_since = now if self._well_since is None else self._well_since
        return self._come_back(now) if self.direct and now - self._well_since >= self._patience_s else ""

    def _lose(self, now: float) -> Change:
        self.direct, self._well_since, self._failures = True, None, 0
        again = now - self._back_s < CALM_S
        self._patience_s = min(LONGEST_BACK_S, 2 * self._patience_s) if again else BACK_S
        return "lost"

    def _come_back(self, now: float) -> Change:
        self.direct, self._back_s = False, now
        return "back"
