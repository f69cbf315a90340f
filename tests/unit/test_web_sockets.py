"""The server's end of a media socket, driven byte by byte over a real connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from appliance.bench.wire import BINARY, PING, PONG, TEXT, split_frames
from appliance.web import sockets
from appliance.web.sockets import EXTENSION, BoundedSocket, bounded_socket

SIZE = 640
MASK = bytes((1, 2, 3, 4))
PIECE, LAST_PIECE = 0x02, 0x80


def frame(kind: int, payload: bytes, mask: bytes = MASK) -> bytes:
    assert len(payload) < 1 << 16
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes((kind,)) + size + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def sound(number: int) -> bytes:
    return bytes((number + place) % 256 for place in range(SIZE))


class Server:
    """Keeps what came by which way."""

    def __init__(self) -> None:
        self.direct: list[bytes] = []
        self.received: list[bytes | str] = []
        self.socket: BoundedSocket | None = None
        self.reads = asyncio.Event()
        self.reads.set()
        self.ended: int | None = None
        self.rejected: list[str] = []
        self._news = asyncio.Event()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self.socket = scope["extensions"][EXTENSION]
        self.socket.hand_over(self._take, SIZE)
        while True:
            await self.reads.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.ended = message["code"]
            else:
                self.received.append(message["text"] if message.get("text") is not None else message["bytes"])
            self._news.set()
            if self.ended is not None:
                return

    def _take(self, payload: bytes) -> None:
        self.direct.append(payload)
        self._news.set()

    async def until(self, messages: int) -> None:
        async with asyncio.timeout(10):
            while len(self.direct) + len(self.received) < messages and self.ended is None:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[Server, asyncio.StreamReader, asyncio.StreamWriter]]:
    server = Server()
    config = uvicorn.Config(
        server.app,
        port=0,
        ws=bounded_socket(server.rejected.append),
        ws_per_message_deflate=False,
        interface="asgi3",
        lifespan="off",
        log_config=None,
    )
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve())
    async with asyncio.timeout(10):
        while not running.started:
            await asyncio.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        yield server, reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        running.should_exit = True
        await task


async def test_frames_of_the_usual_size_are_handed_over_unmasked() -> None:
    async with connection() as (server, _, writer):
        writer.write(frame(BINARY, sound(0)))
        await server.until(1)
        writer.write(frame(BINARY, sound(1)) + frame(BINARY, sound(2), mask=b"\xff\0\xff\0"))
        await server.until(3)
        assert server.direct == [sound(0), sound(1), sound(2)]
        assert server.received == []


async def test_whatever_else_comes_is_received_in_its_order() -> None:
    async with connection() as (server, _, writer):
        writer.write(frame(BINARY, sound(0)) + frame(TEXT, b"mark") + frame(BINARY, sound(1)) + frame(BINARY, b"short"))
        await server.until(4)
        assert server.direct == [sound(0)]
        assert server.received == ["mark", sound(1), b"short"], "what came behind the text in one go must not pass it"
        writer.write(frame(BINARY, sound(2)))
        await server.until(5)
        assert server.direct == [sound(0), sound(2)]


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 8, 100, SIZE + 7])
async def test_a_frame_that_comes_in_two_parts_is_whole(cut: int) -> None:
    async with connection() as (server, _, writer):
        whole = frame(BINARY, sound(5))
        writer.write(frame(BINARY, sound(4)) + whole[:cut])
        await server.until(1)
        await asyncio.sleep(0.02)  # another read
        writer.write(whole[cut:] + frame(BINARY, sound(6)))
        await server.until(3)
        assert server.direct[0] == sound(4)
        assert [*server.direct[1:], *server.received] in ([sound(5), sound(6)], [sound(6), sound(5)])
        assert sound(5) in server.received


async def test_bytes_in_the_middle_of_another_message_are_not_taken_for_a_frame() -> None:
    inner = frame(BINARY, sound(7), mask=bytes(4))
    outer = frame(BINARY, inner, mask=bytes(4))
    assert inner in outer
    async with connection() as (server, _, writer):
        writer.write(outer[:8])
        await asyncio.sleep(0.05)
        writer.write(outer[8:])
        await server.until(1)
        assert server.received == [inner]
        assert server.direct == []


async def test_a_frame_inside_a_message_in_pieces_ends_the_connection() -> None:
    async with connection() as (server, _, writer):
        writer.write(frame(PIECE, b"begun"))
        await asyncio.sleep(0.05)
        writer.write(frame(BINARY, sound(8)))
        await server.until(1)
        assert server.ended == 1002
        assert server.direct == server.received == []


async def test_pieces_are_put_together() -> None:
    async with connection() as (server, _, writer):
        writer.write(frame(PIECE, sound(9)[:300]))
        await asyncio.sleep(0.02)
        writer.write(frame(LAST_PIECE, sound(9)[300:]))
        await server.until(1)
        assert server.received == [sound(9)]


async def test_send_now_sends_until_the_peer_reads_no_more_or_is_gone() -> None:
    async with connection() as (server, reader, writer):
        writer.write(frame(BINARY, sound(0)))
        await server.until(1)
        assert server.socket is not None
        assert server.socket.send_now(sound(1))
        data = b""
        while len(data) < SIZE + 4:
            data += await reader.read(4096)
        assert split_frames(data) == ([(BINARY, sound(1))], b"")
        sent = 0
        while server.socket.send_now(bytes(60_000)):
            sent += 1
            assert sent < 1000, "it never ends"
        writer.transport.abort()
        await server.until(10)
        assert server.ended is not None
        assert not server.socket.send_now(sound(2))


@pytest.mark.parametrize("full", [False, True])
async def test_a_peer_that_answers_no_pings_is_given_up_though_its_kernel_takes_what_it_is_sent(
    monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """Or no longer does: then the end must not wait until it has."""
    monkeypatch.setattr(sockets, "PING_S", 0.5)
    async with connection() as (server, reader, writer):
        writer.write(frame(BINARY, sound(0)))
        await server.until(1)
        assert server.socket is not None
        for _ in range(3):  # who answers is asked again
            ((kind, payload),), _ = split_frames(await asyncio.wait_for(reader.readexactly(6), 10))
            assert kind == PING
            writer.write(frame(PONG, payload))
        assert server.rejected == []
        writer.transport.pause_reading()
        while full and server.socket.send_now(bytes(60_000)):
            pass
        await server.until(10)
        assert server.ended is not None
        assert server.rejected == ["stalled"]
