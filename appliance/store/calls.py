"""Writes the events of calls to the database; when it cannot be written, to the spool, and to the database later.

The order of a process's events is kept: while anything waits in the spool, new events join it there.

    record / submit --> queue --> one commit for all that wait --> database
                                    | refused                         ^
                                    +--> spool (disk, else memory) ---+ retried every second
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec
from sqlalchemy import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from appliance.config.load import LoadedConfig
from appliance.events import Event
from appliance.store.database import LOCK_WAIT_S, database_url, migrate, open_engine
from appliance.store.durability import Durability
from appliance.store.records import grouped, is_kept, writes
from appliance.store.spool import Spool
from appliance.telemetry import metrics

RETRY_S = 1.0
"""Between attempts to write what was spooled."""
COMMIT_SPACING_S = 0.05
"""Least time from one commit to the next: a commit costs about 1 ms of processor time and a disk flush however many events it has."""
BATCH_EVENTS = 200
"""Most events in one commit."""
QUEUE_EVENTS = 20_000
"""Events that may wait for the writer, and in memory for the disk: some minutes of a full node, about 20 MB."""
CLOSE_WAIT_S = 5.0

_log = logging.getLogger(__name__)
_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode


class Unavailable(Exception):
    """The database cannot be written now; it may later."""


class Unstorable(Exception):
    """No database will ever take one of the events."""


_Waiting = tuple[Event, "asyncio.Future[Durability] | None"]


class CallStore:
    """The call records of one gateway worker.

    Use as `async with CallStore(...) as store`. Neither opening nor recording fails because of the database: a call never
    depends on it; `setu_store_up` and the log tell.
    """

    def __init__(self, url: URL, spool_dir: Path, process: str, *, node: str = "node1", lock_wait_s: float = LOCK_WAIT_S) -> None:
        """
        Args:
            url: of `database_url`.
            spool_dir: folder of the spool files of all workers.
            process: name of this worker, such as `gateway-1`: names its spool file.

        Raises:
            StoreError: the database's driver is missing.
        """
        self._engine = open_engine(url, writes=True, lock_wait_s=lock_wait_s)
        self._spool = Spool(spool_dir, process)
        self._node = node
        self._queue: deque[_Waiting] = deque()
        self._memory: deque[Event] = deque()
        self._memory_lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._aside = asyncio.Event()
        self._closing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._migrated = False
        self._up: bool | None = None
        self._next_commit = 0.0

    @classmethod
    def from_config(cls, loaded: LoadedConfig, process: str) -> CallStore:
        url = database_url(loaded.config.store.database, loaded.folder)
        return cls(url, loaded.state_dir / "spool", process, node=loaded.config.node.name)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Take over what earlier processes spooled and start writing."""
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._spool.open)
        try:
            await self._commit([])
        except Unavailable as error:
            self._set_up(False, error)
        self._tasks.append(asyncio.create_task(self._write(), name="store-writer"))
        self._tasks.append(asyncio.create_task(self._catch_up(), name="store-catch-up"))

    @property
    def waiting(self) -> int:
        """Events in the spool or in memory, not yet in the database."""
        return self._spool.waiting + len(self._memory)

    async def record(self, event: Event) -> Durability:
        """Write one event and wait until it is safe; never raises."""
        future: asyncio.Future[Durability] = asyncio.get_running_loop().create_future()
        self._enqueue(event, future)
        return await asyncio.shield(future)

    def submit(self, event: Event) -> None:
        """Write one event in its turn, without waiting."""
        self._enqueue(event, None)

    async def aclose(self) -> None:
        """Write what waits, to the spool if need be, and let go of the database."""
        self._closing.set()
        self._wake.set()
        self._aside.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_WAIT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._memory and await self._put_aside([]) is Durability.MEMORY:
            _log.error("events of calls are lost: neither database nor disk took them", extra={"events": len(self._memory)})
            metrics.STORE_EVENTS.labels("dropped").inc(len(self._memory))
        await self._engine.dispose()
        self._spool.close()

    def _enqueue(self, event: Event, future: asyncio.Future[Durability] | None) -> None:
        if not is_kept(event):
            _answer(future, Durability.NOT_KEPT)
            return
        try:
            _decode(_encode(event))  # a value of a wrong type would otherwise be found by the spool, too late to say where it came from
        except (TypeError, ValueError) as error:
            _log.error("an event of a call is not valid", extra={"reason": str(error), "event": repr(event)})
            metrics.STORE_EVENTS.labels("rejected").inc()
            _answer(future, Durability.LOST)
            return
        if len(self._queue) >= QUEUE_EVENTS:
            _, oldest = self._queue.popleft()
            metrics.STORE_EVENTS.labels("dropped").inc()
            _answer(oldest, Durability.LOST)
        self._queue.append((event, future))
        self._wake.set()

    async def _write(self) -> None:
        while self._queue or not self._closing.is_set():
            if not self._queue:
                await self._wake.wait()
            self._wake.clear()
            await self._pause(self._next_commit - time.monotonic())
            batch = [self._queue.popleft() for _ in range(min(BATCH_EVENTS, len(self._queue)))]
            if batch:
                await self._keep(batch)

    async def _catch_up(self) -> None:
        """Beside the writer, so that a database that makes every attempt wait does not keep new events from the spool."""
        while not self._closing.is_set():
            metrics.STORE_SPOOLED.set(self.waiting)
            if not self.waiting:
                self._aside.clear()
                await self._aside.wait()
            elif not await self._drain():
                await self._pause(RETRY_S)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the moment of closing."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), seconds)

    async def _keep(self, batch: Sequence[_Waiting]) -> None:
        events = [event for event, _ in batch]
        rejected: set[int] = set()
        where = Durability.DATABASE
        if self.waiting:
            where = await self._put_aside(events)
        else:
            try:
                rejected = await self._commit(events)
            except Unavailable as error:
                self._set_up(False, error)
                where = await self._put_aside(events)
        for number, (_, future) in enumerate(batch):
            result = Durability.LOST if number in rejected else where
            metrics.STORE_EVENTS.labels(result.value).inc()
            _answer(future, result)

    async def _put_aside(self, events: Sequence[Event]) -> Durability:
        async with self._memory_lock:
            self._memory.extend(events)
            self._aside.set()
            try:
                await asyncio.to_thread(self._spool.append, [_encode(event) for event in self._memory])
            except OSError as error:
                while len(self._memory) > QUEUE_EVENTS:
                    self._memory.popleft()
                    metrics.STORE_EVENTS.labels("dropped").inc()
                _log.error("the spool cannot be written", extra={"reason": str(error), "in_memory": len(self._memory)})
                return Durability.MEMORY
            self._memory.clear()
            return Durability.SPOOL

    async def _drain(self) -> bool:
        """Write one batch of what was put aside; whether that succeeded."""
        try:
            lines = await asyncio.to_thread(self._spool.read, BATCH_EVENTS)
            if lines:
                await self._commit([event for line in lines if (event := await self._decoded(line)) is not None])
                await asyncio.to_thread(self._spool.taken, lines)
                return True
            async with self._memory_lock:
                batch = list(itertools.islice(self._memory, BATCH_EVENTS))
                await self._commit(batch)
                for _ in batch:
                    self._memory.popleft()
        except (Unavailable, OSError) as error:
            self._set_up(False, error)
            return False
        return True

    async def _decoded(self, line: bytes) -> Event | None:
        try:
            event: Event = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            await self._reject(line, "it is no event of this version")
            return None
        return event

    async def _commit(self, events: Sequence[Event]) -> set[int]:
        """Write all events in one transaction; the positions of those that no database would take.

        Raises:
            Unavailable: nothing was written.
        """
        started = time.monotonic()
        rejected: set[int] = set()
        try:
            await self._transaction(events)
        except Unstorable:
            for number, event in enumerate(events):
                try:
                    await self._transaction([event])
                except Unstorable as error:
                    rejected.add(number)
                    await self._reject(_encode(event), str(error))
        self._set_up(True)
        if events:
            self._next_commit = time.monotonic() + COMMIT_SPACING_S
            metrics.STORE_COMMIT.observe(time.monotonic() - started)
        return rejected

    async def _transaction(self, events: Sequence[Event]) -> None:
        """All of `events` or none.

        Raises:
            Unavailable, Unstorable
        """
        try:
            prepared = grouped(write for event in events for write in writes(event, node=self._node))
        except (ValueError, OverflowError, OSError) as error:  # a moment outside of the calendar
            raise Unstorable(str(error)) from error
        try:
            if not self._migrated:
                await migrate(self._engine)
                self._migrated = True
            if prepared:
                async with self._engine.begin() as connection:
                    for statement, rows in prepared:
                        await connection.execute(statement, rows)
        except StatementError as error:
            if isinstance(error, (IntegrityError, DataError)) or not isinstance(error, DBAPIError):
                raise Unstorable(str(error)) from error
            raise Unavailable(str(error)) from error
        except Exception as error:  # driver, disk, migration tool: whatever it is, the events must reach the spool
            raise Unavailable(str(error)) from error

    async def _reject(self, text: bytes, reason: str) -> None:
        _log.error("an event of a call cannot be stored", extra={"reason": reason})
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._spool.reject, text)

    def _set_up(self, up: bool, error: Exception | None = None) -> None:
        metrics.STORE_UP.set(up)
        if up != self._up:
            if up and self._up is False:
                _log.info("the database takes records again", extra={"waiting": self.waiting})
            elif not up:
                _log.error("the database takes no records, they go to the spool", extra={"reason": str(error)})
        self._up = up


def _answer(future: asyncio.Future[Durability] | None, result: Durability) -> None:
    if future is not None and not future.done():
        future.set_result(result)
