"""The real gateway application on a free port, with a miniature Asterisk and stubs in place of the interpreters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fake_asterisk import PASSWORD, USER, FakeAsterisk
from stub_interpreter import StubInterpreter

from appliance.config.schema import Config, Gateway, Telephony, Translate
from appliance.events import CallEnded, CallStateChanged, Event
from appliance.gateway.access import Credentials
from appliance.gateway.app import create_app
from appliance.gateway.interpretation import CallContext
from appliance.gateway.server import WorkerServer, listen
from appliance.gateway.worker import Worker

CONFIG = Config(gateway=Gateway(max_calls=2), telephony=Telephony(company_number="1800", ring_s=5.0), translate=Translate(policy="direct"))


class Stage:
    """The application on a free port, and everything it told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.interpreters: list[StubInterpreter] = []
        self.prepare: Callable[[StubInterpreter], None] = lambda interpreter: None
        self.worker = Worker(1, CONFIG, self.events.append, self._make)
        self.app = create_app(self._open, Credentials(USER, PASSWORD))
        self.server = WorkerServer(self.app)
        self.listener = listen("127.0.0.1", 0)
        self.port: int = self.listener.getsockname()[1]
        self.asterisk = FakeAsterisk(self.port)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Worker]:
        yield self.worker

    async def _make(self, context: CallContext) -> StubInterpreter:
        interpreter = StubInterpreter(context)
        self.prepare(interpreter)
        self.interpreters.append(interpreter)
        return interpreter

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, CallStateChanged)]

    @property
    def told(self) -> list[str]:
        return self.interpreters[-1].told

    async def until(self, condition: Callable[[], object], what: str = "", timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"did not happen: {what or condition}; {self.states} {self.worker.status()}"
            await asyncio.sleep(0.005)

    async def state(self, state: str) -> None:
        await self.until(lambda: state in self.states, state)

    async def joined(self, *channels: str) -> None:
        """They are in one bridge, and the worker knows it: who hangs up before that has left a call that was not direct yet."""
        await self.until(lambda: set(channels) in self.asterisk.bridges.values(), "joined")
        await self.until(lambda: all(call.state.joined for call in self.worker.calls.values()), "the worker told so")

    async def over(self) -> CallEnded:
        """The call has ended and nothing is left anywhere."""
        await self.until(lambda: self.events and isinstance(self.events[-1], CallEnded), "the end of the call", 5.0)
        status = self.worker.status
        await self.until(lambda: not status()["call_tasks"] and not status()["media_sockets"], "tasks and sockets gone")
        await self.until(lambda: not self.asterisk.media and not self.asterisk.bridges, "Asterisk's side gone")
        assert {key: status()[key] for key in ("calls", "channels", "bridges", "media_expected")} == {
            "calls": 0,
            "channels": 0,
            "bridges": 0,
            "media_expected": 0,
        }
        assert self.interpreters == [] or self.interpreters[-1].stopped
        ended = self.events[-1]
        assert isinstance(ended, CallEnded)
        return ended

    async def interpreting(self) -> str:
        caller = await self.asterisk.caller_dials()
        await self.until(lambda: any(channel.endswith("-agent") for channel in self.asterisk.channels), "a call to the agents")
        await self.asterisk.agent_answers()
        await self.state("interpreting")
        return caller


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    """A stage whose Asterisk is connected."""
    stage = Stage()
    serving = asyncio.create_task(stage.server.serve(sockets=[stage.listener]))
    await stage.until(lambda: stage.server.started)
    await stage.asterisk.dial()
    await stage.until(lambda: stage.worker.ari.connected)
    try:
        yield stage
    finally:
        stage.server.stop()
        await asyncio.sleep(0)
        await stage.asterisk.close()
        await asyncio.wait_for(serving, 10)
        stage.listener.close()
