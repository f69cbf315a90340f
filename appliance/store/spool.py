"""Events that the database cannot take now, one JSON line each, on disk and flushed; they are written to the database later.

Each process appends to a file of its own, held by a lock that dies with the process; files whose process is gone are taken over.
All methods block (they wait for the disk): call them from worker threads, any number at a time.
"""

from __future__ import annotations

import fcntl
import functools
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

SUFFIX = ".jsonl"
REJECTED = ".rejected"
"""Ends the name of a file of lines that no database will ever take."""


@dataclass(slots=True)
class _File:
    path: Path
    descriptor: int
    size: int
    """Bytes of whole lines."""
    lines: int
    read_to: int = 0


P = ParamSpec("P")
R = TypeVar("R")


def _alone(method: Callable[Concatenate[Spool, P], R]) -> Callable[Concatenate[Spool, P], R]:
    """One thread at a time in the methods of one spool."""

    @functools.wraps(method)
    def locked(spool: Spool, /, *arguments: P.args, **named: P.kwargs) -> R:
        with spool.lock:
            return method(spool, *arguments, **named)

    return locked


class Spool:
    """Append-only files of one process and of its dead predecessors in `folder`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self._own: _File | None = None
        self._left_behind: list[_File] = []
        self.lock = threading.RLock()

    @property
    def waiting(self) -> int:
        """Lines not yet known to be in the database; never waits for the disk."""
        return sum(file.lines for file in (*self._left_behind, self._own) if file is not None)

    @_alone
    def open(self) -> _File:
        """Lock the own file and those of processes that are gone; does nothing the second time.

        Raises:
            OSError: the folder or the file cannot be made.
        """
        if self._own is not None:
            return self._own
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = (f"{self.name}{SUFFIX}", f"{self.name}.{os.getpid()}{SUFFIX}")
        own = next((file for name in names if (file := _lock(self.folder / name)) is not None), None)
        if own is None:
            raise BlockingIOError(f"{self.folder / names[0]} and {names[1]} are held by other processes")
        _flush_folder(self.folder)
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            file = _lock(path) if path != own.path else None
            if file is not None:
                self._left_behind.append(file)
                self._release_if_empty(file)
        self._own = own
        return own

    @_alone
    def append(self, lines: Iterable[bytes]) -> None:
        """Add lines (without line ends) and wait until the disk has them: all of them or, on an error, none.

        Raises:
            OSError: the disk does not take them.
        """
        file, data, count = self.open(), bytearray(), 0
        for line in lines:
            data += line + b"\n"
            count += 1
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(file.descriptor, data[written:], file.size + written)
            os.fsync(file.descriptor)
        except OSError:
            os.ftruncate(file.descriptor, file.size)
            raise
        file.size += len(data)
        file.lines += count

    @_alone
    def read(self, most: int) -> list[bytes]:
        """Up to `most` of the oldest lines after those already `taken`, without line ends."""
        lines: list[bytes] = []
        for file in (*self._left_behind, self._own):
            if file is None or file.lines == 0:
                continue
            with os.fdopen(os.dup(file.descriptor), "rb") as stream:
                stream.seek(file.read_to)
                while len(lines) < most and stream.tell() < file.size:
                    lines.append(stream.readline().rstrip(b"\n"))
            break
        return lines

    @_alone
    def taken(self, lines: list[bytes]) -> None:
        """The `lines` that `read` gave are in the database; a file whose lines all are is emptied."""
        if not lines:
            return
        file = next(item for item in (*self._left_behind, self._own) if item is not None and item.lines)
        if len(lines) < file.lines:
            file.read_to += sum(len(line) + 1 for line in lines)
            file.lines -= len(lines)
        else:
            os.ftruncate(file.descriptor, 0)
            file.size = file.read_to = file.lines = 0
            self._release_if_empty(file)

    def _release_if_empty(self, file: _File) -> None:
        if file is not self._own and not file.lines:
            self._left_behind.remove(file)
            file.path.unlink(missing_ok=True)
            os.close(file.descriptor)

    @_alone
    def reject(self, line: bytes) -> None:
        """Keep a line that the database will never take where a person can find it."""
        while True:
            with (self.folder / f"{self.name}{REJECTED}").open("ab") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                if os.fstat(stream.fileno()).st_nlink:  # else old lines were removed from it between our two steps
                    stream.write(line + b"\n")
                    return

    @_alone
    def close(self) -> None:
        for file in (*self._left_behind, self._own):
            if file is not None:
                os.close(file.descriptor)
        self._left_behind.clear()
        self._own = None


def waiting_lines(folder: Path) -> int:
    """Lines in all spool files of `folder`, whoever holds them and removes them meanwhile; 0 without such a folder."""
    return sum(_lines(path) for path in folder.glob(f"*{SUFFIX}"))


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:  # its lines are in the database now
        return 0


def _lock(path: Path) -> _File | None:
    """The file, made if missing, and locked; None when another process holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if os.fstat(descriptor).st_nlink:
            break
        os.close(descriptor)  # another process took it over and removed it between our two steps
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        content = stream.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):  # the process died while it wrote its last line, which it never reported as stored
        os.ftruncate(descriptor, whole)
    return _File(path, descriptor, whole, content.count(b"\n"))


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
