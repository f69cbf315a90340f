"""One engine, one worker thread, many callers: requests are gathered into batches and each caller gets its own answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from appliance.engines.base import EngineError, EngineFailed
from appliance.modelserver.queueing import BatchQueue, Loss, QueueFull, Waiting

log = logging.getLogger(__name__)

Job = TypeVar("Job")
Result = TypeVar("Result")


class NotComputed(Exception):
    """The request was never given to the engine."""

    def __init__(self, why: Loss | Literal["queue-full", "closing"]) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Done(Generic[Result]):
    result: Result
    batch_size: int
    queue_s: float
    """Wait for the batch."""
    compute_s: float
    """Time of the batch in the engine."""


class Observer(Protocol):
    """Who counts what the batcher does."""

    def queued(self, waiting: int) -> None: ...
    def computed(self, waits_s: Sequence[float], compute_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class _Ticket(Generic[Job, Result]):
    job: Job
    answer: asyncio.Future[Done[Result]]


class Batcher(Generic[Job, Result]):
    """Started by `async with`, in the event loop that submits; `run` is called in the worker thread only."""

    def __init__(
        self,
        run: Callable[[Sequence[Job]], list[Result]],
        observer: Observer,
        *,
        max_batch: int,
        wait_s: float,
        max_queue: int,
        mixed: bool,
    ) -> None:
        """Limits are those of `BatchQueue`."""
        self._run = run
        self._observer = observer
        self._queue: BatchQueue[_Ticket[Job, Result]] = BatchQueue(max_batch=max_batch, wait_s=wait_s, max_queue=max_queue, mixed=mixed)
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "engine")
        self._worker: asyncio.Task[None] | None = None
        self.failures = 0
        """Batches that failed since the last one that did not."""
        self._computing_since: float | None = None

    async def __aenter__(self) -> Batcher[Job, Result]:
        self._worker = asyncio.create_task(self._work(), name="batcher")
        return self

    async def __aexit__(self, *_: object) -> None:
        """The running batch is finished, what waits is refused."""
        worker, self._worker = self._worker, None
        if worker:
            self._changed.set()
            await worker
        for item in self._queue.drain():
            _refuse(item.ticket, "closing")
        self._thread.shutdown()

    @property
    def computing_s(self) -> float:
        """How long the engine has been at the present batch; 0 when it does nothing."""
        return 0.0 if self._computing_since is None else time.monotonic() - self._computing_since

    async def submit(self, job: Job, *, urgent: bool = True, stream: str = "", timeout_s: float = float("inf")) -> Done[Result]:
        """The engine's answer.

        Raises:
            NotComputed: the queue is full, or the request was superseded or came too late while it waited.
            EngineError: the engine's own.
        """
        if self._worker is None:
            raise NotComputed("closing")
        now = time.monotonic()
        ticket: _Ticket[Job, Result] = _Ticket(job, asyncio.get_running_loop().create_future())
        try:
            lost = self._queue.put(Waiting(ticket, now, urgent, stream, now + timeout_s))
        except QueueFull:
            raise NotComputed("queue-full") from None
        for given_up in lost:
            _refuse(given_up.ticket, given_up.why)
        self._observer.queued(len(self._queue))
        self._changed.set()
        return await ticket.answer

    async def _work(self) -> None:
        while self._worker is not None:
            due = self._queue.due()
            wait = None if due is None else due - time.monotonic()
            if wait is None or wait > 0:
                self._changed.clear()
                try:
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                except TimeoutError:
                    pass
                continue
            await self._batch()

    async def _batch(self) -> None:
        now = time.monotonic()
        taken, late = self._queue.take(now)
        self._observer.queued(len(self._queue))
        for lost in late:
            _refuse(lost.ticket, lost.why)
        batch = [item for item in taken if not item.ticket.answer.done()]  # a caller that went away has cancelled its answer
        if not batch:
            return
        loop = asyncio.get_running_loop()
        self._computing_since = now
        answers = await loop.run_in_executor(self._thread, self._compute, [item.ticket.job for item in batch])
        self._computing_since = None
        compute_s = time.monotonic() - now
        self._observer.computed([now - item.since for item in batch], compute_s)
        self.failures = 0 if any(not isinstance(answer, EngineFailed) for answer in answers) else self.failures + 1
        for item, answer in zip(batch, answers, strict=True):
            if item.ticket.answer.done():
                continue
            if isinstance(answer, EngineError):
                item.ticket.answer.set_exception(answer)
            else:
                item.ticket.answer.set_result(Done(answer, len(batch), now - item.since, compute_s))

    def _compute(self, jobs: Sequence[Job]) -> list[Result | EngineError]:
        """An answer for each job, its own error included; in the worker thread."""
        answers: list[Result | EngineError] = []
        try:
            answers += self._run(jobs)
            if len(answers) != len(jobs):
                raise EngineFailed(f"{len(answers)} answers to {len(jobs)} jobs")
        except EngineError as error:
            if len(jobs) == 1:
                return [error]
        except Exception as error:
            log.exception("the engine broke")
            if len(jobs) == 1:
                return [EngineFailed(repr(error))]
        else:
            return answers
        return [answer for job in jobs for answer in self._compute([job])]  # so that one bad job costs the others nothing but time


def _refuse(ticket: _Ticket[Job, Result], why: Loss | Literal["closing"]) -> None:
    if not ticket.answer.done():
        ticket.answer.set_exception(NotComputed(why))
