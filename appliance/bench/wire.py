"""A WebSocket client for thousands of small messages a second: prepared frames out, whole messages in, nothing between.

Only what the load generator needs of RFC 6455: messages in one frame each, pings answered, no compression. Frames are masked
with zeros, which leaves the bytes as they are, so that the same frame can be prepared once and sent by all legs.
"""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Callable
from typing import cast

from appliance.bench.errors import BenchError

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
_SHORT, _MEDIUM = 126, 127
_MASKED = 0x80
_NO_MASK = bytes(4)
CONNECT_S = 10.0


def client_frame(kind: int, payload: bytes) -> bytes:
    """One message as it goes over the wire."""
    size = len(payload)
    if size < _SHORT:
        head = bytes((kind, _MASKED | size))
    elif size < 1 << 16:
        head = bytes((kind, _MASKED | _SHORT)) + size.to_bytes(2, "big")
    else:
        head = bytes((kind, _MASKED | _MEDIUM)) + size.to_bytes(8, "big")
    return head + _NO_MASK + payload


def split_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Messages (kind, payload) of a server in the order they came, and the beginning of the next one."""
    messages: list[tuple[int, bytes]] = []
    place, end = 0, len(data)
    while end - place >= 2:
        size, head = data[place + 1], place + 2
        if size == _SHORT:
            size, head = int.from_bytes(data[place + 2 : place + 4], "big"), place + 4
        elif size == _MEDIUM:
            size, head = int.from_bytes(data[place + 2 : place + 10], "big"), place + 10
        if head + size > end:
            break
        messages.append((data[place], data[head : head + size]))
        place = head + size
    return messages, data[place:]


class Wire(asyncio.Protocol):
    """One open socket; made by `connect`.

    Args:
        on_message: called with kind and payload of each message, and with `CLOSE` when the socket has ended.
    """

    def __init__(self, request: bytes, on_message: Callable[[int, bytes], None]) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._on_message = on_message
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def send(self, frame: bytes) -> None:
        """Send what `client_frame` made; nothing once the socket has ended."""
        if self._transport is not None:
            self._transport.write(frame)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.write(client_frame(CLOSE, (1000).to_bytes(2, "big")))
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            data = self._handshake(self._rest + data)
        elif self._rest:
            data = self._rest + data
        messages, self._rest = split_frames(data) if self.opened.done() else ([], data)
        for kind, payload in messages:
            if kind == PING:
                self.send(client_frame(PONG, payload))
            elif kind == CLOSE:
                self.close()
            else:
                self._on_message(kind, payload)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.opened.done():
            self.opened.set_exception(BenchError("the gateway closed a new connection"))
        self._on_message(CLOSE, b"")

    def _handshake(self, data: bytes) -> bytes:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return data
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        if " 101 " in f"{status} ":
            self.opened.set_result(None)
            return rest
        self.opened.set_exception(BenchError(f"the gateway refused a connection: {status}"))
        if self._transport is not None:
            self._transport.close()
        return b""


async def connect(host: str, port: int, path: str, protocol: str, authorization: str, on_message: Callable[[int, bytes], None]) -> Wire:
    """Raises: BenchError: refused, or not there."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {b64encode(secrets.token_bytes(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {protocol}\r\nAuthorization: {authorization}\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_S):
            _, wire = await loop.create_connection(lambda: Wire(request.encode(), on_message), host, port)
            await wire.opened
    except (OSError, TimeoutError) as error:
        raise BenchError(f"no connection to the gateway at port {port}: {str(error) or 'no answer'}") from error
    return wire
