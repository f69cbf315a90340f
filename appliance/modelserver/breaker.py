"""When a model server that keeps failing is left alone, and when it is asked again. No clock and no I/O of its own."""

from __future__ import annotations

from typing import Literal

FAILURES = 3
"""In a row, until the circuit opens."""
OPEN_S = 1.0
"""Between two probes of a server that is left alone."""

State = Literal["closed", "open", "half-open"]


class Breaker:
    """closed -> open after `failures` in a row, or at once; open -> half-open, one probe at a time, every `open_s`; its success closes."""

    def __init__(self, failures: int = FAILURES, open_s: float = OPEN_S) -> None:
        self._limit = failures
        self._open_s = open_s
        self._failures = 0
        self._until: float | None = None
        self.state: State = "closed"
        self.reason = ""
        """Of the last failure."""

    def ask(self, now: float) -> Literal["pass", "probe", "refuse"]:
        """What to do with a request at `now` (monotonic seconds); after "probe" one of the three below must follow."""
        if self.state == "closed":
            return "pass"
        if self.state == "half-open" or (self._until is not None and now < self._until):
            return "refuse"
        self.state = "half-open"
        return "probe"

    def succeeded(self) -> None:
        self.state, self._failures, self._until, self.reason = "closed", 0, None, ""

    def failed(self, now: float, reason: str, *, at_once: bool = False) -> None:
        """A request or the probe failed. Requests that were under way when the circuit opened change nothing more.

        Args:
            at_once: no further failure is needed: nobody is there, or the server does not even say how it is.
        """
        self.reason = reason
        self._failures += 1
        if self.state == "half-open" or (self.state == "closed" and (at_once or self._failures >= self._limit)):
            self.state, self._until = "open", now + self._open_s

    def abandoned(self) -> None:
        """The probe was given up without a result."""
        if self.state == "half-open":
            self.state = "open"
