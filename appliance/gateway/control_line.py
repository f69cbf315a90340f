"""A worker's way to Asterisk's events and requests: it dials Asterisk, and dials again whenever the connection is gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from appliance.config.schema import Config
from appliance.gateway.access import Credentials
from appliance.telephony.ari_connection import MAX_MESSAGE, AriConnection, Fetch
from appliance.telephony.ari_requests import AriRequest
from appliance.telephony.errors import AriDisconnected, AriRefused, AriTimedOut, SocketClosed
from appliance.telephony.socket import NORMAL, POLICY

log = logging.getLogger(__name__)

PROTOCOL = Subprotocol("ari")
CONNECT_S = 2.0
REDIAL_S = 0.25
"""Between two attempts: a call is not let into the application before the next one has come through."""
PING_S = 20.0
"""Between pings, and for their answers: how soon an Asterisk that vanished without a word is noticed."""
SAY_EVERY = 40
"""Attempts between two lines in the log while Asterisk is away."""
_REPLACED = re.compile(r'\s*\{\s*"type"\s*:\s*"ApplicationReplaced"')


def asterisk_address(config: Config) -> str | None:
    """Asterisk's ARI, which the workers dial; None when Asterisk dials the workers."""
    return f"http://127.0.0.1:{config.telephony.http_port}/ari" if config.gateway.control == "worker-dials" else None


@asynccontextmanager
async def control_line(ari: AriConnection, address: str, app: str, credentials: Credentials) -> AsyncIterator[None]:
    """Keeps `ari` connected, for the Stasis application `app`, while the block runs."""
    async with httpx.AsyncClient(base_url=f"{address}/", headers={"Authorization": credentials.header}, trust_env=False) as client:
        line = asyncio.create_task(_keep(ari, f"{address}/events?app={app}".replace("http", "ws", 1), credentials, partial(fetch, client)))
        try:
            yield
        finally:
            line.cancel()
            await asyncio.gather(line, return_exceptions=True)


async def fetch(client: httpx.AsyncClient, request: AriRequest, timeout_s: float) -> str:
    """Telephony's `Fetch` over plain HTTP."""
    try:
        response = await client.request(request.method, request.uri, params=request.query, timeout=timeout_s)
    except httpx.TimeoutException:
        raise AriTimedOut(f"{request}: no answer from Asterisk in {timeout_s:g} s") from None
    except httpx.HTTPError as error:
        raise AriDisconnected(f"{request}: {error}") from error
    if response.is_error:
        raise AriRefused(str(request), response.status_code, response.text)
    return response.text


async def _keep(ari: AriConnection, address: str, credentials: Credentials, fetch: Fetch) -> None:
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
                await ari.serve(DialledSocket(connection), fetch)
        except (OSError, TimeoutError, WebSocketException) as error:
            if failed % SAY_EVERY == 0:
                log.warning("no control connection to Asterisk yet: %s", _why(error), extra={"address": address})
            failed += 1
        except Exception:  # whatever one event has broken: without this line the worker would take no call any more
            log.exception("control connection given up")
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
            message = await self._connection.recv()
        except ConnectionClosed as closed:
            raise SocketClosed(closed.rcvd.code if closed.rcvd else NORMAL, str(closed)) from None
        if isinstance(message, str) and _REPLACED.match(message):
            # Asterisk tells this connection nothing more. An attempt that was given up while Asterisk hung may come after the one that
            # came through, and when it ends, nobody has the application.
            raise SocketClosed(POLICY, "another connection has taken the application over")
        return message

    async def send(self, message: str | bytes) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed as closed:
            raise SocketClosed(NORMAL, str(closed)) from None

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        with contextlib.suppress(OSError, WebSocketException):
            await self._connection.close(code, reason)
