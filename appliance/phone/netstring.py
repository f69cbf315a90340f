"""Netstrings (`5:hello,`), in which baresip's control port wraps its JSON."""

from __future__ import annotations

import asyncio

LONGEST = 1_000_000
"""Bytes; a longer message is no answer of a telephone."""


def pack(payload: bytes) -> bytes:
    return b"%d:%s," % (len(payload), payload)


async def read(stream: asyncio.StreamReader) -> bytes:
    """The next message.

    Raises:
        asyncio.IncompleteReadError: the stream has ended.
        ValueError: what came is no netstring.
    """
    head = await stream.readuntil(b":")
    digits = head[:-1]
    if not digits.isdigit() or int(digits) > LONGEST:
        raise ValueError(f"a netstring starts with its length, not with {head[:20]!r}")
    body = await stream.readexactly(int(digits) + 1)
    if body[-1:] != b",":
        raise ValueError("a netstring ends with a comma")
    return body[:-1]
