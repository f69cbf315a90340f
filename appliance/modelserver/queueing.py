"""Which waiting requests form the next batch, and when: decisions only, no clock and no I/O.

- The first request of a batch waits at most `wait_s` for others, or until `max_batch` are there.
- Urgent requests (finals) jump over the others (partials), and share a batch with them only where a batch is cheap.
- A newer request of the same stream replaces a waiting partial: nobody wants the older one any more.
- A full queue gives up its oldest partial for an urgent request; anything else is turned away.
- A request whose sender no longer waits is not computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Ticket = TypeVar("Ticket")
Loss = Literal["superseded", "pushed-out", "too-late"]


class QueueFull(Exception):
    """Nothing in the queue may be given up for this request."""


@dataclass(frozen=True, slots=True)
class Waiting(Generic[Ticket]):
    ticket: Ticket
    since: float
    """Seconds of the caller's monotonic clock."""
    urgent: bool = True
    stream: str = ""
    """Name of what a partial is about (one lane); empty: of nothing else."""
    deadline: float = float("inf")


@dataclass(frozen=True, slots=True)
class Lost(Generic[Ticket]):
    ticket: Ticket
    why: Loss


class BatchQueue(Generic[Ticket]):
    def __init__(self, *, max_batch: int, wait_s: float, max_queue: int, mixed: bool) -> None:
        """`mixed`: whether urgent and other requests may share a batch."""
        self._max_batch = max_batch
        self._wait_s = wait_s
        self._max_queue = max_queue
        self._mixed = mixed
        self._urgent: list[Waiting[Ticket]] = []
        self._others: list[Waiting[Ticket]] = []

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def put(self, request: Waiting[Ticket]) -> list[Lost[Ticket]]:
        """Queue a request; what had to go for it. Raises: QueueFull."""
        lost: list[Lost[Ticket]] = []
        if request.stream:
            lost = [Lost(item.ticket, "superseded") for item in self._others if item.stream == request.stream]
            self._others = [item for item in self._others if item.stream != request.stream]
        if len(self) >= self._max_queue:
            if not (request.urgent and self._others):
                raise QueueFull
            lost.append(Lost(self._others.pop(0).ticket, "pushed-out"))
        (self._urgent if request.urgent else self._others).append(request)
        return lost

    def due(self) -> float | None:
        """When the next batch should be taken; None while nothing waits."""
        first = self._next()
        if not first:
            return None
        oldest = min(item.since for item in first)
        return oldest if len(first) >= self._max_batch else oldest + self._wait_s

    def take(self, now: float) -> tuple[list[Waiting[Ticket]], list[Lost[Ticket]]]:
        """The next batch, and what is too late for any."""
        late = [Lost(item.ticket, "too-late") for item in (*self._urgent, *self._others) if item.deadline <= now]
        self._urgent = [item for item in self._urgent if item.deadline > now]
        self._others = [item for item in self._others if item.deadline > now]
        urgent = self._urgent[: self._max_batch]
        room = self._max_batch - len(urgent) if self._mixed or not urgent else 0
        others = self._others[:room]
        del self._urgent[: len(urgent)], self._others[: len(others)]
        return [*urgent, *others], late

    def drain(self) -> list[Waiting[Ticket]]:
        """Everything that waits, taken out."""
        everything = [*self._urgent, *self._others]
        self._urgent, self._others = [], []
        return everything

    def _next(self) -> list[Waiting[Ticket]]:
        if self._mixed:
            return [*self._urgent, *self._others]
        return self._urgent or self._others
