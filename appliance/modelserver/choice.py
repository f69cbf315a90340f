"""Which of several instances of a model server is asked. A decision only, no I/O.

The starter engine stands behind the others: it is chosen only while none of them may be asked. Among equals the one with the
fewest requests under way is chosen, and of those the one whose last request lies furthest back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol, TypeVar

from appliance.modelserver.breaker import Breaker


class Choosable(Protocol):
    rank: int
    """0, or 1 for one that only stands in for the others."""
    breaker: Breaker
    turn: int
    """Number of its last request, counted over all instances."""

    @property
    def under_way(self) -> int: ...


Instance = TypeVar("Instance", bound=Choosable)


def choose(instances: Iterable[Instance], tried: Collection[Instance] = ()) -> Instance | None:
    """The instance for the next request; None when none may be asked.

    Args:
        tried: instances this request has already been sent to.
    """
    able = [instance for instance in instances if instance.breaker.state == "closed" and instance not in tried]
    return min(able, key=lambda instance: (instance.rank, instance.under_way, instance.turn), default=None)
