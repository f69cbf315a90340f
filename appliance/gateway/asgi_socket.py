"""Telephony's `MessageSocket` on Litestar's WebSocket."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from appliance.telephony.errors import SocketClosed
from appliance.telephony.socket import NORMAL, PROTOCOL_ERROR, TOO_BIG

FAULTS = {PROTOCOL_ERROR: "frame", 1007: "not-utf8", TOO_BIG: "too-big"}
"""Closing codes by which the server itself, or the peer, says that a message was wrong."""


class AsgiSocket:
    """An accepted WebSocket.

    Args:
        rejected: called with `frame`, `not-utf8` or `too-big` when it has ended for that.
    """

    def __init__(self, websocket: WebSocket[Any, Any, Any], rejected: Callable[[str], None] = lambda what: None) -> None:
        self._rejected = rejected
        self._receive = websocket.receive
        self._send = websocket.send
        self._closed = False

    async def receive(self) -> str | bytes:
        try:
            message = await self._receive()
        except WebSocketDisconnect as error:
            raise SocketClosed(error.code, error.detail) from None
        if message["type"] == "websocket.receive":
            data = message.get("bytes")
            return data if data is not None else message.get("text") or ""
        self._closed = True
        code = message.get("code", NORMAL) if message["type"] == "websocket.disconnect" else NORMAL
        if code in FAULTS:
            self._rejected(FAULTS[code])
        raise SocketClosed(code)

    async def send(self, message: str | bytes) -> None:
        if self._closed:
            raise SocketClosed(NORMAL)
        try:
            if isinstance(message, bytes):
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
