"""What the interpreter tells about one call, picked out of the stream of all calls by the caller's number."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Self

from appliance.events import CallStarted, Event

Source = Callable[[str], AsyncIterator[tuple[str, Event]]]
"""Events after a stream id, without end: `EventStream.read`."""


@dataclass(frozen=True, slots=True)
class Received:
    at: float
    """`time.monotonic()`."""
    event: Event


class CallEvents:
    """Follows the next call of `caller_number` from its entering on (`async with`). Without a source nothing is ever told."""

    def __init__(self, source: Source | None, caller_number: str, tell: Callable[[Event], None] = lambda event: None) -> None:
        self.call_id = ""
        """Known once the call has started."""
        self.received: list[Received] = []
        self._source = source
        self._caller_number = caller_number
        self._tell = tell
        self._news = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        # Ids of a Redis stream are its clock in milliseconds, and Redis is on this machine: nothing is missed, however
        # late the reading begins.
        since = f"{int(time.time() * 1000)}-0"
        if self._source is not None:
            self._task = asyncio.create_task(self._follow(self._source(since)), name=f"events-{self._caller_number}")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def wait_until(self, happened: Callable[[list[Received]], bool], timeout_s: float) -> bool:
        """Wait for `happened(received)`; whether it came true in time."""
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: happened(self.received))
        except TimeoutError:
            return False
        return True

    async def _follow(self, stream: AsyncIterator[tuple[str, Event]]) -> None:
        async for _, event in stream:
            await self.take(event)

    async def take(self, event: Event) -> None:
        """One event of the stream; those of other calls are passed over."""
        if not self.call_id and isinstance(event, CallStarted) and event.caller_number == self._caller_number:
            self.call_id = event.call_id
        if event.call_id != self.call_id:
            return
        async with self._news:
            self.received.append(Received(time.monotonic(), event))
            self._news.notify_all()
        self._tell(event)
