"""The rendered configuration in a real Asterisk: who gets in, where calls go, how it reaches the gateway."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http
import json
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import websockets
from stack_asterisk import RunningAsterisk, running_asterisk

from appliance.gateway.access import Credentials
from appliance.gateway.control_line import asterisk_address, control_line
from appliance.phone.baresip import Phone
from appliance.phone.errors import PhoneError
from appliance.phone.phone_config import PhoneAccount
from appliance.phone.phone_events import CallClosed, CallEstablished, IncomingCall
from appliance.phone.program import find_program, work_folder
from appliance.stack.readiness import connected_workers
from appliance.telephony.ari_connection import AriConnection
from appliance.telephony.ari_requests import AriRequest, hang_up, list_channels

CALLER = "127.0.0.2"
AGENT = "127.0.0.3"
STRANGER = "127.0.0.5"
MANY, STACK = 1400, 496 << 10


@pytest.fixture
async def asterisk(tmp_path: Path) -> AsyncIterator[RunningAsterisk]:
    async with running_asterisk(tmp_path) as running:
        yield running


@pytest.fixture
def phones() -> Iterator[Path]:
    folder = work_folder()
    yield folder
    shutil.rmtree(folder)


def agent(asterisk: RunningAsterisk, *, password: str | None = None, answers: bool = True) -> PhoneAccount:
    secret = asterisk.loaded.secret("file:agent1-password") if password is None else password
    return PhoneAccount("agent1", AGENT, asterisk.server, secret, registers=True, answer_after_s=0.2 if answers else None)


async def test_it_starts_without_an_error_and_has_what_calls_need(asterisk: RunningAsterisk) -> None:
    assert "ERROR" not in asterisk.log()
    modules = asterisk.ask("module show")
    for name in ("chan_pjsip", "chan_websocket", "res_websocket_client", "res_ari_channels", "app_queue", "app_stasis", "res_srtp"):
        line = next(line for line in modules.splitlines() if line.startswith(f"{name}.so"))
        assert "Running" in line
    assert "Not Running" not in modules
    endpoints = asterisk.ask("pjsip show endpoints")
    assert "anonymous" not in endpoints
    assert endpoints.count("Endpoint:  agent") == 2
    assert "hold" in asterisk.ask("moh show files")


DIALS = '[gateway]\ncontrol = "asterisk-dials"\n'
"""Whoever answers there is a worker of the test."""


async def test_it_connects_to_each_worker_with_its_credentials_when_it_shall(tmp_path: Path) -> None:
    seen: dict[str, tuple[str | None, str]] = {}

    async def serve(socket: websockets.ServerConnection) -> None:
        request = socket.request
        assert request is not None
        seen[request.path] = (socket.subprotocol, request.headers.get("Authorization", ""))
        with contextlib.suppress(websockets.ConnectionClosed):
            async for _ in socket:
                pass

    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_asterisk(tmp_path, edit={"[gateway]\n": f"{DIALS}workers = 2\n"}))
        first = running.loaded.config.gateway.port
        for port in (first, first + 1):
            await stack.enter_async_context(websockets.serve(serve, "127.0.0.1", port, subprotocols=[websockets.Subprotocol("ari")]))
        async with asyncio.timeout(20):
            while connected_workers(running.ask("ari show websocket sessions")) != {1, 2}:
                await asyncio.sleep(0.1)
        password = running.loaded.secret("file:ari-password")
    credentials = "Basic " + base64.b64encode(f"setu:{password}".encode()).decode()
    assert seen == {"/ari/setu-1": ("ari", credentials), "/ari/setu-2": ("ari", credentials)}


async def test_a_worker_sees_a_full_node(asterisk: RunningAsterisk) -> None:
    """The list of so many channels, sent over its connection, is more than Asterisk's stack holds."""
    gateway = asterisk.loaded.config.gateway
    credentials = Credentials(gateway.ari_user, asterisk.loaded.secret(gateway.ari_password))
    address = asterisk_address(asterisk.loaded.config)
    assert address is not None
    ari = AriConnection(lambda event: None)

    def name(number: int) -> str:
        return f"setu-1-20260101-000000-{number:04x}-caller-media"

    async with control_line(ari, address, "setu-1", credentials):
        async with asyncio.timeout(20):
            while not ari.connected:
                await asyncio.sleep(0.05)
        for number in range(MANY // 2):
            halves = {"channelId": name(2 * number), "otherChannelId": name(2 * number + 1)}
            await ari.request(AriRequest("POST", "channels/create", {"endpoint": "Local/1800@from-trunk", "app": "setu-1", **halves}))
        listed = await ari.fetch(list_channels())
        assert len(json.loads(listed)) == MANY
        assert len(listed) > STACK, "enough to be fatal"
        await ari.request(hang_up(name(0)))  # the same connection works on


async def test_with_a_certificate_it_takes_sip_over_tls(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    tls = f'tls_port = {port}\ntls_certificate = "{certificate[0]}"\ntls_key = "{certificate[1]}"\n'
    async with running_asterisk(tmp_path / "stack", edit={"[telephony]\n": f"[telephony]\n{tls}"}) as running:
        assert "ERROR" not in running.log()
        transports = [line.split() for line in running.ask("pjsip show transports").splitlines()]
        assert [line[2] for line in transports if line[:1] == ["Transport:"] and line[-1] == f"127.0.0.1:{port}"] == ["tls"]
        trusted = ssl.create_default_context(cafile=certificate[0])
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted)
        writer.transport.abort()  # Asterisk keeps talking after a polite end


async def test_without_a_gateway_a_caller_reaches_an_agent(asterisk: RunningAsterisk, phones: Path) -> None:
    program = find_program(asterisk.programs)
    async with (
        Phone.start(phones / "agent", program, agent(asterisk)) as desk,
        Phone.start(phones / "caller", program, PhoneAccount("9123456789", CALLER, asterisk.server)) as caller,
    ):
        await caller.dial("1800")
        await caller.wait_for(CallEstablished, 15)
        incoming = await desk.wait_for(IncomingCall, 15)
        await desk.wait_for(CallEstablished, 15)
        assert "9123456789" in incoming.peer
        await caller.hang_up()
        await desk.wait_for(CallClosed, 15)


async def test_with_no_agent_the_caller_is_told_and_the_call_ends(tmp_path: Path, phones: Path) -> None:
    async with running_asterisk(tmp_path, edit={'company_number = "1800"': 'company_number = "1800"\nring_s = 2.0'}) as running:
        account = PhoneAccount("9123456789", CALLER, running.server)
        async with Phone.start(phones / "caller", find_program(running.programs), account) as caller:
            await caller.dial("1800")
            await caller.wait_for(CallEstablished, 15)
            await caller.wait_for(CallClosed, 25)
        async with asyncio.timeout(10):  # the telephone knows of the end a moment before
            while not running.ask("core show channels count").startswith("0 active channels"):
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("name", "address", "number"),
    [
        ("9123456789", STRANGER, "1800"),  # not from the trunk's address
        ("test", STRANGER, "1800"),  # the trunk's name is no way in
        ("agent1", STRANGER, "1800"),  # an agent's name without the password
        ("9123456789", CALLER, "it"),  # from the trunk, but to the inside
        ("9123456789", CALLER, "agent1"),
    ],
)
async def test_who_may_not_call_is_refused(asterisk: RunningAsterisk, phones: Path, name: str, address: str, number: str) -> None:
    async with Phone.start(phones / "stranger", find_program(asterisk.programs), PhoneAccount(name, address, asterisk.server)) as phone:
        await phone.dial(number)
        closed = await phone.wait_for(CallClosed, 15)
        assert phone.seen(CallEstablished) is None
        assert closed.reason[:3] in {"401", "403", "404"}


