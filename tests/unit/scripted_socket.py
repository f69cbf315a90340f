"""A `MessageSocket` whose other end is the test."""

from __future__ import annotations

import asyncio

from appliance.telephony.errors import SocketClosed
from appliance.telephony.socket import NORMAL


class ScriptedSocket:
    def __init__(self) -> None:
        self.sent: list[str | bytes] = []
        """What the code under test has sent."""
        self.closed_with: int | None = None
        self.taking = asyncio.Event()
        """Cleared: the peer does not read."""
        self.taking.set()
        self._incoming: asyncio.Queue[str | bytes | None] = asyncio.Queue()

    def arrives(self, *messages: str | bytes) -> None:
        for message in messages:
            self._incoming.put_nowait(message)

    def peer_closes(self) -> None:
        self._incoming.put_nowait(None)

    async def receive(self) -> str | bytes:
        if self.closed_with is not None and self._incoming.empty():
            raise SocketClosed(self.closed_with)
        message = await self._incoming.get()
        if message is None:
            self._incoming.put_nowait(None)
            raise SocketClosed(self.closed_with or NORMAL)
        return message

    async def send(self, message: str | bytes) -> None:
        await self.taking.wait()
        if self.closed_with is not None:
            raise SocketClosed(self.closed_with)
        self.sent.append(message)

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        if self.closed_with is None:
            self.closed_with = code
            self._incoming.put_nowait(None)


async def settle(turns: int = 20) -> None:
    """Let everything that can run now run."""
    for _ in range(turns):
        await asyncio.sleep(0)
