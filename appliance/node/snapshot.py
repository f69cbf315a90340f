"""SQLite files as a whole: a consistent copy of one that is written to, and whether a copy is sound."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from appliance.node.errors import ArchiveError

PAGES = 1000
"""Copied between two looks at whether somebody wants to write: a call's records never wait for a backup for long."""
LOCK_WAIT_S = 30.0
SIDE_FILES = ("-wal", "-shm")
"""Beside a database: what is not in it yet. They belong to that file and to no other of the same name."""


def snapshot(database: Path, copy: Path) -> None:
    """Write the state of `database` at one moment to `copy`; it may be written to meanwhile.

    Raises:
        ArchiveError: it cannot be read, or is damaged.
    """
    try:
        with (
            closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=LOCK_WAIT_S)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target, pages=PAGES)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
    except sqlite3.Error as error:
        raise ArchiveError(f"{database}: no snapshot can be taken: {error}") from error
    check(copy, str(database))


def check(database: Path, name: str) -> None:
    """Raises: ArchiveError when SQLite finds it damaged."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        raise ArchiveError(f"{name}: damaged, or no SQLite database: {error}") from error
    if found != ["ok"]:
        raise ArchiveError(f"{name}: damaged: {'; '.join(found)}")
