"""Everything a worker remembers of its calls: metrics, event stream, database, sessions and caller languages.

Nothing here ever makes a call wait or fail: Redis and the database may be away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from appliance.config.load import LoadedConfig
from appliance.events import CallEnded, CallStarted, CallStateChanged, Event, LanguageDecided
from appliance.store.caller_memory import CallerMemory
from appliance.store.calls import CallStore
from appliance.store.event_stream import EventStream
from appliance.store.redis_link import RedisLink
from appliance.store.session_state import Session, SessionStates
from appliance.telemetry.calls import CallMetrics

log = logging.getLogger(__name__)

MAX_CHANGES = 10_000
"""Changes that wait for Redis; beyond it they are dropped: the heartbeat writes sessions anew."""

_Change = tuple[str, Event]


class Journal:
    """Hand every event of every call to `publish`."""

    def __init__(self, stream: EventStream, store: CallStore, sessions: SessionStates, memory: CallerMemory, *, remember: bool) -> None:
        self.session_of: Callable[[str], Session | None] = lambda call_id: None
        """Gives the present state of a call; set by the worker."""
        self._stream = stream
        self._store = store
        self._sessions = sessions
        self._memory = memory
        self._remember = remember
        self._metrics = CallMetrics()
        self._numbers: dict[str, str] = {}
        self._changes: asyncio.Queue[_Change] = asyncio.Queue(MAX_CHANGES)

    @classmethod
    @asynccontextmanager
    async def open(cls, loaded: LoadedConfig, process: str) -> AsyncIterator[Journal]:
        """A journal that writes until the context ends; `process` is the worker's name, such as `gateway-1`."""
        config = loaded.config
        link = RedisLink(config.redis.url)
        memory = CallerMemory(link, loaded.secret(config.identify.hash_key))
        try:
            async with EventStream(link) as stream, CallStore.from_config(loaded, process) as store, SessionStates(link) as sessions:
                journal = cls(stream, store, sessions, memory, remember=config.identify.remember)
                follower = asyncio.create_task(journal._follow(), name="journal")
                try:
                    yield journal
                finally:
                    follower.cancel()
                    await asyncio.gather(follower, return_exceptions=True)
        finally:
            await link.aclose()

    def publish(self, event: Event) -> None:
        """Take an event; never waits, never fails."""
        self._metrics.observe(event)
        self._stream.publish(event)
        self._store.submit(event)
        if isinstance(event, CallStarted):
            self._numbers[event.call_id] = event.caller_number
        if isinstance(event, CallStateChanged | LanguageDecided | CallEnded) and not self._changes.full():
            number = self._numbers.pop(event.call_id, "") if isinstance(event, CallEnded) else self._numbers.get(event.call_id, "")
            self._changes.put_nowait((number, event))

    async def recall(self, number: str) -> str | None:
        """The language of this caller's last call; None when unknown or Redis is away."""
        return await self._memory.recall(number) if self._remember else None

    async def language_of(self, call_id: str) -> tuple[str | None, bool]:
        """The language of a call in progress, of whichever worker, None when undecided or Redis is away; and whether it was chosen."""
        session = await self._sessions.get(call_id)
        return (session.language or None, session.chosen) if session is not None else (None, False)

    async def _follow(self) -> None:
        """Write what goes to Redis by key, one change after the other, in the background."""
        while True:
            number, event = await self._changes.get()
            if isinstance(event, LanguageDecided) and self._remember and number and event.how != "default":
                await self._memory.remember(number, event.language)
            if isinstance(event, CallEnded):
                await self._sessions.remove(event.call_id)
            elif (session := self.session_of(event.call_id)) is not None:
                await self._sessions.put(session)
