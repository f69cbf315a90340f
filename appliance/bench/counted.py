"""What a worker has counted of itself, read from its `/metrics`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

Key = TypeVar("Key")

NOT_ACCEPTING = "not-accepting"
"""Why a caller was sent to the queue by a worker that takes no calls at all; counted apart from the other reasons."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Since the worker's start, or between two looks at it."""

    late_ticks: int = 0
    """Ticks over one frame late."""
    dropped: int = 0
    """Frames given up."""
    ticks: Mapping[float, int] = field(default_factory=dict)
    """Ticks that took at most so many seconds, as a histogram counts them."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Calls not taken, by why."""

    def since(self, before: Counted) -> Counted:
        """What was counted after another look."""
        return Counted(
            self.late_ticks - before.late_ticks,
            self.dropped - before.dropped,
            {limit: count - before.ticks.get(limit, 0) for limit, count in self.ticks.items()},
            {why: more for why, count in self.refused.items() if (more := count - before.refused.get(why, 0))},
        )

    def with_(self, other: Counted) -> Counted:
        """What two workers have counted together."""
        return Counted(
            self.late_ticks + other.late_ticks,
            self.dropped + other.dropped,
            _sum(self.ticks, other.ticks),
            _sum(self.refused, other.refused),
        )

    def tick_s(self, share: float) -> float | None:
        """Time within which this share of the ticks was done, evenly spread inside a step of the histogram; None without any.

        Of all of them (1.0) it is the end of the step in which the longest one falls.
        """
        whole = max(self.ticks.values(), default=0)
        if not whole:
            return None
        wanted, below_s, below = share * whole, 0.0, 0
        for limit, count in sorted(self.ticks.items()):
            if count >= wanted and count > below:
                return limit if share >= 1 else below_s + (limit - below_s) * (wanted - below) / (count - below)
            below_s, below = limit, count
        return below_s


def _sum(one: Mapping[Key, int], other: Mapping[Key, int]) -> dict[Key, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in (*one, *other)}


def counted(exposition: str) -> Counted:
    """From what `/metrics` answers."""
    refused = by_label(exposition, "setu_calls_refused_total", "reason")
    fallbacks = by_label(exposition, "setu_fallbacks_total", "reason")
    if NOT_ACCEPTING in fallbacks:
        refused[NOT_ACCEPTING] = fallbacks[NOT_ACCEPTING]
    return Counted(
        late_ticks=counter(exposition, "setu_late_ticks_total"),
        dropped=counter(exposition, "setu_media_dropped_frames_total"),
        ticks={float(limit): count for limit, count in by_label(exposition, "setu_tick_seconds_bucket", "le").items()},
        refused=refused,
    )


def counter(exposition: str, name: str) -> int:
    """Sum of a counter over its labels, in what `/metrics` answers."""
    values = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", exposition, re.MULTILINE)
    return round(sum(map(float, values)))


def by_label(exposition: str, name: str, label: str) -> dict[str, int]:
    """A counter by the values of its only label."""
    found = re.findall(rf'^{re.escape(name)}{{{re.escape(label)}="([^"]*)"}} (\S+)$', exposition, re.MULTILINE)
    return {value: round(float(count)) for value, count in found}
