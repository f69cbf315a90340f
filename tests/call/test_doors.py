"""The doors of a node that is set up as usual, where workers dial Asterisk (ADR 14), while a call goes through them."""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
import socket
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from appliance.phone.demo import scripts, speech

from .conftest import Running
from .followed_call import followed, within

pytestmark = pytest.mark.timeout(120)
ELSEWHERE = ("127.0.0.2", "127.0.0.9")
"""Other addresses of this machine, where nobody must find a door."""


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def credentials(stack: Running) -> str:
    """The right ones."""
    gateway = stack.loaded.config.gateway
    return basic(gateway.ari_user, stack.loaded.secret(gateway.ari_password))


def rejected(stack: Running) -> dict[tuple[str, str], int]:
    """By where and what: how often the gateway has turned somebody away."""
    gateway = stack.loaded.config.gateway
    text = httpx.get(f"http://{gateway.host}:{gateway.port}/metrics", timeout=5, trust_env=False).text
    found = re.findall(r'^setu_rejected_total\{what="([^"]+)",where="([^"]+)"\} (\S+)$', text, re.MULTILINE)
    return {(where, what): round(float(count)) for what, where, count in found}


async def status(address: str, protocol: str | None, authorization: str | None) -> int:
    """What a WebSocket handshake is answered, 101 when it is accepted; then the code by which it is closed at once."""
    headers = {"Authorization": authorization} if authorization is not None else {}
    protocols = [Subprotocol(protocol)] if protocol else None
    try:
        async with asyncio.timeout(10), connect(address, subprotocols=protocols, additional_headers=headers, proxy=None) as opened:
            await opened.recv()
    except InvalidStatus as refused:
        return refused.response.status_code
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 0
    return 101


async def at_the_gateways_control_door(stack: Running, gateway: str) -> None:
    """Nobody is expected there, with whatever credentials: it is the worker that dials."""
    before = rejected(stack)
    passwords = [credentials(stack), basic("setu", "wrong"), basic("setu", ""), "Bearer x", None]
    tries = list(itertools.product(("setu-1", "setu-2"), ("ari", "media", None), passwords))
    for app, protocol, authorization in tries:
        assert await status(f"{gateway}/ari/{app}", protocol, authorization) == 403, (app, protocol, authorization)
    after = rejected(stack)
    assert after.get(("ari", "not-expected"), 0) - before.get(("ari", "not-expected"), 0) == len(tries)
    assert {key for key in after if after[key] != before.get(key, 0)} == {("ari", "not-expected")}


async def at_the_gateways_media_door(stack: Running, gateway: str, call_id: str) -> None:
    right = credentials(stack)
    taken = f"?leg=setu-1-{call_id}-caller-media"
    tries = [
        ("/media/setu-1", "media", None, 403, "credentials"),
        (f"/media/setu-1{taken}", "media", basic("setu", "wrong"), 403, "credentials"),
        (f"/media/setu-1{taken}", "media", basic("", ""), 403, "credentials"),
        ("/media/setu-2", "media", right, 403, "application"),
        ("/media/setu-1", "ari", right, 403, "subprotocol"),
        (f"/media/setu-1{taken}", None, right, 403, "subprotocol"),
        (f"/media/setu-1{taken}", "media", right, 1008, "unknown-leg"),
        (f"/media/setu-1{taken.replace('caller', 'agent')}", "media", right, 1008, "unknown-leg"),
        ("/media/setu-1?leg=setu-1-20260101-000000-0000-caller-media", "media", right, 1008, "unknown-leg"),
    ]
    for path, protocol, authorization, answer, what in tries:
        before = rejected(stack).get(("media", what), 0)
        assert await status(f"{gateway}{path}", protocol, authorization) == answer, (path, protocol, what)
        assert await within(lambda: rejected(stack).get(("media", what), 0) > before, 5), (path, protocol, what)  # noqa: B023
        assert rejected(stack)["media", what] == before + 1, (path, protocol, what)


async def at_asterisks_own_door(stack: Running) -> None:
    place = f"127.0.0.1:{stack.loaded.config.telephony.http_port}"
    user = stack.loaded.config.gateway.ari_user
    wrong = (None, basic(user, "wrong"), basic(user, ""), basic("admin", "admin"), basic("", ""), "Bearer x", "Basic !!!")
    async with httpx.AsyncClient(base_url=f"http://{place}", timeout=5, trust_env=False) as client:
        for authorization in wrong:
            headers = {"Authorization": authorization} if authorization is not None else {}
            for method, path in (("GET", "/ari/channels"), ("GET", "/ari/asterisk/info"), ("DELETE", "/ari/channels/x")):
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 401, (method, path, authorization)
            assert (await client.get("/ari/channels", headers=headers, params={"api_key": f"{user}:wrong"})).status_code == 401
            assert await status(f"ws://{place}/ari/events?app=setu-1", "ari", authorization) == 401, authorization
        for path in ("/", "/httpstatus", "/static/", "/ws", "/media/x", "/ari/../etc/passwd"):
            assert (await client.get(path)).status_code >= 400, path
        answer = await client.get("/ari/channels", headers={"Authorization": credentials(stack)})
        assert answer.status_code == 200, "with the right password it does answer"
        assert len(answer.json()) >= 4


def listening(port: int) -> set[str]:
    """Addresses at which somebody of this machine listens."""
    found = [item.laddr for item in psutil.net_connections("tcp") if item.status == psutil.CONN_LISTEN]
    return {address.ip for address in found if address and address.port == port}


async def test_nobody_else_gets_in_while_a_call_goes_on(stack: Running, phones: Path, tmp_path: Path) -> None:
    gateway, telephony = stack.loaded.config.gateway, stack.loaded.config.telephony
    assert gateway.control == "worker-dials"
    door = f"ws://{gateway.host}:{gateway.port}"
    words = speech.turns("ta", scripts.load("ta")[2:3], tmp_path)[0].samples
    async with followed(stack, phones) as call:
        await at_the_gateways_control_door(stack, door)
        await at_the_gateways_media_door(stack, door, call.call_id)
        await at_asterisks_own_door(stack)
        for port in (gateway.port, telephony.http_port):
            assert listening(port) == {"127.0.0.1"}
            for address in ELSEWHERE:
                with socket.socket() as probe:
                    probe.settimeout(2)
                    assert probe.connect_ex((address, port)) != 0, f"{address}:{port} answers"
        assert stack.status()["asterisk"], "the worker's own connection is as it was"
        assert stack.status()["media_sockets"] == 2
        await call.interpreted("caller", words)
        assert call.states.count("interpreting") == 1
        assert (await call.hang_up()).outcome == "interpreted"
    stack.settled()
