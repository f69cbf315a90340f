"""Telephony's `MessageSocket` on Litestar's WebSocket."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, cast

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from appliance.telephony.errors import SocketClosed
from appliance.telephony.socket import NORMAL, PROTOCOL_ERROR, TOO_BIG
from appliance.web.sockets import EXTENSION, BoundedSocket

FAULTS = {PROTOCOL_ERROR: "frame", 1007: "not-utf8", TOO_BIG: "too-big"}
"""Closing codes by which the server itself, or the peer, says that a message was wrong."""


class AsgiSocket:
    """An accepted WebSocket.

    Args:
        rejected: called with `frame`, `not-utf8` or `too-big` when it has ended for that.
    """

    def __init__(self, websocket: WebSocket[Any, Any, Any], rejected: Callable[[str], None] = lambda what: None) -> None:
        self._rejected = rejected
        # What carries audio goes past the layers of the framework, which cost more than the audio itself.
        extensions: Any = websocket.scope.get("extensions") or {}
        direct = self.short_cut = cast(BoundedSocket | None, extensions.get(EXTENSION))
        """Past the ASGI messages; None where another server accepted the socket."""
        self._receive: Callable[[], Awaitable[Any]] = websocket.receive if direct is None else direct.receive
        self._send = websocket.send
        self._send_audio: Callable[[bytes], Awaitable[None]] | None = None if direct is None else direct.send_audio
        self._closed = False

    async def receive(self) -> str | bytes:
        try:
            message = await self._receive()
        except WebSocketDisconnect as error:
            raise SocketClosed(error.code, error.detail) from None
        if message["type"] == "websocket.receive":
            data: bytes | None = message.get("bytes")
            text: str = message.get("text") or ""
            return data if data is not None else text
        self._closed = True
        code = message.get("code", NORMAL) if message["type"] == "websocket.disconnect" else NORMAL
        if code in FAULTS:
            self._rejected(FAULTS[code])
        raise SocketClosed(code)

    async def send(self, message: str | bytes) -> None:
        if self._closed:
            raise SocketClosed(NORMAL)
        try:
            if isinstance(message, bytes) and self._send_audio is not None:
                await self._send_audio(message)
            elif isinstance(message, bytes):
                await self._send({"type": "websocket.send", "bytes": message, "text": None})
            else:
                await self._send({"type": "websocket.send", "bytes": None, "text": message})
        except (WebSocketDisconnect, OSError, RuntimeError) as error:  # by Litestar, by uvicorn, after our own close
            self._closed = True
            raise SocketClosed(NORMAL, str(error)) from None

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
