"""The calls in progress, in Redis: which worker has them, what they consist of, how far they are.

A worker writes its calls when they change and again at every heartbeat, in full, so that a Redis that was away or lost its
memory is right again after one heartbeat. A call whose worker died stays visible for `KEEP_S` with an old heartbeat.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Self

import msgspec
from redis.asyncio import Redis

from appliance.store.redis_link import RedisLink

HEARTBEAT_S = 2.0
KEEP_S = 60
"""Long enough for another worker to take a dead one's calls over."""
ENDED_KEEP_S = 10
"""A call that a stopping worker gave away has ended for it before another one looks for its language."""
LIVE = "setu:calls"
"""Sorted set of call ids, by the time of the last heartbeat in seconds since the epoch."""
KEY_PREFIX = "setu:call:"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One call in progress."""

    call_id: str
    worker: str
    state: str
    started_at: float
    """Seconds since the epoch."""
    language: str = ""
    """Empty until decided. Written only then, so that a worker who takes a call over does not wipe out what was known."""
    chosen: bool = False
    """Whether somebody chose it by a key. Written only then, likewise."""
    channels: dict[str, str] = msgspec.field(default_factory=dict)
    """Asterisk channel id by role: `caller`, `agent`, `caller-media`, `agent-media`."""
    bridges: dict[str, str] = msgspec.field(default_factory=dict)
    """Asterisk bridge id by role."""
    heartbeat_at: float = 0.0
    """Seconds since the epoch; set when written."""


class SessionStates:
    """The calls of one worker, kept in Redis, and a view of everybody's."""

    def __init__(self, link: RedisLink, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._link = link
        self._heartbeat_s = heartbeat_s
        self._own: dict[str, Session] = {}
        self._ended: set[str] = set()
        self._heart: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def start(self) -> None:
        """Begin the heartbeat; needs a running event loop."""
        self._heart = asyncio.create_task(self._beat(), name="session-heartbeat")

    async def aclose(self) -> None:
        """Stop the heartbeat; the calls stay visible until they expire."""
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, return_exceptions=True)

    async def put(self, session: Session) -> None:
        """Write a call of this worker, new or changed."""
        self._own[session.call_id] = session
        await self._write([session], [])

    async def remove(self, call_id: str) -> None:
        """A call of this worker is over."""
        self._own.pop(call_id, None)
        self._ended.add(call_id)
        await self._write([], [call_id])

    async def get(self, call_id: str) -> Session | None:
        """A call of whichever worker, in progress or just ended; None when there is none or Redis is away."""
        nothing: list[Session] = []
        found = await self._link.attempt("read-session", lambda redis: _read(redis, [call_id]), nothing)
        return found[0] if found else None

    async def live(self) -> list[Session]:
        """All calls in progress, oldest first; empty while Redis is away."""

        async def read(redis: Redis) -> list[Session]:
            await redis.zremrangebyscore(LIVE, 0, time.time() - KEEP_S)
            call_ids: Any = await redis.zrange(LIVE, 0, -1)
            return await _read(redis, call_ids)

        nothing: list[Session] = []
        return sorted(await self._link.attempt("read-sessions", read, nothing), key=lambda session: session.started_at)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            if self._own or self._ended:
                await self._write(list(self._own.values()), list(self._ended))

    async def _write(self, sessions: Sequence[Session], ended: Sequence[str]) -> None:
        now = time.time()

        async def write(redis: Redis) -> bool:
            async with redis.pipeline(transaction=True) as pipeline:
                for session in sessions:
                    key = KEY_PREFIX + session.call_id
                    pipeline.hset(key, mapping=_fields(session, now))
                    pipeline.expire(key, KEEP_S)
                    pipeline.zadd(LIVE, {session.call_id: now})
                for call_id in ended:
                    pipeline.expire(KEY_PREFIX + call_id, ENDED_KEEP_S)
                    pipeline.zrem(LIVE, call_id)
                await pipeline.execute()
            return True

        if await self._link.attempt("write-sessions", write, False):
            self._ended.difference_update(ended)


async def _read(redis: Redis, call_ids: Sequence[str]) -> list[Session]:
    async with redis.pipeline(transaction=False) as pipeline:
        for call_id in call_ids:
            pipeline.hgetall(KEY_PREFIX + call_id)
        answers = await pipeline.execute() if call_ids else []
    return [_session(fields) for fields in answers if fields]


def _fields(session: Session, now: float) -> dict[Any, Any]:
    known = ({"language": session.language} if session.language else {}) | ({"chosen": "1"} if session.chosen else {})
    return known | {
        "call_id": session.call_id,
        "worker": session.worker,
        "state": session.state,
        "started_at": repr(session.started_at),
        "channels": msgspec.json.encode(session.channels).decode(),
        "bridges": msgspec.json.encode(session.bridges).decode(),
        "heartbeat_at": repr(now),
    }


def _session(fields: dict[str, str]) -> Session:
    maps = {name: msgspec.json.decode(fields[name]) for name in ("channels", "bridges")}
    return msgspec.convert(fields | maps, Session, strict=False)
