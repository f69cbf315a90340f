"""A model server without HTTP: an engine behind its batcher, and whether it is ready."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Generic, Literal, TypeVar

from appliance.engines.base import EngineError
from appliance.modelserver.batcher import Batcher, Done, NotComputed
from appliance.modelserver.messages import Health
from appliance.modelserver.metrics import ServerMetrics
from appliance.modelserver.served import Served

log = logging.getLogger(__name__)

Job = TypeVar("Job")
Result = TypeVar("Result")

FAILURES_UNTIL_UNHEALTHY = 3
"""Batches in a row that the engine breaks on before `/health` says so."""


STUCK_S = 6.0
"""A batch that takes longer is not waited for by anybody any more."""
RECOVERY_S = 1.0
"""Between two attempts of a server whose engine broke: nobody sends requests to one that says it is not well."""


class NotReady(Exception):
    pass


class ModelServer(Generic[Job, Result]):
    """Started by `async with`; `warm_up` must have ended well before it answers."""

    def __init__(self, served: Served[Job, Result]) -> None:
        settings = served.settings
        self.served = served
        self.metrics = ServerMetrics(served.kind, served.capabilities.name)
        self._batcher: Batcher[Job, Result] = Batcher(
            served.run,
            self.metrics,
            max_batch=settings.max_batch,
            wait_s=settings.batch_wait_s,
            max_queue=settings.max_queue,
            mixed=served.capabilities.batches_cheaply,
        )
        self._state: Literal["ready", "warming", "failed"] = "warming"
        self._detail = ""
        self._recovering: asyncio.Task[None] | None = None
        self._answered = 0
        self._answered_before = 0

    async def __aenter__(self) -> ModelServer[Job, Result]:
        self.metrics.ready(False)
        await self._batcher.__aenter__()
        self._recovering = asyncio.create_task(self._recover(), name="recovery")
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.gather(self._recovering, return_exceptions=True)
        await self._batcher.__aexit__(*error)

    async def warm_up(self) -> None:
        """Run the warm-up jobs through the queue as any request. Raises: EngineError."""
        for job in self.served.warm_up:
            try:
                done = await self._batcher.submit(job)
            except EngineError as error:
                self._state, self._detail = "failed", f"warm-up: {error}"
                raise
            log.info("warm-up job answered", extra={"seconds": round(done.compute_s, 3)})
        self._state = "ready"
        self.metrics.ready(True)

    @property
    def health(self) -> Health:
        state, detail = self._state, self._detail
        if self._batcher.failures >= FAILURES_UNTIL_UNHEALTHY:
            state, detail = "failed", f"the engine failed on the last {self._batcher.failures} batches"
        elif state == "ready" and self._batcher.computing_s >= STUCK_S:
            state, detail = "failed", f"the engine has been at one batch for {self._batcher.computing_s:.0f} s"
        served = self.served
        return Health(state, served.kind, served.capabilities.name, served.languages, detail, served.model)

    async def answer(self, job: Job, *, urgent: bool = True, stream: str = "", timeout_s: float = float("inf")) -> Done[Result]:
        """Raises: NotReady, NotComputed, EngineError."""
        if self._state != "ready":
            raise NotReady(self._detail or "the server is warming up")
        done = await self._batcher.submit(job, urgent=urgent, stream=stream, timeout_s=timeout_s)
        self._answered += 1
        self.metrics.answered("ok")
        return done

    async def answers(self) -> bool:
        """Whether the engine works: it has answered since this was asked last, or else answers a small job now, within `STUCK_S`."""
        before, self._answered_before = self._answered_before, self._answered
        if self._answered > before or not self.served.warm_up:
            return True
        try:
            async with asyncio.timeout(STUCK_S):
                await self._batcher.submit(self.served.warm_up[0])
        except (TimeoutError, NotComputed, EngineError):
            return False
        return True

    async def _recover(self) -> None:
        """Give an engine that breaks on everything a job of our own now and then: one that is answered makes the server well again."""
        sick = False
        while True:
            await asyncio.sleep(RECOVERY_S)
            before, sick = sick, self._batcher.failures >= FAILURES_UNTIL_UNHEALTHY
            if before and sick and self.served.warm_up:
                with suppress(EngineError, NotComputed):
                    await self._batcher.submit(self.served.warm_up[0], timeout_s=STUCK_S)
