"""A worker's way to Asterisk's events and requests: it dials Asterisk, and dials again whenever the connection is gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from appliance.config.schema import Config
from appliance.gateway.access import Credentials
from appliance.telephony.ari_connection import MAX_MESSAGE, AriConnection
from appliance.telephony.errors import SocketClosed
from appliance.telephony.socket import NORMAL

log = logging.getLogger(__name__)

PROTOCOL = Subprotocol("ari")
CONNECT_S = 2.0
REDIAL_S = 0.25
"""Between two attempts: a call is not let into the application before the next one has come through."""
PING_S = 20.0
"""Between pings, and for their answers: how soon an Asterisk that vanished without a word is noticed."""
SAY_EVERY = 40
"""Attempts between two lines in the log while Asterisk is away."""


def asterisk_address(config: Config, worker: int) -> str | None:
    """Where the worker dials; None when Asterisk dials the worker."""
    if config.gateway.control == "asterisk-dials":
        return None
    return f"ws://127.0.0.1:{config.telephony.http_port}/ari/events?app=setu-{worker}"


@asynccontextmanager
async def control_line(ari: AriConnection, address: str, credentials: Credentials) -> AsyncIterator[None]:
    """Keeps `ari` connected while the block runs."""
    line = asyncio.create_task(_keep(ari, address, credentials), name="control-line")
    try:
        yield
    finally:
        line.cancel()
        await asyncio.gather(line, return_exceptions=True)


async def _keep(ari: AriConnection, address: str, credentials: Credentials) -> None:
    failed = 0
    while True:
        try:
            async with connect(
                address,
                additional_headers={"Authorization": credentials.header},
                subprotocols=[PROTOCOL],
                compression=None,
                proxy=None,
                open_timeout=CONNECT_S,
                close_timeout=CONNECT_S,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                max_size=MAX_MESSAGE,
            ) as connection:
                failed = 0
                await ari.serve(DialledSocket(connection))
        except (OSError, TimeoutError, WebSocketException) as error:
            if failed % SAY_EVERY == 0:
                log.warning("no control connection to Asterisk yet: %s", _why(error), extra={"address": address})
            failed += 1
        await asyncio.sleep(REDIAL_S)


def _why(error: Exception) -> str:
    if isinstance(error, InvalidStatus) and error.response.status_code == 401:
        return "it does not take the password; gateway.ari_password is what the file ari.conf must have"
    return str(error) or type(error).__name__


class DialledSocket:
    """Telephony's `MessageSocket` on a connection that this side has opened."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.recv()
        except ConnectionClosed as closed:
            raise SocketClosed(closed.rcvd.code if closed.rcvd else NORMAL, str(closed)) from None

    async def send(self, message: str | bytes) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed as closed:
            raise SocketClosed(NORMAL, str(closed)) from None

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        with contextlib.suppress(OSError, WebSocketException):
            await self._connection.close(code, reason)
