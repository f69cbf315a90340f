"""What batching brings: many callers at once at a model server whose engine computes a batch in the time of one request.

The engine is the stub, so that the figures are about the server. It is asked in two servers that differ in one setting only:
as many requests in a batch as come, or one by one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from appliance.bench.figures import batch_mean, per_second, spread_ms
from appliance.bench.processes import model_server
from appliance.bench.results import Result, Row
from appliance.bench.workplace import workplace
from appliance.config.load import load
from appliance.modelserver.client import ModelClient
from appliance.modelserver.messages import Translation
from appliance.stack.defaults import write_config

CALLERS = (1, 4, 16, 64)
BATCH_S = 0.020
"""Time of the engine for a batch of any size."""
MOST = 64
"""Requests in a batch, at most."""
LEVEL_S, QUICK_LEVEL_S = 5.0, 2.0
WARM_UP_S = 0.3
TIMEOUT_S = 30.0


@dataclass(slots=True)
class Answers:
    """What the callers of one level got, seconds."""

    took_s: list[float] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    overhead_s: list[float] = field(default_factory=list)
    transport_s: list[float] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    span_s: float = 0.0

    def take(self, took_s: float, answer: Translation, batch_s: float) -> None:
        self.took_s.append(took_s)
        self.waited_s.append(answer.queue_s)
        self.overhead_s.append(answer.compute_s - batch_s)
        self.transport_s.append(took_s - answer.queue_s - answer.compute_s)
        self.batches.append(answer.batch_size)


def measure(*, quick: bool, callers: Sequence[int] = CALLERS, level_s: float | None = None) -> Result:
    """Raises: BenchError."""
    seconds = level_s or (QUICK_LEVEL_S if quick else LEVEL_S)
    with workplace() as folder, ExitStack() as servers:
        run_dirs = []
        for name, most in (("batched", MOST), ("single", 1)):
            place = folder / name
            stub = f'[mt]\nengine = "stub"\nmodel = "delay_s={BATCH_S}"\nmax_batch = {most}\nmax_queue = 256\n'
            config = write_config(place, extra=stub)
            run_dirs.append(load(config).run_dir)
            servers.enter_context(model_server("mt", config, run_dirs[-1]))
        rows = asyncio.run(_measure(run_dirs[0], run_dirs[1], callers, seconds))
    return Result("batching", f"batches against one by one, an engine of {1000 * BATCH_S:g} ms a batch", rows)


async def _measure(batched_dir: Path, single_dir: Path, callers: Sequence[int], seconds: float) -> list[Row]:
    batched, single = ModelClient(batched_dir), ModelClient(single_dir)
    try:
        return [row(count, await _ask(batched, count, seconds), await _ask(single, count, seconds)) for count in callers]
    finally:
        await batched.aclose()
        await single.aclose()


def row(callers: int, batched: Answers, single: Answers) -> Row:
    ours, plain = spread_ms(batched.took_s), spread_ms(single.took_s)
    overhead, waits, transport = spread_ms(batched.overhead_s), spread_ms(batched.waited_s), spread_ms(batched.transport_s)
    rate, plain_rate = (per_second(len(answers.took_s), answers.span_s) for answers in (batched, single))
    return {
        "callers": callers,
        "requests/s": rate,
        "p95 ms": ours.p95 if ours else None,
        "batch mean": batch_mean(batched.batches),
        "batcher overhead ms": overhead.p95 if overhead else None,
        "wait ms": waits.p50 if waits else None,
        "transport ms": transport.p50 if transport else None,
        "one by one requests/s": plain_rate,
        "one by one p95 ms": plain.p95 if plain else None,
        "times": round(rate / plain_rate, 2) if plain_rate else None,
    }


async def _ask(client: ModelClient, callers: int, seconds: float) -> Answers:
    """`callers` that each ask again as soon as they are answered."""
    answers = Answers()
    counted_from = time.monotonic() + WARM_UP_S
    until = counted_from + seconds

    async def caller() -> None:
        while (began := time.monotonic()) < until:
            answer = await client.translate("नमस्ते", "hi", "ta", TIMEOUT_S)
            ended = time.monotonic()
            if counted_from <= ended <= until:
                answers.take(ended - began, answer, BATCH_S)

    await asyncio.gather(*(caller() for _ in range(callers)))
    answers.span_s = seconds
    return answers
