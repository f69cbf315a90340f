"""Drain marks: who sets them, who sees them, and that a worker that sees one takes no new call while its calls go on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from call_stage import Stage, open_stage

from appliance.gateway import draining
from appliance.gateway.draining import DrainMarks, watch
from appliance.gateway.under_systemd import keep_alive, status_line


def test_marks_of_a_node_and_of_a_worker(tmp_path: Path) -> None:
    marks = DrainMarks(tmp_path)
    assert not marks.holds(1)
    marks.set(2)
    assert (marks.holds(1), marks.holds(2)) == (False, True)
    marks.set()
    assert (marks.holds(1), marks.holds(2)) == (True, True)
    marks.clear(2)
    assert marks.holds(2)
    marks.set(2)
    marks.clear()
    assert (marks.holds(1), marks.holds(2)) == (False, False)
    assert list(tmp_path.iterdir()) == []


class Watched:
    drained = False


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_worker_follows_its_marks_and_keeps_to_what_it_knew_when_they_cannot_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "LOOK_EVERY_S", 0.01)
    marks, worker = DrainMarks(tmp_path), Watched()
    watching = asyncio.create_task(watch(worker, 1, marks))
    try:
        marks.set(1)
        await until(lambda: worker.drained)

        def unseen(_: int) -> bool:
            raise PermissionError

        monkeypatch.setattr(marks, "holds", unseen)
        await asyncio.sleep(0.03)
        assert worker.drained
        monkeypatch.undo()
        marks.clear()
        await until(lambda: not worker.drained)
    finally:
        watching.cancel()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as stage:
        yield stage


async def test_a_drained_worker_finishes_its_call_and_takes_no_other(stage: Stage) -> None:
    await stage.interpreting()
    stage.worker.drained = True
    assert stage.worker.health()["status"] == "not-ready"
    assert stage.worker.status()["drained"] is True
    assert status_line(stage.worker).startswith("drained, 1 of ")
    before = len(stage.asterisk.requests)
    other = await stage.asterisk.caller_dials("9840099999")
    await stage.until(lambda: any(request.uri == f"channels/{other}/continue" for request in stage.asterisk.requests[before:]))
    assert len(stage.worker.calls) == 1
    await stage.asterisk.hang_up(stage.asterisk.agent())
    assert (await stage.over()).outcome == "interpreted"


class Clock:
    ticks = 0


class Beats:
    """A unit that asks three times, and notes what it was told."""

    def __init__(self, between: Any) -> None:
        self.between, self.answers = between, list[bool]()

    async def beat(self, alive: Any) -> None:
        for _ in range(3):
            self.answers.append(await alive())
            self.between(len(self.answers))


async def test_a_clock_that_stands_still_gives_no_sign_of_life() -> None:
    clock = Clock()
    unit = Beats(lambda asked: setattr(clock, "ticks", clock.ticks + (asked == 1)))
    await keep_alive(clock, unit)  # type: ignore[arg-type]
    assert unit.answers == [True, True, False]
