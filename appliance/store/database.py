"""The engine of the call store: SQLite with the settings that make a commit durable, or PostgreSQL; and its migrations."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from appliance.store.errors import StoreError

LOCK_WAIT_S = 1.0
"""How long a write waits for another process that holds the SQLite database before it goes to the spool."""

WAL_ATTEMPTS = 10
WAL_PAUSE_S = 0.05

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_MIGRATION_LOCK = 0x5E70
"""Key of the PostgreSQL advisory lock that lets one process at a time migrate."""


def database_url(value: str, folder: Path) -> URL:
    """URL with its asynchronous driver; a relative SQLite path starts from `folder`.

    Raises:
        StoreError: neither SQLite nor PostgreSQL, or SQLite without a file.
    """
    try:
        url = make_url(value)
    except ArgumentError as error:
        raise StoreError(f"{value!r} is not a database URL: {error}") from error
    backend = url.get_backend_name()
    if backend not in _DRIVERS:
        raise StoreError(f"the database {backend!r} is not supported; allowed: {', '.join(_DRIVERS)}")
    url = url.set(drivername=_DRIVERS[backend])
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise StoreError(f"{value!r} names no file; allowed: sqlite:///PATH")
        url = url.set(database=str(folder / url.database))
    return url


def sqlite_file(url: URL) -> Path | None:
    """File of a SQLite database; None for another kind."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def open_engine(url: URL, *, writes: bool, lock_wait_s: float = LOCK_WAIT_S) -> AsyncEngine:
    """An engine; nothing is connected yet.

    Args:
        writes: False for one that only reads; it never waits for writers.
        lock_wait_s: how long a statement waits for another process's lock (SQLite).

    Raises:
        StoreError: the driver is not installed.
    """
    file = sqlite_file(url)
    arguments: dict[str, Any] = {}
    if file is not None:
        arguments["connect_args"] = {"timeout": lock_wait_s}
    try:
        engine = create_async_engine(url, pool_size=1, max_overflow=0, **arguments)
    except ModuleNotFoundError as error:
        raise StoreError(f"the database {url.get_backend_name()} needs the package {error.name}") from error
    if file is not None:
        _prepare_sqlite(engine, writes=writes)
    return engine


def _prepare_sqlite(engine: AsyncEngine, *, writes: bool) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        try:
            connection.isolation_level = None  # the driver's own transactions leave schema changes outside
            cursor = connection.cursor()
            cursor.execute("PRAGMA foreign_keys = ON")
            # NORMAL survives a killed process but not a power cut; commits are grouped, so FULL costs one fsync per group.
            cursor.execute("PRAGMA synchronous = FULL" if writes else "PRAGMA query_only = ON")
            cursor.close()
        except BaseException:
            connection.close()  # nobody else would
            raise

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


async def migrate(engine: AsyncEngine) -> None:
    """Bring the schema to the newest version, in one transaction; processes that start together take turns."""
    file = sqlite_file(engine.url)
    if file is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        await _use_write_ahead_log(engine)
    async with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        await connection.run_sync(_upgrade)


async def _use_write_ahead_log(engine: AsyncEngine) -> None:
    """Let readers and the writer not wait for each other; the file remembers it.

    Outside of any transaction, as SQLite demands, and again when another process is at it: SQLite does not wait for that.
    """
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        for attempt in range(1, WAL_ATTEMPTS + 1):
            try:
                await driver.execute_fetchall("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if attempt == WAL_ATTEMPTS:
                    raise
                await asyncio.sleep(WAL_PAUSE_S)


def _upgrade(connection: Connection) -> None:
    command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> AlembicConfig:
    """Configuration of the migration tool, without a file of its own."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
