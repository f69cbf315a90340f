"""Who gets in to a worker, what they may say, and what they are shown."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from call_stage import Stage, open_stage
from fake_asterisk import basic
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from appliance.gateway.server import PortTaken, listen


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as stage:
        yield stage


async def test_forged_and_malformed_control_messages_disturb_no_call(stage: Stage) -> None:
    await stage.interpreting()
    stray = '{"type": "StasisStart", "args": ["agent", "no-such-call"], "channel": {"id": "stray"}}'
    for text in ("rubbish", '{"type": "ChannelDestroyed", "channel": {"id": "nobody"}}', '{"type": "RESTResponse"}', stray):
        await stage.asterisk.raw(text)
    await stage.until(lambda: str(stage.asterisk.requests[-1]) == "DELETE channels/stray")
    assert stage.states[-1] == "interpreting"
    assert len(stage.worker.calls) == 1


@pytest.mark.parametrize(
    ("path", "protocol", "headers"),
    [
        ("/ari/setu-1", "ari", {}),
        ("/ari/setu-1", "ari", basic(password="wrong")),
        ("/ari/setu-1", "ari", basic(user="other")),
        ("/ari/setu-1", "ari", {"Authorization": "Basic !!!"}),
        ("/ari/setu-1", "ari", {"Authorization": basic()["Authorization"].replace("Basic", "Bearer")}),
        ("/ari/setu-1", "media", basic()),
        ("/ari/setu-1", None, basic()),
        ("/ari/setu-2", "ari", basic()),
        ("/media/setu-1", "media", basic(password="")),
        ("/media/setu-1", "ari", basic()),
        ("/media/setu-9", "media", basic()),
    ],
)
async def test_who_is_not_asterisk_is_refused(stage: Stage, path: str, protocol: str | None, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with connect(
            f"{stage.asterisk.url}{path}", subprotocols=[protocol] if protocol else None, additional_headers=headers, proxy=None
        ):
            pass
    assert stage.worker.ari.connected


async def test_media_of_an_unknown_leg_is_closed(stage: Stage) -> None:
    address = f"{stage.asterisk.url}/media/setu-1?leg=x"
    async with connect(address, subprotocols=["media"], additional_headers=basic(), proxy=None) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_what_people_and_monitoring_see(stage: Stage) -> None:
    await stage.interpreting()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stage.port}", trust_env=False) as http:
        assert (await http.get("/health")).status_code == 200
        (call,) = (await http.get("/api/calls")).json()
        assert call["state"] == "interpreting"
        assert call["caller_number"] == "9840012345"
        status = (await http.get("/api/status")).json()
        assert {key: status[key] for key in ("calls", "channels", "bridges", "media_sockets")} == {
            "calls": 1,
            "channels": 4,
            "bridges": 2,
            "media_sockets": 2,
        }
        text = (await http.get("/metrics")).text
        assert "setu_ari_connected 1.0" in text
        assert "setu_legs_active 2.0" in text
        await stage.asterisk.drop()
        await stage.until(lambda: not stage.worker.ari.connected)
        assert (await http.get("/health")).status_code == 503


def test_a_taken_port_is_named_with_its_owner() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(PortTaken, match=r"port \d+ on 127.0.0.1 is taken by .*python.* \(process \d+\)"):
        listen("127.0.0.1", taken.getsockname()[1])
