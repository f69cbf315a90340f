"""The HTTP server of a worker: its listening socket and a stop that ends the calls while Asterisk is still connected."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from types import FrameType

import psutil
import uvicorn
from litestar import Litestar

from appliance.errors import ApplianceError
from appliance.telemetry import metrics
from appliance.telemetry.systemd import NOBODY, Unit
from appliance.telephony.ari_connection import MAX_MESSAGE
from appliance.web.entrance import allow_many_files, entrance
from appliance.web.sockets import bounded_socket

log = logging.getLogger(__name__)

GRACE_S = 5
"""For requests that run when the server is told to stop."""
PING_S = 20.0
"""Between pings, and for their answers: how soon a connection whose other end vanished without a word is noticed."""
BACKLOG = 2048


class PortTaken(ApplianceError):
    """Another process listens where the worker should."""


class WorkerServer(uvicorn.Server):
    """Uvicorn closes all WebSockets before it ends the application; so the calls are ended first."""

    def __init__(self, app: Litestar, unit: Unit = NOBODY) -> None:
        allow_many_files()
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=entrance(_rejected),
                ws=bounded_socket(_rejected),
                lifespan="on",
                log_config=None,
                access_log=False,
                ws_max_size=MAX_MESSAGE,
                ws_ping_interval=PING_S,
                ws_ping_timeout=PING_S,
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._app = app
        self._unit = unit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._told = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A first signal ends calls and then the server, a second one the server at once."""
        if self._told or self._loop is None:
            super().handle_exit(sig, frame)
            return
        self._told = True
        self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """End the calls, then the server."""
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop())

    async def _stop(self) -> None:
        worker = getattr(self._app.state, "worker", None)
        self._unit.stopping("gives its calls away")
        try:
            if worker is not None:
                await worker.stop()
        finally:
            self.should_exit = True


def _rejected(what: str) -> None:
    metrics.REJECTED.labels("connection", what).inc()


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address.

    Raises:
        PortTaken: naming the process that has it.
        ApplianceError: it cannot be bound for another reason.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} on {host} is taken by {owner(port)}", hint="gateway.port sets another one") from None
        raise ApplianceError(f"cannot listen on port {port} of {host}: {error.strerror}") from None
    return listener


def owner(port: int) -> str:
    """Name and id of the process that listens on a TCP port, as far as this user may know."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return "another process"
