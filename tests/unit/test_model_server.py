"""What a model server says of itself when its engine breaks or is stuck, and how it gets well."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from appliance.config.load import LoadedConfig
from appliance.config.schema import Config, MtServer
from appliance.engines.base import Capabilities, EngineFailed
from appliance.modelserver import server as server_module
from appliance.modelserver.__main__ import main
from appliance.modelserver.served import Served
from appliance.modelserver.server import FAILURES_UNTIL_UNHEALTHY, ModelServer
from appliance.modelserver.standing_in import standing_in


class Engine:
    def __init__(self) -> None:
        self.broken = False
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def run(self, jobs: Sequence[str]) -> list[str]:
        self.asked += jobs
        assert self.go_on.wait(30)
        if self.broken:
            raise EngineFailed("no")
        return list(jobs)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(server_module, "RECOVERY_S", 0.05)
    monkeypatch.setattr(server_module, "STUCK_S", 1.0)
    return Engine()


def server_of(engine: Engine) -> ModelServer[str, str]:
    settings = MtServer(batch_wait_s=0.0)
    return ModelServer(Served("mt", "", Capabilities("test", ("ta",)), engine.run, ("warm",), settings))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_server_whose_engine_broke_finds_out_by_itself_when_it_works_again(engine: Engine) -> None:
    async with server_of(engine) as server:
        await server.warm_up()
        engine.broken = True
        for _ in range(FAILURES_UNTIL_UNHEALTHY):
            with pytest.raises(EngineFailed):
                await server.answer("x")
        assert server.health.status == "failed"
        asked = len(engine.asked)
        await until(lambda: len(engine.asked) > asked + 1)  # it has tried by itself
        assert server.health.status == "failed"
        engine.broken = False
        await until(lambda: server.health.status == "ready")
        asked = len(engine.asked)
        await asyncio.sleep(0.2)
        assert len(engine.asked) == asked, "a well server is left in peace"


async def test_a_server_that_is_stuck_at_a_batch_says_so_until_it_is_done(engine: Engine) -> None:
    async with server_of(engine) as server:
        await server.warm_up()
        engine.go_on.clear()
        asked = asyncio.create_task(server.answer("x"))
        await until(lambda: engine.asked[-1] == "x")
        assert server.health.status == "ready", "a batch may take its time"
        await until(lambda: server.health.status == "failed")
        assert "at one batch" in server.health.detail
        engine.go_on.set()
        await asked
        assert server.health.status == "ready"


def test_what_stands_in_is_the_starter_engine_on_the_cpu(tmp_path: Path) -> None:
    mine = msgspec.convert({"stt": {"engine": "faster-whisper", "model": "large", "device": "cuda", "fallback": True}}, Config)
    loaded = LoadedConfig(mine, tmp_path / "appliance.toml")
    starter = standing_in(loaded).config
    assert (starter.stt.engine, starter.stt.model, starter.stt.device) == ("whisper-short", "starter/stt", "cpu")
    assert (starter.mt.model, starter.tts.engine) == ("starter/mt", "espeak-ng")
    assert loaded.config.stt.model == "large"


def test_a_name_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--instance", "llm", "--config", "x.toml"])
    assert "'llm' is no name of a model server" in capsys.readouterr().err