async def test_an_agent_needs_the_password_and_may_place_no_call(asterisk: RunningAsterisk, phones: Path) -> None:
    program = find_program(asterisk.programs)
    with pytest.raises(PhoneError, match="refused"):
        async with Phone.start(phones / "wrong", program, agent(asterisk, password="guess")):
            pass
    async with Phone.start(phones / "right", program, agent(asterisk)) as desk:
        await desk.dial("1800")
        closed = await desk.wait_for(CallClosed, 15)
        assert desk.seen(CallEstablished) is None
        assert closed.reason.startswith("404")


class Worker:
    """The least of a gateway worker: says how it is, and takes the control connection."""

    def __init__(self, *, takes_calls: bool) -> None:
        self.health = (http.HTTPStatus.OK, "ready") if takes_calls else (http.HTTPStatus.SERVICE_UNAVAILABLE, "not-ready")
        self.callers: list[str] = []

    def answer(self, socket: websockets.ServerConnection, request: websockets.Request) -> websockets.Response | None:
        status, word = self.health
        return socket.respond(status, f'{{"status": "{word}", "accepting": true}}\n') if request.path.startswith("/health") else None

    async def serve(self, socket: websockets.ServerConnection) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for message in socket:
                event = json.loads(message)
                if event["type"] == "StasisStart":
                    self.callers.append(event["channel"]["caller"]["number"])

    def listening(self, port: int) -> websockets.serve:
        return websockets.serve(self.serve, "127.0.0.1", port, subprotocols=[websockets.Subprotocol("ari")], process_request=self.answer)


async def test_a_call_goes_to_a_worker_that_takes_calls(tmp_path: Path, phones: Path) -> None:
    full, free = Worker(takes_calls=False), Worker(takes_calls=True)
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_asterisk(tmp_path, edit={"[gateway]\n": f"{DIALS}workers = 3\n"}))
        first = running.loaded.config.gateway.port  # nobody listens there: the first worker is down
        await stack.enter_async_context(full.listening(first + 1))
        await stack.enter_async_context(free.listening(first + 2))
        async with asyncio.timeout(20):
            while connected_workers(running.ask("ari show websocket sessions")) != {2, 3}:
                await asyncio.sleep(0.1)
        for number in range(4):
            caller = f"912345678{number}"
            account = PhoneAccount(caller, CALLER, running.server)
            async with Phone.start(phones / caller, find_program(running.programs), account) as phone:
                await phone.dial("1800")
                async with asyncio.timeout(15):
                    while caller not in free.callers:
                        await asyncio.sleep(0.02)
        assert full.callers == []


async def test_a_worker_that_is_gone_leaves_no_caller_waiting(tmp_path: Path, phones: Path) -> None:
    worker = Worker(takes_calls=True)
    async with running_asterisk(tmp_path, edit={"[gateway]\n": DIALS}) as running:
        async with worker.listening(running.loaded.config.gateway.port):
            async with asyncio.timeout(20):
                while connected_workers(running.ask("ari show websocket sessions")) != {1}:
                    await asyncio.sleep(0.1)
        account = PhoneAccount("9123456789", CALLER, running.server)
        async with Phone.start(phones / "caller", find_program(running.programs), account) as phone:
            await phone.dial("1800")
            await phone.wait_for(CallEstablished, 15)  # by the dialplan, on the way to the queue
        assert worker.callers == []
