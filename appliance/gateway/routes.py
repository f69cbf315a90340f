"""The addresses of a worker: two WebSockets for Asterisk, and HTTP for people and monitoring."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from litestar import Response, WebSocket, get, websocket
from litestar.datastructures import State
from litestar.params import FromQuery

from appliance.gateway import counting
from appliance.gateway.access import Credentials
from appliance.gateway.asgi_socket import AsgiSocket
from appliance.gateway.worker import Worker
from appliance.telemetry import metrics
from appliance.telephony.errors import MediaNotConnected
from appliance.telephony.websocket_media import WebSocketMedia

log = logging.getLogger(__name__)

ARI_PROTOCOL = "ari"
MEDIA_PROTOCOL = "media"


class CallInProgress(msgspec.Struct, frozen=True):
    call_id: str
    state: str
    caller_number: str
    called_number: str
    language: str | None
    """The caller's, once decided."""
    started_at: float
    """Seconds since the epoch."""


async def _accept(socket: WebSocket[Any, Any, Any], protocol: str) -> AsgiSocket | None:
    """Accept the socket if it is Asterisk's for this worker; otherwise refuse it, which the peer sees as 403."""
    worker: Worker = socket.app.state.worker
    credentials: Credentials = socket.app.state.credentials
    if protocol == ARI_PROTOCOL and socket.app.state.dials:
        reason = "not-expected"
    elif not credentials.match(socket.headers.get("authorization")):
        reason = "credentials"
    elif socket.path_params["application"] != worker.app:
        reason = "application"
    elif protocol not in socket.scope["subprotocols"]:
        reason = "subprotocol"
    else:
        await socket.accept(subprotocols=protocol)
        return AsgiSocket(socket, lambda what: metrics.REJECTED.labels(protocol, what).inc())
    _refused(protocol, reason)
    log.warning("connection refused: %s", reason, extra={"endpoint": protocol, "peer": socket.client.host if socket.client else ""})
    await socket.close(code=4403, reason=reason)
    return None


def _refused(protocol: str, reason: str) -> None:
    metrics.CONNECTIONS_REFUSED.labels(protocol, reason).inc()
    metrics.REJECTED.labels(protocol, reason).inc()


@websocket("/ari/{application:str}")
async def ari_socket(socket: WebSocket[Any, Any, Any]) -> None:
    """Asterisk's persistent control connection, when the worker does not dial Asterisk."""
    accepted = await _accept(socket, ARI_PROTOCOL)
    if accepted is not None:
        await socket.app.state.worker.ari.serve(accepted)


@websocket("/media/{application:str}")
async def media_socket(socket: WebSocket[Any, Any, Any]) -> None:
    """The audio of one leg; `?leg=` names its media channel."""
    accepted = await _accept(socket, MEDIA_PROTOCOL)
    if accepted is None:
        return
    media = WebSocketMedia(accepted, socket.query_params.get("leg", ""), counted=counting.media, short_cut=accepted.short_cut)
    try:
        await socket.app.state.worker.gate.serve(media, accepted)
    except MediaNotConnected as error:
        _refused(MEDIA_PROTOCOL, "unknown-leg")
        log.info("%s", error)


@get("/health", sync_to_thread=False)
def health(state: State, call: FromQuery[bool] = False) -> Response[dict[str, Any]]:
    """200 while the worker can take calls, else 503. `?call=1`: a call waits for the answer."""
    worker: Worker = state.worker
    told = worker.health(for_call=call)
    return Response(told, status_code=200 if told["status"] == "ready" else 503)


@get("/metrics", sync_to_thread=False)
def prometheus() -> Response[bytes]:
    body, content_type = metrics.render()
    return Response(body, media_type=content_type)


@get("/api/calls", sync_to_thread=False)
def calls(state: State) -> list[CallInProgress]:
    """The calls of this worker, oldest first."""
    worker: Worker = state.worker
    return [
        CallInProgress(call.call_id, call.state.phase, call.caller_number, call.called_number, call.language, call.started_at)
        for call in worker.calls.values()
    ]


@get("/api/status", sync_to_thread=False)
def status(state: State) -> dict[str, Any]:
    """What the worker has open."""
    worker: Worker = state.worker
    return worker.status()


HANDLERS = (ari_socket, media_socket, health, prometheus, calls, status)
