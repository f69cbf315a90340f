"""The Litestar application of a gateway worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from litestar import Litestar
from litestar.openapi import OpenAPIConfig

from appliance import __version__
from appliance.gateway.access import Credentials
from appliance.gateway.routes import HANDLERS
from appliance.gateway.worker import Worker

OpenWorker = Callable[[], AbstractAsyncContextManager[Worker]]


def create_app(open_worker: OpenWorker, credentials: Credentials) -> Litestar:
    """The application; its worker lives from start-up to shutdown.

    Args:
        open_worker: makes the worker and everything it needs, and takes it down again.
        credentials: what Asterisk sends with its WebSockets.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_worker() as worker:
            app.state.worker = worker
            app.state.credentials = credentials
            try:
                yield
            finally:
                await worker.stop()

    return Litestar(
        route_handlers=HANDLERS,
        lifespan=[lifespan],
        logging_config=None,
        openapi_config=OpenAPIConfig(title="Setu gateway", version=__version__),
    )
