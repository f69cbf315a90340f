"""Nothing that was reported as stored is lost: workers are killed while they write, also with the database locked or the disk full."""

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config.load import load
from appliance.store.calls import CallStore
from appliance.store.spool import waiting_lines

ROUNDS = 9
LEAST = 6
"""Records a writer has reported before it may be killed."""
SPOOLED_S = 15.0
DISK = "24m"
WRITER = """
import asyncio, itertools, sys
from appliance.config.load import load
from appliance.events import StageDelays, UtteranceInterpreted
from appliance.store.calls import CallStore
from appliance.store.durability import Durability

def utterance(call, number):
    return UtteranceInterpreted(
        call_id=call, at=1e9 + number, lane="caller_to_agent", utterance=number, segment=1, last_segment=True, started_s=0.0,
        ended_s=1.0, source_language="ta", target_language="hinglish", recognised="x" * 200, translated="y" * 200,
        confidence=0.9, outcome="interpreted", delays=StageDelays(),
    )

async def lane(store, numbers):
    for number in numbers:
        if await store.record(utterance(sys.argv[3], number)) in (Durability.DATABASE, Durability.SPOOL):
            sys.stdout.write(f"{sys.argv[3]} {number}\\n")
            sys.stdout.flush()

async def main():
    numbers = itertools.count(1)
    async with CallStore.from_config(load(sys.argv[1]), sys.argv[2]) as store:
        await asyncio.gather(*(lane(store, numbers) for _ in range(20)))

asyncio.run(main())
"""


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Nothing more can be written below `folder`, which is a disk of its own."""
    filler = folder / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        stream.write(bytes(size))
        yield
    finally:
        filler.unlink()


def wait_until_spooled(folder: Path) -> None:
    before, deadline = waiting_lines(folder), time.monotonic() + SPOOLED_S
    while waiting_lines(folder) == before and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "setu-test", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_killed_workers_lose_nothing_they_reported(tmp_path: Path, small_disk: Path) -> None:
    config = tmp_path / "appliance.toml"
    config.write_text("")
    database = tmp_path / "state" / "setu.sqlite"
    promised: set[tuple[str, int]] = set()
    spooled = 0
    for number in range(ROUNDS):
        command = [sys.executable, "-c", WRITER, str(config), f"gateway-{1 + number % 2}", f"call-{number}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            told = [writer.stdout.readline() for _ in range(LEAST)]
            trouble = (contextlib.nullcontext(), locked(database), full(small_disk))[number % 3]
            with trouble:
                if number % 3 == 1:  # until the lock is met: a write waits for it, then goes to the spool
                    wait_until_spooled(tmp_path / "state" / "spool")
                time.sleep(random.uniform(0.1, 0.3) + (1.5 if number % 3 == 2 else 0.0))
                writer.kill()
                told += writer.stdout.read().splitlines()
        print(f"round {number}: {len(told)} reported as stored")
        spooled += waiting_lines(tmp_path / "state" / "spool")
        promised |= {(call, int(utterance)) for call, utterance in (line.split() for line in told)}
    assert spooled > 0, "the lock was never met"

    async def drain() -> None:
        async with CallStore.from_config(load(config), "gateway-3") as store:
            for _ in range(200):
                if not store.waiting:
                    return
                await asyncio.sleep(0.05)
            raise AssertionError("the spool was not emptied")

    asyncio.run(drain())
    with contextlib.closing(sqlite3.connect(database)) as connection:
        stored = set(connection.execute("SELECT call_id, utterance FROM utterances"))
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    print(f"{len(promised)} reported as stored, {len(stored)} in the database, {len(promised - stored)} of the reported ones lost")
    assert not promised - stored
