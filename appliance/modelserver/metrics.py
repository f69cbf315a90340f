"""What a model server counts, under the names of `appliance.telemetry.metrics`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from appliance.telemetry import metrics

RequestResult = Literal["ok", "rejected", "overloaded", "failed", "warming"]


class ServerMetrics:
    """Counts for one server; the observer of its batcher."""

    def __init__(self, kind: str, engine: str) -> None:
        self._kind = kind
        self._ready = metrics.ENGINE_READY.labels(kind, engine)
        self._size = metrics.BATCH_SIZE.labels(kind)
        self._wait = metrics.BATCH_WAIT.labels(kind)
        self._compute = metrics.ENGINE_COMPUTE.labels(kind)
        self._queue = metrics.ENGINE_QUEUE.labels(kind)

    def ready(self, yes: bool) -> None:
        self._ready.set(yes)

    def queued(self, waiting: int) -> None:
        self._queue.set(waiting)

    def computed(self, waits_s: Sequence[float], compute_s: float) -> None:
        self._size.observe(len(waits_s))
        self._compute.observe(compute_s)
        for wait in waits_s:
            self._wait.observe(wait)

    def answered(self, result: RequestResult) -> None:
        metrics.ENGINE_REQUESTS.labels(self._kind, result).inc()
