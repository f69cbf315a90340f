import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from appliance.gateway.collector import YOUNG, settled


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
