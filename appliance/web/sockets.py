"""The server's end of a WebSocket, with limits that uvicorn's has not.

A peer that sends pings makes it answer each of them, and keep every answer while the peer reads none; one that sends pieces of a
message without end and without content makes it keep every piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

MOST_PINGS = 20
"""In a second; Asterisk sends none or one in many seconds."""
MOST_PIECES = 4096
"""Of one message; Asterisk sends messages in one piece, from 22.10 on in a few."""
EXTENSION = "setu.socket"
"""Under which a connection finds itself in its ASGI scope."""
_BINARY = 0x82
_SHORT, _MEDIUM = 126, 127


class BoundedSocket(WebSocketsSansIOProtocol):
    """One connection; made by a subclass of `bounded_socket`."""

    rejected: Callable[[str], None]
    _pings = 0
    _pings_since = 0.0

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code != 101:
            self.rejected("handshake")
        else:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = self

    async def send_audio(self, payload: bytes) -> None:
        """One binary message of an accepted socket, without the layers between: each leg sends 50 of them a second.

        Raises:
            ClientDisconnected: the socket has ended.
        """
        if not self.writable.is_set():
            await self.writable.wait()
        if self.disconnected or self.close_sent or not self.handshake_complete or self.conn.state is not State.OPEN:
            raise ClientDisconnected
        size = len(payload)
        if size < _SHORT:
            head = bytes((_BINARY, size))
        elif size < 1 << 16:
            head = bytes((_BINARY, _SHORT)) + size.to_bytes(2, "big")
        else:
            head = bytes((_BINARY, _MEDIUM)) + size.to_bytes(8, "big")
        self.transport.write(head + payload)

    def handle_ping(self) -> None:
        now = self.loop.time()
        if now - self._pings_since > 1.0:
            self._pings, self._pings_since = 0, now
        self._pings += 1
        if self._pings <= MOST_PINGS:
            super().handle_ping()
        elif not self.transport.is_closing():
            self.rejected("pings")
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < MOST_PIECES:
            super().handle_cont(event)
        elif not self.transport.is_closing():
            self.conn.fail(1009, "too many pieces")
            self.handle_parser_exception()


def bounded_socket(rejected: Callable[[str], None]) -> type[BoundedSocket]:
    """The protocol class of one server, for uvicorn's `ws`.

    Args:
        rejected: called with `handshake` or `pings` for each connection turned away; too many pieces are `too-big` to whoever reads.
    """
    return type("BoundedSocketOfServer", (BoundedSocket,), {"rejected": staticmethod(rejected)})
