import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from appliance.gateway.collector import FEWEST_ENDED, YOUNG, EndedCalls, settled


async def test_what_is_there_when_the_worker_is_open_is_left_out_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(gc, "collect", lambda: done.append("collect"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("freeze"))
    monkeypatch.setattr(gc, "set_threshold", lambda *sizes: done.append(f"threshold {sizes[0]}"))

    @asynccontextmanager
    async def opens() -> AsyncIterator[str]:
        done.append("open")
        yield "worker"
        done.append("closed")

    async with settled(opens)() as worker:
        assert worker == "worker"
        assert done == ["open", "collect", "freeze", f"threshold {YOUNG}"]
    assert done[-1] == "closed"


def test_calls_that_have_ended_give_their_memory_back() -> None:
    class Call:
        def __init__(self) -> None:
            self.callback = self.hang_up

        def hang_up(self) -> None: ...

    gone: list[int] = []
    collector = EndedCalls()
    ended = 0
    gc.disable()
    try:
        for number in range(3 * FEWEST_ENDED):
            weakref.finalize(Call(), gone.append, number)
            ended += 1
            given_back = collector.give_back(ended, running=0)
            assert given_back == (ended % FEWEST_ENDED == 0)
            assert len(gone) == ended // FEWEST_ENDED * FEWEST_ENDED
        # Where many calls go on, looking takes longer, and is worth it for more.
        assert not collector.give_back(ended + FEWEST_ENDED, running=100)
        assert collector.give_back(ended + 25, running=100)
    finally:
        gc.enable()
