"""What was seen of the gateway while it held a number of calls, and the row that follows from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from appliance.bench import fixed_engines
from appliance.bench.counted import Counted
from appliance.bench.figures import beyond_s, spread_ms
from appliance.bench.line import FRAME_S
from appliance.bench.load import Spoken
from appliance.bench.results import Row
from appliance.speech.listen import PAUSE_WINDOWS
from appliance.speech.vad import WINDOW_S
from appliance.store.transcripts import UtteranceText

LATE_SHARE = 0.01
"""Of ticks or frames; with more of them late no further calls are added."""
MATCH_S = 1.0
"""Between the first frame as the gateway tells of it and as it was received."""

Records = dict[tuple[str, str], list[UtteranceText]]
"""Utterances the gateway recorded, by call and lane."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen while a number of calls was held; times are monotonic seconds."""

    offered: int
    calls: int
    """That came about."""
    legs: int
    began_s: float
    ended_s: float
    gateway_cpu: float
    load_cpu: float
    """Shares of a core."""
    counted: Counted
    """By the worker itself, meanwhile."""
    frames_late: int
    frames_lost: int
    load_late: int
    memory_mb_per_call: float
    turned_away: Mapping[str, int] = field(default_factory=dict)
    """Of those offered, by why."""

    @property
    def frames(self) -> int:
        """That should have come."""
        return round(self.legs * (self.ended_s - self.began_s) / FRAME_S)

    @property
    def late(self) -> bool:
        ticks = (self.ended_s - self.began_s) / FRAME_S
        return self.counted.late_ticks > LATE_SHARE * ticks or self.frames_late + self.frames_lost > LATE_SHARE * self.frames


def row(window: Window, spoken: Iterable[Spoken], records: Records, wall_offset_s: float) -> Row:
    """
    Args:
        spoken: everything that was said, in whatever window.
        wall_offset_s: what the time of day is ahead of the monotonic clock.
    """
    said = [utterance for utterance in spoken if window.began_s <= utterance.ended_s < window.ended_s]
    delays = [delay for utterance in said if (delay := _beyond(utterance, records, wall_offset_s)) is not None]
    spread = spread_ms(delays)
    return {
        "offered": window.offered,
        "calls": window.calls,
        "turned away": turned_away(window.turned_away),
        "legs": window.legs,
        "gateway CPU %": round(100 * window.gateway_cpu, 1),
        "tick p50 ms": _ms(window.counted.tick_s(0.5)),
        "tick p99 ms": _ms(window.counted.tick_s(0.99)),
        "tick max ms": _ms(window.counted.tick_s(1.0)),
        "late ticks": window.counted.late_ticks,
        "frames late": window.frames_late,
        "frames lost": window.frames_lost,
        "delay p50 ms": spread.p50 if spread else None,
        "delay p95 ms": spread.p95 if spread else None,
        "delay p99 ms": spread.p99 if spread else None,
        "utterances": len(said),
        "not heard": sum(utterance.heard_s is None for utterance in said),
        "memory per call MB": round(window.memory_mb_per_call, 2),
        "load CPU %": round(100 * window.load_cpu, 1),
        "load late": window.load_late,
    }


def turned_away(reasons: Mapping[str, int]) -> str:
    """How many calls were not taken, and why."""
    return ", ".join(f"{count} {why}" for why, count in sorted(reasons.items())) or "none"


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)


def _beyond(utterance: Spoken, records: Records, wall_offset_s: float) -> float | None:
    """Delay beyond endpoint wait and engines; None where nothing was heard, or nobody knows what the endpoint wait was."""
    if utterance.heard_s is None:
        return None
    heard_at = utterance.heard_s + wall_offset_s
    known = [item for item in records.get((utterance.call_id, utterance.lane), ()) if item.outcome == "interpreted"]
    nearest = min(known, key=lambda item: abs(item.recorded_at.timestamp() - heard_at), default=None)
    if nearest is None or abs(nearest.recorded_at.timestamp() - heard_at) > MATCH_S:
        return None
    wait_s = nearest.delays.get("endpoint_wait", 0.0)
    return beyond_s(utterance.heard_s - utterance.ended_s, wait_s, PAUSE_WINDOWS * WINDOW_S, fixed_engines.ENGINES_S)
