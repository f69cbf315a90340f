"""`python -m lab.relay PORT NAMESPACE`: makes a program on loopback of another network namespace reachable here, at the same port."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import sys
from pathlib import Path

LOOPBACK = "127.0.0.1"
_NEW_NET = 0x40000000


def enter(namespace: str) -> None:
    """From now on sockets of this process are made in that namespace; those that exist stay where they are."""
    with Path("/run/netns", namespace).open("rb") as handle:
        if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), _NEW_NET) != 0:
            raise OSError(ctypes.get_errno(), f"namespace {namespace}: {os.strerror(ctypes.get_errno())}")


async def serve(port: int, namespace: str) -> None:
    listening = socket.create_server((LOOPBACK, port))
    enter(namespace)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await _connect(port)
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))

    server = await asyncio.start_server(connected, sock=listening)
    async with server:
        await server.serve_forever()


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for _ in range(200):
        try:
            return await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            await asyncio.sleep(0.05)  # the program is starting
    raise ConnectionRefusedError(f"nothing listens at port {port}")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
