"""Statistics of measured times. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.phone.report import percentile


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float
    worst: float


def spread_ms(seconds: Sequence[float]) -> Spread | None:
    """How times in seconds are spread (nearest rank); None when there are none."""
    if not seconds:
        return None
    p50, p95, p99 = (round(1000 * percentile(seconds, share), 2) for share in (0.50, 0.95, 0.99))
    return Spread(p50, p95, p99, round(1000 * max(seconds), 2))


def batch_mean(sizes: Sequence[int]) -> float | None:
    """Mean size of the batches, from what each request tells of its own: a batch of n is told of n times."""
    return round(len(sizes) / sum(1 / size for size in sizes), 2) if sizes else None


def per_second(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if seconds > 0 else 0.0


def real_time_factor(seconds: float, audio_s: float) -> float | None:
    """Time for one second of audio; None where there is no audio."""
    return round(seconds / audio_s, 4) if audio_s > 0 else None


def beyond_s(heard_after_s: float, endpoint_wait_s: float, pause_s: float, engines_s: float) -> float:
    """The part of a delay that neither the wait for the end of speech nor the engines explain.

    The engines begin when a pause is seen, not when it has proved to be the end; so of both only the longer one counts.

    Args:
        heard_after_s: end of speech to the first translated audio.
        endpoint_wait_s: end of speech to the decision that it has ended.
        pause_s: end of speech to the pause that the engines begin with.
        engines_s: all stages one after the other.
    """
    return heard_after_s - max(endpoint_wait_s, pause_s + engines_s)
