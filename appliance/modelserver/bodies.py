"""Bodies of requests as they come in: how many bytes of them a server holds at once, and how long it waits for one."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request

BODIES_BYTES = 128_000_000
"""Of all requests whose body is still coming: some two minutes of audio for each of 30 callers."""
BODY_S = 10.0
"""For a whole body to come; on a Unix socket a minute of audio takes milliseconds."""


class BodyTooLate(Exception):
    """The sender stopped in the middle."""


class TooManyBodies(Exception):
    """So much is coming in that no more may."""


class Bodies:
    """The bodies that one server is receiving.

    Args:
        longest: bytes a body may have; taken for one whose length is not told.
    """

    def __init__(self, longest: int, *, total: int = BODIES_BYTES, wait_s: float = BODY_S) -> None:
        self._longest = longest
        self._total = total
        self._wait_s = wait_s
        self.coming = 0
        """Bytes promised by requests whose body is not complete."""

    async def read(self, request: Request[Any, Any, Any]) -> bytes:
        """The whole body.

        Raises:
            TooManyBodies, BodyTooLate.
            HTTPException: longer than allowed (413), or the sender went away.
        """
        told = request.headers.get("content-length", "")
        size = min(int(told), self._longest) if told.isascii() and told.isdigit() else self._longest
        if self.coming + size > self._total:
            raise TooManyBodies
        self.coming += size
        try:
            async with asyncio.timeout(self._wait_s):
                return await request.body()
        except TimeoutError:
            raise BodyTooLate from None
        finally:
            self.coming -= size
