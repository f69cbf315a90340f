import asyncio

import pytest
from websockets.asyncio.server import ServerConnection, serve

from appliance.bench import wire
from appliance.bench.asterisk_side import basic
from appliance.bench.errors import BenchError


def test_frames_of_a_server_are_taken_apart_wherever_the_stream_is_cut() -> None:
    stream = b"\x82\x03abc" + b"\x81\x7e\x00\x80" + b"t" * 128 + b"\x82\x7f" + (70_000).to_bytes(8, "big") + b"x" * 70_000
    whole = [(wire.BINARY, b"abc"), (wire.TEXT, b"t" * 128), (wire.BINARY, b"x" * 70_000)]
    assert wire.split_frames(stream) == (whole, b"")
    for cut in (0, 1, 4, 6, 8, 100, 140, 70_000, len(stream) - 1):
        first, rest = wire.split_frames(stream[:cut])
        second, rest = wire.split_frames(rest + stream[cut:])
        assert (first + second, rest) == (whole, b"")


@pytest.mark.parametrize("size", [0, 125, 126, 640, 65_535, 65_536])
async def test_messages_of_every_length_arrive_at_a_real_server_and_come_back(size: int) -> None:
    received: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    async def echo(socket: ServerConnection) -> None:
        assert socket.subprotocol == "media"
        assert socket.request is not None
        assert socket.request.headers["Authorization"] == basic("setu", "secret")
        await (await socket.ping())  # answered, or this never ends
        async for message in socket:
            await socket.send(message)

    async with serve(echo, "127.0.0.1", 0, subprotocols=["media"], compression=None) as server:  # type: ignore[list-item]
        port = server.sockets[0].getsockname()[1]
        took = lambda kind, payload: received.put_nowait((kind, payload))  # noqa: E731
        client = await wire.connect("127.0.0.1", port, "/media/setu-1?leg=x", "media", basic("setu", "secret"), took)
        payload = bytes(index % 251 for index in range(size))
        client.send(wire.client_frame(wire.BINARY, payload))
        assert await asyncio.wait_for(received.get(), 5) == (wire.BINARY, payload)
        client.send(wire.client_frame(wire.TEXT, b"{}"))
        assert await asyncio.wait_for(received.get(), 5) == (wire.TEXT, b"{}")
        client.close()
        assert await asyncio.wait_for(received.get(), 5) == (wire.CLOSE, b"")


async def test_a_refusal_is_an_error_with_its_status() -> None:
    async def never(socket: ServerConnection) -> None:
        raise AssertionError("nobody was let in")

    async with serve(never, "127.0.0.1", 0, process_request=lambda socket, request: socket.respond(403, "no\n")) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BenchError, match="403"):
            await wire.connect("127.0.0.1", port, "/ari/setu-1", "ari", basic("setu", "wrong"), lambda kind, payload: None)


async def test_nobody_there_is_an_error_with_the_port() -> None:
    async with asyncio.timeout(5):
        with pytest.raises(BenchError, match="port 1:"):
            await wire.connect("127.0.0.1", 1, "/", "ari", "", lambda kind, payload: None)
