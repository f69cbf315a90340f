"""A worker dials Asterisk: it says who it is, and dials again when it was refused, cut off or found nobody."""

from __future__ import annotations

import asyncio
import base64
import http
import json
import logging
from collections.abc import AsyncIterator, Callable

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from appliance.config.schema import Config, Gateway, Telephony
from appliance.gateway import control_line as module
from appliance.gateway.access import Credentials
from appliance.gateway.control_line import asterisk_address, control_line
from appliance.telephony import ari_requests
from appliance.telephony.ari_connection import AriConnection
from appliance.telephony.ari_messages import ChannelEvent
from appliance.telephony.errors import AriDisconnected, AriRefused

WHO = Credentials("setu", "secret")
ARI, APP = "/ari", "setu-1"


class Asterisk:
    """The server's side: what came, and what it does with it."""

    def __init__(self) -> None:
        self.refuse = 0
        """Connections to answer with 401."""
        self.lists = 200
        """Status of the answer to a plain request."""
        self.asked: list[Request] = []
        self.open: ServerConnection | None = None

    def listening(self, port: int = 0) -> serve:
        return serve(self._serve, "127.0.0.1", port, process_request=self._request, subprotocols=[Subprotocol("ari")])

    def _request(self, socket: ServerConnection, request: Request) -> Response | None:
        self.asked.append(request)
        if request.path.startswith("/ari/channels"):
            return socket.respond(http.HTTPStatus(self.lists), "[{}]" if self.lists == 200 else "no\n")
        if self.refuse:
            self.refuse -= 1
            return socket.respond(http.HTTPStatus.UNAUTHORIZED, "no\n")
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        self.open = socket
        await socket.send('{"type": "StasisEnd", "channel": {"id": "c"}}')
        async for text in socket:
            request_id = json.loads(text)["request_id"]
            await socket.send(json.dumps({"type": "RESTResponse", "request_id": request_id, "status_code": 200, "message_body": "[]"}))


@pytest.fixture
def asterisk(monkeypatch: pytest.MonkeyPatch) -> Asterisk:
    monkeypatch.setattr(module, "REDIAL_S", 0.02)
    return Asterisk()


@pytest.fixture
async def listening(asterisk: Asterisk) -> AsyncIterator[Server]:
    async with asterisk.listening() as server:
        yield server


def address(server: Server) -> str:
    return f"http://127.0.0.1:{port(server)}{ARI}"


def port(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


async def test_it_says_who_it_is_and_speaks_with_asterisk(asterisk: Asterisk, listening: Server) -> None:
    events: list[ChannelEvent] = []
    ari = AriConnection(events.append)
    async with control_line(ari, address(listening), APP, WHO):
        await until(lambda: events)
        assert await ari.request(ari_requests.list_channels()) == "[]"
        (request,) = asterisk.asked
        assert request.path == "/ari/events?app=setu-1"
        assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"setu:secret").decode()
        assert request.headers["Sec-WebSocket-Protocol"] == "ari"
    assert not ari.connected
    assert asterisk.open is not None
    await until(lambda: asterisk.open is not None and asterisk.open.close_code is not None)


async def test_what_may_be_long_goes_past_the_socket(asterisk: Asterisk, listening: Server) -> None:
    ari = AriConnection(lambda event: None)
    async with control_line(ari, address(listening), APP, WHO):
        await until(lambda: ari.connected)
        assert await ari.fetch(ari_requests.list_channels()) == "[{}]"
        assert asterisk.asked[-1].path == "/ari/channels"
        assert asterisk.asked[-1].headers["Authorization"] == WHO.header
        asterisk.lists = 503
        with pytest.raises(AriRefused, match="GET channels: 503") as refused:
            await ari.fetch(ari_requests.list_channels())
        assert refused.value.retry
        listening.close()
        await until(lambda: not ari.connected)
        with pytest.raises(AriDisconnected):
            await ari.fetch(ari_requests.list_channels())


async def test_a_refusal_is_said_once_and_tried_again(asterisk: Asterisk, listening: Server, caplog: pytest.LogCaptureFixture) -> None:
    asterisk.refuse = 5
    ari = AriConnection(lambda event: None)
    with caplog.at_level(logging.WARNING):
        async with control_line(ari, address(listening), APP, WHO):
            await until(lambda: ari.connected)
    assert len(asterisk.asked) == 6
    assert [record.getMessage() for record in caplog.records if record.name == module.__name__] == [
        "no control connection to Asterisk yet: it does not take the password; gateway.ari_password is what the file ari.conf must have"
    ]


@pytest.mark.parametrize("politely", [True, False])
async def test_a_connection_that_ends_is_dialled_again(asterisk: Asterisk, listening: Server, politely: bool) -> None:
    links: list[str] = []
    ari = AriConnection(lambda event: None, on_connected=lambda: links.append("up"), on_lost=lambda: links.append("down"))
    async with control_line(ari, address(listening), APP, WHO):
        await until(lambda: asterisk.open)
        first = asterisk.open
        assert first is not None
        if politely:
            await first.close(1001, "restart")
        else:
            first.transport.abort()
        await until(lambda: asterisk.open is not first and ari.connected)
        assert await ari.request(ari_requests.list_channels()) == "[]"
        assert links == ["up", "down", "up"]


async def test_a_connection_that_lost_its_application_to_another_one_is_dialled_again(asterisk: Asterisk, listening: Server) -> None:
    ari = AriConnection(lambda event: None)
    async with control_line(ari, address(listening), APP, WHO):
        await until(lambda: asterisk.open)
        first = asterisk.open
        assert first is not None
        await first.send('{"type":"ApplicationReplaced","timestamp":"2026-11-21T12:00:00.000+0000","application":"setu-1"}')
        await until(lambda: asterisk.open is not first and ari.connected)
        assert len(asterisk.asked) == 2


async def test_an_event_that_breaks_the_worker_costs_the_connection_and_not_the_line(
    asterisk: Asterisk, listening: Server, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[ChannelEvent] = []

    def take(event: ChannelEvent) -> None:
        events.append(event)
        if len(events) == 1:
            raise KeyError("no such leg")

    ari = AriConnection(take)
    async with control_line(ari, address(listening), APP, WHO):
        await until(lambda: len(events) == 2)
        assert await ari.request(ari_requests.list_channels()) == "[]"
    assert "control connection given up" in caplog.messages


async def test_an_asterisk_that_starts_later_is_found(asterisk: Asterisk) -> None:
    async with asterisk.listening() as server:
        where, number = address(server), port(server)
    ari = AriConnection(lambda event: None)
    async with control_line(ari, where, APP, WHO):
        await asyncio.sleep(0.1)
        assert not ari.connected
        async with asterisk.listening(number):
            await until(lambda: ari.connected)


def test_who_dials_is_a_matter_of_the_configuration() -> None:
    telephony = Telephony(company_number="1800", http_port=8188)
    assert asterisk_address(Config(telephony=telephony)) == "http://127.0.0.1:8188/ari"
    assert asterisk_address(Config(telephony=telephony, gateway=Gateway(control="asterisk-dials"))) is None
