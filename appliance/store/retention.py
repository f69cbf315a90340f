"""Deletes what is kept about calls once it is older than it may be: records, texts, audio, spooled and live events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from redis.exceptions import RedisError
from sqlalchemy import delete, event, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from appliance.config.load import LoadedConfig
from appliance.store.database import database_url, open_engine, sqlite_file
from appliance.store.event_stream import STREAM
from appliance.store.expired_files import expire_audio, expire_spool
from appliance.store.redis_link import connect
from appliance.store.tables import Call, Flag, Utterance

BATCH_CALLS = 100
"""Deleted in one transaction, each with all that belongs to it."""
PAUSE_S = 0.05
"""Between two transactions, so that the records of running calls are written in between."""
LOCK_WAIT_S = 30.0
REDIS_TIMEOUT_S = 10.0


class Expired(msgspec.Struct, kw_only=True):
    """What was deleted, or would be."""

    calls: int = 0
    utterances: int = 0
    audio_files: int = 0
    spooled_events: int = 0
    live_events: int = 0
    """In Redis, which holds the newest events of all calls for the console."""
    problems: list[str] = msgspec.field(default_factory=list)
    """What could not be deleted, and why; the rest was."""


def limits(loaded: LoadedConfig, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Before when records, and before when audio, are too old; None: never. Audio is not kept longer than its call."""
    store = loaded.config.store
    records = now - timedelta(days=store.keep_days) if store.keep_days else None
    days = min((days for days in (store.keep_audio_days, store.keep_days) if days), default=None)
    return records, None if days is None else now - timedelta(days=days)


async def expire(loaded: LoadedConfig, *, now: datetime | None = None, dry_run: bool = False) -> Expired:
    """Delete everything that is too old at `now`; calls may run meanwhile. A part that fails leaves the others to go on."""
    records, audio = limits(loaded, now or datetime.now(UTC))
    done = Expired()
    deleted: set[str] = set()

    async def in_database() -> None:
        if records is not None:
            await _expire_records(loaded, records, done, deleted, dry_run=dry_run)

    async def in_files() -> None:
        done.audio_files = await asyncio.to_thread(expire_audio, loaded.state_dir, audio, deleted, dry_run=dry_run)

    async def in_spool() -> None:
        if records is not None:
            lines = await asyncio.to_thread(expire_spool, loaded.state_dir / "spool", records, dry_run=dry_run)
            done.spooled_events = lines.removed
            done.problems += [f"{path}: old events wait here for the database" for path in lines.held]

    async def in_redis() -> None:
        if records is not None:
            done.live_events = await _expire_live(loaded, records, dry_run=dry_run)

    await _part(done, "the call records", in_database)
    await _part(done, "flagged audio", in_files)
    await _part(done, "spooled events", in_spool)
    await _part(done, "the live events in Redis", in_redis)
    return done


async def _part(done: Expired, name: str, work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except (OSError, TimeoutError, RedisError, SQLAlchemyError) as error:
        done.problems.append(f"{name}: {getattr(error, 'orig', None) or error}")


async def _expire_records(loaded: LoadedConfig, before: datetime, done: Expired, deleted: set[str], *, dry_run: bool) -> None:
    """Adds to `done` and `deleted` what each transaction has deleted, also when a later one fails."""
    url = database_url(loaded.config.store.database, loaded.folder)
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return
    engine = open_engine(url, writes=not dry_run, lock_wait_s=LOCK_WAIT_S)
    if file is not None and not dry_run:
        _overwrite_what_is_deleted(engine)
    old = select(Call.id).where(Call.started_at < before).order_by(Call.started_at, Call.id)
    try:
        while True:
            async with engine.begin() as connection:
                ids = list((await connection.execute(old if dry_run else old.limit(BATCH_CALLS))).scalars())
                theirs = Utterance.call_id.in_(old.order_by(None) if dry_run else ids)
                said = await connection.scalar(select(func.count()).where(theirs))
                if not dry_run:
                    await connection.execute(delete(Flag).where(Flag.call_id.in_(ids)))  # else each utterance would look for its own
                    await connection.execute(delete(Call).where(Call.id.in_(ids)))
            done.calls += len(ids)
            done.utterances += said or 0
            deleted.update(ids)
            if dry_run or len(ids) < BATCH_CALLS:
                break
            await asyncio.sleep(PAUSE_S)
        if deleted and file is not None and not dry_run:
            await _empty_write_ahead_log(engine)
    finally:
        await engine.dispose()


def _overwrite_what_is_deleted(engine: AsyncEngine) -> None:
    """What was said must not stay readable in the unused pages of the file."""

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA secure_delete = ON")
        cursor.close()


async def _empty_write_ahead_log(engine: AsyncEngine) -> None:
    """The log still has the deleted rows. While somebody reads them it stays as it is, and is overwritten by what follows."""
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")


async def _expire_live(loaded: LoadedConfig, before: datetime, *, dry_run: bool) -> int:
    redis = connect(loaded.config.redis.url, timeout_s=REDIS_TIMEOUT_S)
    moment = f"{int(before.timestamp() * 1000)}"  # the ids of a stream begin with the time of their events
    try:
        if dry_run:
            found: list[Any] = await redis.xrange(STREAM, max=f"({moment}-0") or []
            return len(found)
        removed: int = await redis.xtrim(STREAM, minid=moment, approximate=False)
        return removed
    finally:
        await redis.aclose()
