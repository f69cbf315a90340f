"""An interpreter that says prompts as silence, echoes nothing, and writes down what it was told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from appliance.gateway.interpretation import CallContext
from appliance.telephony.media import FRAME_BYTES, MarkReached, MediaTransport


class StubInterpreter:
    def __init__(self, context: CallContext) -> None:
        self.context = context
        self.language: str | None = None
        self.told: list[str] = []
        self.hold: dict[str, asyncio.Event] = {}
        """Prompts that are not over until the test says so."""
        self.stopped = False
        self.fail: Callable[[str], bool] = lambda prompt: False
        self._legs: dict[str, MediaTransport] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._marks: dict[str, asyncio.Event] = {}

    def attach(self, party: str, transport: MediaTransport) -> None:
        self.told.append(f"attach {party}")
        self._legs[party] = transport
        self._readers.append(asyncio.create_task(self._read(transport)))

    def rewire(self, party: str, transport: MediaTransport) -> None:
        self.told.append(f"rewire {party}")
        self._legs[party] = transport
        self._readers.append(asyncio.create_task(self._read(transport)))

    def start(self) -> None:
        self.told.append("start")

    async def say(self, party: str, prompt: str) -> None:
        self.told.append(f"say {party} {prompt}")
        if self.fail(prompt):
            raise RuntimeError("no voice")
        mark = f"{party}-{prompt}"
        heard = self._marks[mark] = asyncio.Event()
        self._legs[party].send(bytes(FRAME_BYTES))
        self._legs[party].mark(mark)
        await heard.wait()
        if prompt in self.hold:
            await self.hold[prompt].wait()

    def key(self, party: str, digit: str) -> None:
        self.told.append(f"key {party} {digit}")

    async def stop(self) -> None:
        self.stopped = True
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    async def _read(self, transport: MediaTransport) -> None:
        async for event in transport.events():
            if isinstance(event, MarkReached) and event.mark in self._marks:
                self._marks[event.mark].set()
