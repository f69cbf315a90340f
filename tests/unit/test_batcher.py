"""Which requests share a batch, and what becomes of those that do not get into one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest
from stalls import Stalls

from appliance.engines.base import EngineFailed, JobRejected
from appliance.modelserver.batcher import Batcher, NotComputed
from appliance.modelserver.queueing import BatchQueue, QueueFull, Waiting


def queue(*, max_batch: int = 4, wait_s: float = 0.1, max_queue: int = 8, mixed: bool = True) -> BatchQueue[str]:
    return BatchQueue(max_batch=max_batch, wait_s=wait_s, max_queue=max_queue, mixed=mixed)


def test_the_first_request_waits_for_others_but_no_longer_than_asked() -> None:
    waiting = queue()
    assert waiting.due() is None
    waiting.put(Waiting("a", 10.0))
    waiting.put(Waiting("b", 10.05))
    assert waiting.due() == pytest.approx(10.1)


def test_a_full_batch_is_due_at_once() -> None:
    waiting = queue(max_batch=2)
    waiting.put(Waiting("a", 10.0))
    waiting.put(Waiting("b", 10.01))
    assert waiting.due() == 10.0


def test_what_does_not_fit_stays_in_its_order() -> None:
    waiting = queue(max_batch=2)
    for name in "abc":
        waiting.put(Waiting(name, 1.0))
    assert [item.ticket for item in waiting.take(2.0)[0]] == ["a", "b"]
    assert [item.ticket for item in waiting.take(2.0)[0]] == ["c"]


def test_finals_jump_over_partials() -> None:
    waiting = queue(max_batch=2)
    waiting.put(Waiting("partial", 1.0, urgent=False))
    waiting.put(Waiting("final", 2.0))
    assert [item.ticket for item in waiting.take(3.0)[0]] == ["final", "partial"]


def test_finals_do_not_pay_for_partials_where_a_batch_costs_as_much_as_its_parts() -> None:
    waiting = queue(mixed=False)
    waiting.put(Waiting("partial", 1.0, urgent=False))
    waiting.put(Waiting("final", 2.0))
    assert [item.ticket for item in waiting.take(3.0)[0]] == ["final"]
    assert [item.ticket for item in waiting.take(3.0)[0]] == ["partial"]


def test_a_newer_request_of_the_stream_replaces_the_waiting_partial_and_no_other() -> None:
    waiting = queue()
    waiting.put(Waiting("old", 1.0, urgent=False, stream="lane1"))
    waiting.put(Waiting("other", 1.0, urgent=False, stream="lane2"))
    waiting.put(Waiting("nameless", 1.0, urgent=False))
    lost = waiting.put(Waiting("final", 2.0, stream="lane1"))
    assert [(item.ticket, item.why) for item in lost] == [("old", "superseded")]
    assert [item.ticket for item in waiting.take(3.0)[0]] == ["final", "other", "nameless"]


def test_a_final_is_never_replaced() -> None:
    waiting = queue()
    waiting.put(Waiting("first", 1.0, stream="lane1"))
    assert waiting.put(Waiting("second", 2.0, stream="lane1")) == []


def test_a_full_queue_gives_up_its_oldest_partial_for_a_final_only() -> None:
    waiting = queue(max_queue=2)
    waiting.put(Waiting("older", 1.0, urgent=False))
    waiting.put(Waiting("newer", 2.0, urgent=False))
    with pytest.raises(QueueFull):
        waiting.put(Waiting("partial", 3.0, urgent=False))
    lost = waiting.put(Waiting("final", 3.0))
    assert [(item.ticket, item.why) for item in lost] == [("older", "pushed-out")]
    waiting.put(Waiting("final2", 3.0))
    with pytest.raises(QueueFull):
        waiting.put(Waiting("final3", 3.0))


def test_what_nobody_waits_for_is_not_computed() -> None:
    waiting = queue()
    waiting.put(Waiting("late", 1.0, deadline=2.0))
    waiting.put(Waiting("partly late", 1.0, urgent=False, deadline=2.5))
    waiting.put(Waiting("fine", 1.0, deadline=9.0))
    batch, late = waiting.take(2.5)
    assert [item.ticket for item in batch] == ["fine"]
    assert [(item.ticket, item.why) for item in late] == [("late", "too-late"), ("partly late", "too-late")]


class Counts:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def queued(self, waiting: int) -> None:
        pass

    def computed(self, waits_s: Sequence[float], compute_s: float) -> None:
        self.sizes.append(len(waits_s))


class Engine:
    """Doubles numbers; -1 is rejected, -2 breaks the batch it is in, -3 is no EngineError."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()

    def run(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        self.threads.add(threading.get_ident())
        assert self.go_on.wait(10)
        if -1 in batch:
            raise JobRejected("no")
        if -2 in batch:
            raise EngineFailed("broken")
        if -3 in batch:
            raise ZeroDivisionError("a bug")
        return [2 * number for number in batch]


def batcher(engine: Engine, counts: Counts, *, max_batch: int = 8, wait_s: float = 0.02, max_queue: int = 64) -> Batcher[int, int]:
    return Batcher(engine.run, counts, max_batch=max_batch, wait_s=wait_s, max_queue=max_queue, mixed=True)


async def begun(engine: Engine) -> None:
    """It is at a batch."""
    async with asyncio.timeout(10):
        while not engine.batches:
            await asyncio.sleep(0.01)


async def test_requests_of_many_callers_are_computed_together_and_each_gets_its_own_answer() -> None:
    engine, counts = Engine(), Counts()
    async with batcher(engine, counts) as running:
        done = await asyncio.gather(*(running.submit(number) for number in range(8)))
    assert [item.result for item in done] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert counts.sizes == [8]
    assert {item.batch_size for item in done} == {8}
    assert len(engine.threads) == 1
    assert threading.get_ident() not in engine.threads


async def test_a_lone_request_waits_for_company_only_as_long_as_asked() -> None:
    with Stalls() as stalls:
        async with batcher(Engine(), Counts(), wait_s=0.05) as running:
            began = time.monotonic()
            done = await running.submit(1)
            assert 0.045 <= done.queue_s < 0.2 + stalls.lost_s(began, time.monotonic())


async def test_requests_gather_while_the_engine_is_busy() -> None:
    engine, counts = Engine(), Counts()
    engine.go_on.clear()
    async with batcher(engine, counts, wait_s=0.0) as running:
        first = asyncio.create_task(running.submit(1))
        await begun(engine)
        others = [asyncio.create_task(running.submit(number)) for number in range(5)]
        await asyncio.sleep(0)  # they are in the queue
        engine.go_on.set()
        await asyncio.gather(*others, first)
    assert counts.sizes == [1, 5]


@pytest.mark.parametrize(("bad", "error"), [(-1, JobRejected), (-2, EngineFailed), (-3, EngineFailed)])
async def test_one_bad_job_does_not_spoil_the_others(bad: int, error: type[Exception]) -> None:
    async with batcher(Engine(), Counts()) as running:
        answers = await asyncio.gather(*(running.submit(number) for number in (1, bad, 3)), return_exceptions=True)
        assert running.failures == 0
    assert [answers[0].result, answers[2].result] == [2, 6]  # type: ignore[union-attr]
    assert isinstance(answers[1], error)


async def test_failed_batches_in_a_row_are_counted_until_one_succeeds() -> None:
    async with batcher(Engine(), Counts(), wait_s=0.0) as running:
        for _ in range(3):
            with pytest.raises(EngineFailed):
                await running.submit(-2)
        assert running.failures == 3
        await running.submit(1)
        assert running.failures == 0


async def test_a_caller_that_goes_away_is_not_computed_for() -> None:
    engine = Engine()
    async with batcher(engine, Counts()) as running:
        gone = asyncio.create_task(running.submit(1))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await running.submit(2)).result == 4
    assert engine.batches == [[2]]


