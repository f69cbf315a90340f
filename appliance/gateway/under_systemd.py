"""What a worker tells systemd: that its clock ticks, and one line of what it does."""

from __future__ import annotations

import asyncio

from appliance.gateway.worker import Worker
from appliance.interpreter.clock import MediaClock
from appliance.telemetry.systemd import Unit

STATUS_EVERY_S = 2.0


async def keep_alive(clock: MediaClock, unit: Unit) -> None:
    """Signs of life as long as the clock ticks; its task is one of the same loop, so one that hangs gives none either."""
    before = -1

    async def ticked() -> bool:
        nonlocal before
        before, was = clock.ticks, before
        return clock.ticks > was

    await unit.beat(ticked)


async def say_how(worker: Worker, unit: Unit) -> None:
    """The line of `systemctl status`, for ever."""
    told = ""
    while True:
        line = status_line(worker)
        if line != told:
            unit.status(line)
            told = line
        await asyncio.sleep(STATUS_EVERY_S)


def status_line(worker: Worker) -> str:
    calls = f"{len(worker.calls)} of {worker.admission.max_calls} calls"
    if worker.drained:
        return f"drained, {calls}"
    if not worker.accepting:
        return f"starting, waits for the speech server, {calls}"
    return calls if worker.ari.connected else f"waits for Asterisk, {calls}"
