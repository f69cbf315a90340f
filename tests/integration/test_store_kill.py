"""Nothing that was reported as stored is lost: workers are killed while they write, now and then with the database locked."""

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.config.load import load
from appliance.store.calls import CallStore

ROUNDS = 6
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


def test_killed_workers_lose_nothing_they_reported(tmp_path: Path) -> None:
    config = tmp_path / "appliance.toml"
    config.write_text("")
    database = tmp_path / "state" / "setu.sqlite"
    promised: set[tuple[str, int]] = set()
    spooled = 0
    for number in range(ROUNDS):
        command = [sys.executable, "-c", WRITER, str(config), f"gateway-{1 + number % 2}", f"call-{number}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            lock = locked(database) if number % 2 else contextlib.nullcontext()
            with lock:
                time.sleep(random.uniform(0.1, 0.3) + (1.5 if number % 2 else 0.0))  # longer than a write waits for the lock
                writer.kill()
                told = [first, *writer.stdout.read().splitlines()]
        assert len(told) > 5
        spooled += sum(path.read_bytes().count(b"\n") for path in (tmp_path / "state" / "spool").glob("*.jsonl"))
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
    assert not promised - stored
