"""A look at gateway workers while they hold calls: what they use, what they count, and what comes out of their media sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import httpx
import psutil

from appliance.bench.counted import Counted
from appliance.bench.line import missing
from appliance.bench.load import Leg, Load
from appliance.bench.processes import Measured
from appliance.bench.stand import look
from appliance.bench.window import Window


async def watch(
    doors: Sequence[httpx.AsyncClient],
    gateways: Sequence[Measured],
    others: Sequence[Measured],
    loads: Sequence[Load],
    offered: int,
    window_s: float,
    empty_mb: float,
) -> Window:
    """Look at workers for so long while they hold calls.

    Args:
        doors: of each worker, for what it has counted.
        loads: the calls at each worker.
        empty_mb: memory of all workers before their first call.
    """
    me = psutil.Process()

    def load_cpu_s() -> float:
        own = me.cpu_times()
        return float(own.user + own.system) + sum(other.cpu_s for other in others)

    def gateway_cpu_s() -> float:
        return sum(gateway.cpu_s for gateway in gateways)

    def late_slots() -> int:
        return sum(load_.late_slots for load_ in loads)

    legs: list[Leg] = [leg for load_ in loads for leg in load_.legs.values()]
    had = [await look(door) for door in doors]
    lines = [(leg.line.received, leg.line.gaps) for leg in legs]
    before = gateway_cpu_s(), load_cpu_s(), late_slots()
    began = time.monotonic()
    await asyncio.sleep(window_s)
    for load_ in loads:
        load_.check()
    ended = time.monotonic()
    span = ended - began
    after = gateway_cpu_s(), load_cpu_s(), late_slots()
    gaps = sum(leg.line.gaps - first[1] for leg, first in zip(legs, lines, strict=True))
    lost = sum(missing(leg.line.received - first[0], span) for leg, first in zip(legs, lines, strict=True))
    together = Counted()
    for door, earlier in zip(doors, had, strict=True):
        together = together.with_((await look(door)).since(earlier))
    return Window(
        offered=offered,
        calls=len(legs) // 2,
        legs=len(legs),
        began_s=began,
        ended_s=ended,
        gateway_cpu=(after[0] - before[0]) / span,
        load_cpu=(after[1] - before[1]) / span,
        counted=together,
        frames_late=gaps,
        frames_lost=lost + together.dropped,
        load_late=after[2] - before[2],
        memory_mb_per_call=(sum(gateway.memory_mb for gateway in gateways) - empty_mb) / max(1, len(legs) // 2),
    )
