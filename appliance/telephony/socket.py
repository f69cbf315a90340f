"""The WebSocket that telephony speaks over, whatever server accepted it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
POLICY = 1008
TOO_BIG = 1009


class MessageSocket(Protocol):
    """An accepted WebSocket; text messages are `str`, binary ones `bytes`."""

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            SocketClosed: there will be none.
        """
        ...

    async def send(self, message: str | bytes) -> None:
        """Send one message; waits while the peer does not read.

        Raises:
            SocketClosed: it cannot be sent any more.
        """
        ...

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close; never fails, also when closed already."""
        ...


class ShortCut(Protocol):
    """A way around the queues of a `MessageSocket`, for the one sort of message that comes and goes fifty times a second."""

    def hand_over(self, take: Callable[[bytes], None], size: int) -> None:
        """From now on binary messages of just this size go to `take` as soon as they come; all others are received."""
        ...

    def send_now(self, payload: bytes) -> bool:
        """Send a binary message; False when it cannot be sent just now, or not any more."""
        ...
