"""The Litestar application of a gateway worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from litestar import Litestar
from litestar.exceptions import HTTPException, WebSocketException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import Scope

from appliance import __version__
from appliance.gateway.access import Credentials
from appliance.gateway.control_line import control_line
from appliance.gateway.routes import HANDLERS
from appliance.gateway.worker import Worker
from appliance.telemetry import metrics

MAX_BODY = 64_000
"""Bytes; nothing that people send a worker is longer."""

OpenWorker = Callable[[], AbstractAsyncContextManager[Worker]]


def create_app(open_worker: OpenWorker, credentials: Credentials, asterisk: str | None = None) -> Litestar:
    """The application; its worker lives from start-up to shutdown.

    Args:
        open_worker: makes the worker and everything it needs, and takes it down again.
        credentials: what Asterisk sends with its WebSockets, and the worker with its own.
        asterisk: address of the ARI to open the control connection to; None: Asterisk opens it to here.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_worker() as worker:
            app.state.worker = worker
            app.state.credentials = credentials
            app.state.dials = asterisk is not None
            async with control_line(worker.ari, asterisk, worker.app, credentials) if asterisk else nullcontext():
                try:
                    yield
                finally:
                    await worker.stop()

    return Litestar(
        route_handlers=HANDLERS,
        lifespan=[lifespan],
        logging_config=None,
        request_max_body_size=MAX_BODY,
        after_exception=[_count],
        # The document alone: pages that show it would fetch their scripts from the internet.
        openapi_config=OpenAPIConfig(title="Setu gateway", version=__version__, render_plugins=[JsonRenderPlugin()]),
    )


async def _count(error: Exception, scope: Scope) -> None:
    """A request that was turned away, by its status; an error of our own (500 and more) is not the sender's."""
    if isinstance(error, HTTPException) and error.status_code < 500:
        metrics.REJECTED.labels("http", str(error.status_code)).inc()
    elif isinstance(error, WebSocketException):
        metrics.REJECTED.labels("http", "websocket").inc()
