"""The events of all calls as one Redis stream, for whoever wants to watch: screens, reports, other nodes.

The stream is a window (about the last 10,000 events), not the record: the record is the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Self

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from appliance.events import Event
from appliance.store.redis_link import REST_S, RedisLink, connect
from appliance.telemetry import metrics

STREAM = "setu:events"
FIELD = "event"
STREAM_EVENTS = 10_000
QUEUE_EVENTS = 2_000
"""Events that wait for Redis; beyond it the oldest are given up."""
BATCH_EVENTS = 200
READ_BLOCK_S = 1.0
CLOSE_WAIT_S = 1.0

NOW = "$"
"""As `last_id`: only what happens from now on."""
BEGINNING = "0"

_log = logging.getLogger(__name__)
_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode


class EventStream:
    """Publishes events without ever making the caller wait. An event may be seen twice when Redis was away, never out of order."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._queue: deque[str] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._publisher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def start(self) -> None:
        """Begin to publish; needs a running event loop."""
        self._publisher = asyncio.create_task(self._publish(), name="event-stream")

    @property
    def waiting(self) -> int:
        """Events not yet in Redis."""
        return len(self._queue)

    def publish(self, event: Event) -> None:
        """Queue an event; the oldest one is given up when Redis has been away for too long."""
        if len(self._queue) >= QUEUE_EVENTS:
            self._queue.popleft()
            metrics.STREAM_DROPPED.inc()
        self._queue.append(_encode(event).decode())
        self._wake.set()

    async def aclose(self) -> None:
        """Publish what waits, for at most `CLOSE_WAIT_S`, and stop."""
        self._closing = True
        self._wake.set()
        if self._publisher is not None:
            await asyncio.wait([self._publisher], timeout=CLOSE_WAIT_S)
            self._publisher.cancel()
            await asyncio.gather(self._publisher, return_exceptions=True)

    async def _publish(self) -> None:
        while self._queue or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(BATCH_EVENTS, len(self._queue)))]
                if await self._link.attempt("publish-events", functools.partial(_add, batch=batch), False):
                    continue
                room = QUEUE_EVENTS - len(self._queue)
                metrics.STREAM_DROPPED.inc(max(0, len(batch) - room))
                self._queue.extendleft(reversed(batch[max(0, len(batch) - room) :]))
                if self._closing:
                    return
                await asyncio.sleep(REST_S)

    async def read(self, last_id: str = NOW) -> AsyncIterator[tuple[str, Event]]:
        """Events after `last_id`, without end, each with its id; waits while Redis is away and goes on where it was."""
        async with connect(self._link.url, timeout_s=READ_BLOCK_S + 2.0) as redis:
            while True:
                try:
                    if last_id == NOW:
                        newest: Any = await redis.xrevrange(STREAM, count=1)
                        last_id = newest[0][0] if newest else BEGINNING
                    answer: Any = await redis.xread({STREAM: last_id}, count=BATCH_EVENTS, block=int(READ_BLOCK_S * 1000))
                except (RedisError, OSError, TimeoutError) as error:
                    self._link.failed("read-events", error)
                    await asyncio.sleep(REST_S)
                    continue
                for _, entries in answer or ():
                    for last_id, fields in entries:
                        with contextlib.suppress(msgspec.DecodeError, KeyError):  # of another version
                            yield last_id, _decode(fields[FIELD])


async def _add(redis: Redis, batch: list[str]) -> bool:
    async with redis.pipeline(transaction=False) as pipeline:
        for event in batch:
            pipeline.xadd(STREAM, {FIELD: event}, maxlen=STREAM_EVENTS, approximate=True)
        await pipeline.execute()
    return True
