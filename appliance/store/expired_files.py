"""Deletes old files of calls: audio of flagged utterances, and events that never reached the database.

What goes is first given another name, or its file is replaced whole: a run that is cut short leaves nothing half deleted that
anybody would read.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from appliance.store.flagged_audio import FOLDER
from appliance.store.spool import REJECTED, SUFFIX

GOING = ".going-"
"""Begins the name of a folder that is being deleted; the next run finishes what this one could not."""
PART = ".part"


class _Moment(msgspec.Struct):
    at: float


_moment = msgspec.json.Decoder(_Moment).decode


class SpoolLines(NamedTuple):
    """What became of old lines."""

    removed: int
    held: list[Path]
    """Files with old lines whose worker still runs: it writes them to the database as soon as that takes them."""


def expire_audio(state_dir: Path, before: datetime | None, calls: Collection[str], *, dry_run: bool = False) -> int:
    """Delete the audio of `calls`, and that of any call whose newest is from before `before`.

    Returns:
        Files that were deleted, or would be.

    Raises:
        OSError: one of them cannot be deleted.
    """
    top = state_dir / FOLDER
    if not top.is_dir():
        return 0
    count = 0
    for folder in sorted(path for path in top.iterdir() if path.is_dir()):
        going = folder.name.startswith(GOING)
        if not (going or folder.name in calls or (before is not None and _newest(folder) < before.timestamp())):
            continue
        count += sum(1 for file in folder.iterdir() if file.suffix == ".wav")
        if dry_run:
            continue
        if not going:
            folder = folder.rename(folder.with_name(f"{GOING}{folder.name}"))
        shutil.rmtree(folder)
    return count


def _newest(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))


def expire_spool(folder: Path, before: datetime, *, dry_run: bool = False) -> SpoolLines:
    """Delete spooled events from before `before`, also those that the database refused for good.

    Raises:
        OSError: a file cannot be read or replaced.
    """
    removed, held = 0, []
    for path in sorted(path for path in folder.glob("*") if path.suffix in (SUFFIX, REJECTED)):
        with path.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = True
            except BlockingIOError:
                mine = False
            if not os.fstat(stream.fileno()).st_nlink:
                continue  # its worker has emptied and removed it meanwhile
            lines = stream.readlines()
            young = [line for line in lines if _age(line, stream.fileno()) >= before.timestamp()]
            if len(young) == len(lines):
                continue
            if not mine:
                held.append(path)
                continue
            removed += len(lines) - len(young)
            if not dry_run:
                _replace(path, young)
    return SpoolLines(removed, held)


def _age(line: bytes, descriptor: int) -> float:
    """When the event was; for a line that is no event, when the file was written last."""
    try:
        return _moment(line).at
    except msgspec.MsgspecError:
        return os.fstat(descriptor).st_mtime


def _replace(path: Path, lines: list[bytes]) -> None:
    if not lines:
        path.unlink()
        return
    was, part = path.stat(), path.with_name(path.name + PART)
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    with part.open("wb") as stream:
        stream.writelines(lines)
        stream.flush()
        if os.geteuid() == 0:  # the worker must be able to go on with it
            os.fchown(stream.fileno(), was.st_uid, was.st_gid)
        os.fsync(stream.fileno())
    os.utime(part, ns=(was.st_atime_ns, was.st_mtime_ns))
    part.rename(path)
