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
from websockets.streams import StreamReader

try:
    from websockets.speedups import apply_mask
except ImportError:  # a build without it is slower
    from websockets.utils import apply_mask

MOST_PINGS = 20
"""In a second; Asterisk sends none or one in many seconds."""
MOST_PIECES = 4096
"""Of one message; Asterisk sends messages in one piece, from 22.10 on in a few."""
PING_S = 5.0
"""Between pings of a socket that carries audio, and for their answers. The kernel of a peer that does not read takes minutes of audio
and seems well; what is heard so late is worthless, so the other pings' time is too long."""
ANSWER_READ_S = 0.1
"""After that time: an answer that came while this process was too busy to read it is read first."""
EXTENSION = "setu.socket"
"""Under which a connection finds itself in its ASGI scope."""
_BINARY = 0x82
_SHORT, _MEDIUM = 126, 127
_MASKED = 0x80
_HEAD = 8
"""Bytes before the content of a masked message of 126 to 65,535 bytes: 4 of its kind and size, 4 of its mask."""
_BETWEEN_MESSAGES = StreamReader.at_eof.__code__
"""Where the parser waits when it has nothing of a further frame; were it to wait elsewhere, messages would only take the long way."""


class BoundedSocket(WebSocketsSansIOProtocol):
    """One connection; made by a subclass of `bounded_socket`."""

    rejected: Callable[[str], None]
    _pings = 0
    _pings_since = 0.0
    _take: Callable[[bytes], None] | None = None
    _whole = b""
    _step = 0

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code != 101:
            self.rejected("handshake")
        else:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = self

    def hand_over(self, take: Callable[[bytes], None], size: int) -> None:
        """From now on binary messages of just this size (126 to 65,535 bytes) go to `take` when they come, not to `receive`.

        A message that comes in pieces, or in one go behind another one, is received like any other; nothing more is read
        until it was. The peer has to answer pings soon.
        """
        self._whole = bytes((_BINARY, _MASKED | _SHORT)) + size.to_bytes(2, "big")
        self._step = _HEAD + size
        self._take = take
        self.stop_keepalive()
        self.ping_interval = self.ping_timeout = PING_S
        self.start_keepalive()

    def data_received(self, data: bytes) -> None:
        if self._take is not None and data.startswith(self._whole) and self._is_between_messages():
            place, step = 0, self._step
            while len(data) >= place + step and data.startswith(self._whole, place):
                mask, payload = data[place + 4 : place + _HEAD], data[place + _HEAD : place + step]
                self._take(apply_mask(payload, mask))
                place += step
            if place == len(data):
                return
            data = data[place:]
        super().data_received(data)

    def _is_between_messages(self) -> bool:
        conn = self.conn
        return (
            conn.state is State.OPEN
            and conn.current_size is None  # no message is coming in pieces
            and not conn.extensions
            and _innermost(conn.parser) is _BETWEEN_MESSAGES
        )

    def send_now(self, payload: bytes) -> bool:
        """One binary message of an accepted socket, without the layers between: each leg sends 50 of them a second.

        False: it was not sent, because the peer does not read or the socket has ended.
        """
        if not self.writable.is_set():
            return False
        if self.disconnected or self.close_sent or not self.handshake_complete or self.conn.state is not State.OPEN:
            return False
        size = len(payload)
        if size < _SHORT:
            head = bytes((_BINARY, size))
        elif size < 1 << 16:
            head = bytes((_BINARY, _SHORT)) + size.to_bytes(2, "big")
        else:
            head = bytes((_BINARY, _MEDIUM)) + size.to_bytes(8, "big")
        self.transport.write(head + payload)
        return True

    async def send_audio(self, payload: bytes) -> None:
        """`send_now` once the peer reads.

        Raises:
            ClientDisconnected: the socket has ended.
        """
        if not self.writable.is_set():
            await self.writable.wait()
        if not self.send_now(payload):
            raise ClientDisconnected

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

    def keepalive_timeout(self) -> None:
        self.pong_timer = self.loop.call_later(ANSWER_READ_S, self._give_up)

    def _give_up(self) -> None:
        ended = self.close_sent or self.transport.is_closing()
        super().keepalive_timeout()
        if not ended:
            self.rejected("stalled")
            self.transport.abort()  # closing would wait until the peer has read what it was sent

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < MOST_PIECES:
            super().handle_cont(event)
        elif not self.transport.is_closing():
            self.conn.fail(1009, "too many pieces")
            self.handle_parser_exception()


def _innermost(generator: object) -> object:
    """The code in which a chain of generators waits."""
    while (inner := getattr(generator, "gi_yieldfrom", None)) is not None:
        generator = inner
    return getattr(generator, "gi_code", None)


def bounded_socket(rejected: Callable[[str], None]) -> type[BoundedSocket]:
    """The protocol class of one server, for uvicorn's `ws`.

    Args:
        rejected: called with `handshake` or `pings` for each connection turned away, with `stalled` for one whose peer answers no
            pings; too many pieces are `too-big` to whoever reads.
    """
    return type("BoundedSocketOfServer", (BoundedSocket,), {"rejected": staticmethod(rejected)})
