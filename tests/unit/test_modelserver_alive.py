"""Whether a model server would still be restarted in time: it is alive only if its engine has really answered."""

import threading
from collections.abc import Sequence

import pytest

from appliance.config.schema import MtServer
from appliance.engines.base import Capabilities, EngineFailed, Translated, TranslateJob
from appliance.modelserver import server as servers
from appliance.modelserver.served import Served
from appliance.modelserver.server import ModelServer


class Engine:
    def __init__(self) -> None:
        self.jobs: list[TranslateJob] = []
        self.broken = False
        self.go_on = threading.Event()
        self.go_on.set()

    def run(self, jobs: Sequence[TranslateJob]) -> list[Translated]:
        self.go_on.wait(10)
        self.jobs += jobs
        if self.broken:
            raise EngineFailed("broken")
        return [Translated("x", -0.1) for _ in jobs]


def served(engine: Engine, warm_up: tuple[TranslateJob, ...] = (TranslateJob("a", "hi", "ta"),)) -> Served[TranslateJob, Translated]:
    capabilities = Capabilities("test", ("hi", "ta"))
    return Served("mt", "test", capabilities, engine.run, warm_up, MtServer())


async def test_an_idle_engine_is_asked_itself() -> None:
    engine = Engine()
    async with ModelServer(served(engine)) as server:
        await server.warm_up()
        assert await server.answers()
        assert await server.answers()
        assert len(engine.jobs) == 3


async def test_an_engine_that_answers_others_is_not_asked() -> None:
    engine = Engine()
    async with ModelServer(served(engine)) as server:
        await server.warm_up()
        await server.answer(TranslateJob("b", "hi", "ta"))
        asked = len(engine.jobs)
        assert await server.answers()
        assert len(engine.jobs) == asked
        assert await server.answers()
        assert len(engine.jobs) == asked + 1


async def test_an_engine_that_breaks_is_not_alive() -> None:
    engine = Engine()
    async with ModelServer(served(engine)) as server:
        await server.warm_up()
        engine.broken = True
        assert not await server.answers()
        engine.broken = False
        assert await server.answers()


async def test_an_engine_that_hangs_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "STUCK_S", 0.05)
    engine = Engine()
    async with ModelServer(served(engine)) as server:
        await server.warm_up()
        engine.go_on.clear()
        assert not await server.answers()
        engine.go_on.set()
        monkeypatch.undo()
        assert await server.answers()


async def test_an_engine_without_a_job_to_try_is_believed() -> None:
    async with ModelServer(served(Engine(), ())) as server:
        await server.warm_up()
        assert await server.answers()