async def test_a_full_queue_turns_away() -> None:
    engine = Engine()
    engine.go_on.clear()
    async with batcher(engine, Counts(), wait_s=0.0, max_queue=2) as running:
        first = asyncio.create_task(running.submit(0))
        await begun(engine)
        others = [asyncio.create_task(running.submit(number)) for number in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(NotComputed, match="queue-full"):
            await running.submit(3)
        engine.go_on.set()
        assert [item.result for item in await asyncio.gather(first, *others)] == [0, 2, 4]


async def test_stopping_finishes_the_running_batch_and_refuses_the_rest() -> None:
    engine = Engine()
    engine.go_on.clear()
    running = batcher(engine, Counts(), wait_s=0.0)
    async with running:
        first = asyncio.create_task(running.submit(1))
        await begun(engine)
        second = asyncio.create_task(running.submit(2))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.1, engine.go_on.set)  # when it is being stopped
    assert (await first).result == 2
    with pytest.raises(NotComputed, match="closing"):
        await second
    with pytest.raises(NotComputed, match="closing"):
        await running.submit(3)


async def test_the_batcher_itself_takes_less_than_3_ms() -> None:
    engine = Engine()
    async with batcher(engine, Counts(), wait_s=0.0) as running:
        times = []
        for _ in range(50):
            start = time.perf_counter()
            await running.submit(1)
            times.append(time.perf_counter() - start)
    assert sorted(times)[len(times) // 2] < 0.003
