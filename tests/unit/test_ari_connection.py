from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from scripted_socket import ScriptedSocket, settle

from appliance.telephony import ari_requests
from appliance.telephony.ari_connection import MAX_MALFORMED, MAX_MESSAGE, AriConnection
from appliance.telephony.ari_messages import ChannelEvent
from appliance.telephony.errors import AriDisconnected, AriNotFound, AriRefused, AriTimedOut
from appliance.telephony.socket import POLICY, PROTOCOL_ERROR, TOO_BIG


class Connection:
    """A connection and what it told."""

    def __init__(self) -> None:
        self.events: list[ChannelEvent] = []
        self.links: list[str] = []
        self.counts: Counter[str] = Counter()
        self.ari = AriConnection(
            self.events.append,
            on_connected=lambda: self.links.append("up"),
            on_lost=lambda: self.links.append("down"),
            counted=lambda what: self.counts.update([what]),
            timeout_s=0.2,
        )
        self.tasks: list[asyncio.Task[None]] = []

    async def dial(self) -> ScriptedSocket:
        socket = ScriptedSocket()
        self.tasks.append(asyncio.create_task(self.ari.serve(socket)))
        await settle()
        return socket


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    connection = Connection()
    yield connection
    for task in connection.tasks:
        task.cancel()
    await asyncio.gather(*connection.tasks, return_exceptions=True)


def answer(request: str | bytes, status: int = 200, body: str = "") -> str:
    request_id = json.loads(request)["request_id"]
    return json.dumps({"type": "RESTResponse", "request_id": request_id, "status_code": status, "message_body": body})


async def test_answers_find_their_requests_in_any_order(connection: Connection) -> None:
    socket = await connection.dial()
    first = asyncio.create_task(connection.ari.request(ari_requests.list_channels()))
    second = asyncio.create_task(connection.ari.request(ari_requests.list_bridges()))
    await settle()
    assert [json.loads(message)["uri"] for message in socket.sent] == ["channels", "bridges"]
    socket.arrives(answer(socket.sent[1], body="B"), answer(socket.sent[0], body="A"))
    assert (await first, await second) == ("A", "B")
    assert connection.counts == {"ok": 2}


async def test_errors_say_whether_to_try_again(connection: Connection) -> None:
    socket = await connection.dial()
    for status, error, retry in ((404, AriNotFound, False), (409, AriRefused, False), (500, AriRefused, True)):
        request = asyncio.create_task(connection.ari.request(ari_requests.hang_up("c")))
        await settle()
        socket.arrives(answer(socket.sent[-1], status))
        with pytest.raises(error, match=f"DELETE channels/c: {status}") as raised:
            await request
        assert raised.value.retry is retry


async def test_no_answer_in_time(connection: Connection) -> None:
    socket = await connection.dial()
    with pytest.raises(AriTimedOut, match=r"0\.2 s"):
        await connection.ari.request(ari_requests.answer("c"))
    socket.arrives(answer(socket.sent[-1]))
    await settle()
    assert connection.counts == {"timed-out": 1, "answer-unknown": 1}


async def test_without_connection_a_request_fails_at_once(connection: Connection) -> None:
    with pytest.raises(AriDisconnected):
        await connection.ari.request(ari_requests.answer("c"))


async def test_a_lost_connection_fails_what_waits_and_the_next_one_works(connection: Connection) -> None:
    socket = await connection.dial()
    request = asyncio.create_task(connection.ari.request(ari_requests.answer("c"), timeout_s=5))
    await settle()
    socket.peer_closes()
    with pytest.raises(AriDisconnected, match="lost before the answer"):
        await request
    await settle()
    assert connection.links == ["up", "down"]
    assert not connection.ari.connected
    socket = await connection.dial()
    request = asyncio.create_task(connection.ari.request(ari_requests.answer("c")))
    await settle()
    socket.arrives(answer(socket.sent[0], body="yes"))
    assert await request == "yes"


async def test_a_new_connection_replaces_the_old_one(connection: Connection) -> None:
    old = await connection.dial()
    request = asyncio.create_task(connection.ari.request(ari_requests.answer("c"), timeout_s=5))
    await settle()
    new = await connection.dial()
    with pytest.raises(AriDisconnected):
        await request
    assert old.closed_with == POLICY
    assert connection.ari.connected
    old.arrives('{"type": "StasisEnd", "channel": {"id": "old"}}')
    new.arrives('{"type": "StasisEnd", "channel": {"id": "new"}}')
    await settle()
    assert [event.channel.id for event in connection.events] == ["new"]
    assert connection.links == ["up", "up"]


async def test_unknown_events_are_counted_and_malformed_ones_end_the_connection(connection: Connection) -> None:
    socket = await connection.dial()
    socket.arrives('{"type": "PeerStatusChange"}', *["rubbish"] * (MAX_MALFORMED - 1), '{"type": "StasisEnd", "channel": {"id": "c"}}')
    await settle()
    assert len(connection.events) == 1
    assert socket.closed_with is None
    socket.arrives("rubbish")
    await settle()
    assert socket.closed_with == PROTOCOL_ERROR
    assert connection.counts == {"event-ignored": 1, "malformed": MAX_MALFORMED}


async def test_an_oversized_message_ends_the_connection(connection: Connection) -> None:
    socket = await connection.dial()
    socket.arrives("x" * (MAX_MESSAGE + 1))
    await settle()
    assert socket.closed_with == TOO_BIG


async def test_a_peer_that_does_not_read_fills_no_memory(connection: Connection) -> None:
    socket = await connection.dial()
    socket.taking.clear()
    requests = [asyncio.create_task(connection.ari.request(ari_requests.answer("c"))) for _ in range(5_000)]
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert {type(result) for result in results} == {AriTimedOut, AriDisconnected}
