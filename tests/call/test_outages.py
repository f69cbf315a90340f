"""Asterisk restarts, Redis stops, the disk is full: what calls notice of it, and what is right again afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from tone_interpreter import PITCH_HZ
from tone_stack import ToneStack, tone_stack, two_phones
from tones import tone, until_heard

from appliance.phone.baresip import Phone
from appliance.phone.phone_events import CallClosed, CallEstablished
from appliance.stack.programs import Programs

pytestmark = pytest.mark.timeout(150)
CALLER_HZ, AGENT_HZ = 2100, 2600


@pytest.fixture
def stack(programs: Programs) -> Iterator[ToneStack]:
    with tone_stack(programs, workers=2) as stack:
        yield stack


def sessions(stack: ToneStack) -> list[str] | None:
    """Ids of the calls in progress as Redis shows them; None while it is away."""
    with closing(Redis.from_url(stack.loaded.config.redis.url, decode_responses=True)) as redis, suppress(RedisError):
        return [key.removeprefix("setu:call:") for key in redis.keys("setu:call:*")]
    return None


def streamed(stack: ToneStack) -> int:
    """Events of calls in Redis."""
    with closing(Redis.from_url(stack.loaded.config.redis.url)) as redis:
        return int(redis.xlen("setu:events"))


async def both_are_heard(caller: Phone, agent: Phone) -> None:
    """One after the other they speak, once the caller has been asked to."""
    await until_heard(caller.folder, PITCH_HZ["speak_now"], 0.5)
    await caller.say(tone(CALLER_HZ))
    await until_heard(agent.folder, CALLER_HZ)
    await agent.say(tone(AGENT_HZ))
    await until_heard(caller.folder, AGENT_HZ)


async def hang_up(stack: ToneStack, caller: Phone, agent: Phone) -> None:
    await caller.hang_up()
    await agent.wait_for(CallClosed, 15)
    await asyncio.to_thread(stack.settled)


async def test_asterisk_restarts_and_the_next_call_works(stack: ToneStack, phones: Path) -> None:
    async with two_phones(stack, phones):
        worker = await stack.first_call()
        stack.until(lambda: len(sessions(stack) or []) == 1, "the call in Redis")
        stack.kill("asterisk")
        stack.start("asterisk")
        took_s = stack.until(lambda: stack.connected() == {1, 2}, "both workers' connections", 30)
        stack.until(lambda: not stack.left(), "the end of what was", 10)
    print(f"Asterisk was back after {took_s:.1f} s")
    stack.until(lambda: sessions(stack) == [], "nothing in Redis")
    for gauge in ("setu_legs_active", 'setu_calls_active{language="undecided",state="interpreting"}'):
        stack.until(lambda gauge=gauge: stack.metric(worker, gauge) == 0, f"{gauge} of 0")  # type: ignore[misc]
    with closing(sqlite3.connect(stack.loaded.state_dir / "setu.sqlite")) as database:
        query = "SELECT count(*) FROM calls WHERE outcome IS NULL"
        stack.until(lambda: database.execute(query).fetchone() == (0,), "the call's end in the database")
    async with two_phones(stack, phones / "again") as (caller, agent):
        await stack.first_call()
        await both_are_heard(caller, agent)
        await hang_up(stack, caller, agent)


@pytest.mark.parametrize("how", ["hangs", "is killed"])
async def test_redis_is_away_for_a_while(stack: ToneStack, phones: Path, how: str) -> None:
    async with two_phones(stack, phones) as (caller, agent):
        worker = await stack.first_call()
        stack.until(lambda: len(sessions(stack) or []) == 1, "the call in Redis")
        if how == "hangs":
            stack.running["redis"].send_signal(signal.SIGSTOP)
        else:
            stack.kill("redis")
        try:
            await both_are_heard(caller, agent)
            stack.until(lambda: stack.metric(worker, "setu_redis_up") == 0, "the worker's noticing")
            await caller.hang_up()
            await agent.wait_for(CallClosed, 15)
            stack.settled()
            began = time.monotonic()
            async with two_phones(stack, phones / "new") as (new_caller, new_agent):
                await new_caller.wait_for(CallEstablished, 15)
                print(f"with a Redis that {how} a call is answered after {time.monotonic() - began:.1f} s, telephones started")
                worker = await stack.first_call()
                await both_are_heard(new_caller, new_agent)
                (call,) = stack.get(worker, "/api/calls")
                if how == "hangs":
                    stack.running["redis"].send_signal(signal.SIGCONT)
                else:
                    stack.start("redis")
                took_s = stack.until(lambda: sessions(stack) == [call["call_id"]], "the new call in Redis, the old one not", 15)
                print(f"Redis was up to date after {took_s:.1f} s")
                stack.until(lambda: streamed(stack) >= 6, "the events that waited", 10)
                await hang_up(stack, new_caller, new_agent)
        finally:
            if how == "hangs":
                stack.running["redis"].send_signal(signal.SIGCONT)
    stack.until(lambda: sessions(stack) == [], "nothing in Redis")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """`folder` on a disk of its own, which is full when the test says so."""
    folder.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "setu-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Takes all the room there is; the file to remove."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue
    return filler


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
@pytest.mark.parametrize("trouble", ["disk full", "database locked"])
async def test_records_that_cannot_be_written_are_written_later(programs: Programs, phones: Path, trouble: str) -> None:
    """The call does not notice; its records wait in memory or in the spool."""
    place = {"[models]\n": '[store]\ndatabase = "sqlite:///state/spool/setu.sqlite"\n\n[models]\n'}
    with tone_stack(programs, workers=1, edit=place, prepare=lambda folder: small_disk(folder / "state" / "spool", "2m")) as stack:
        folder = stack.loaded.state_dir / "spool"
        file = folder / "setu.sqlite"
        async with two_phones(stack, phones) as (caller, agent):
            await stack.first_call()
            (call,) = stack.get(1, "/api/calls")
            stack.until(file.exists, "the database")
            with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as lock:
                filler = fill(folder) if trouble == "disk full" else None
                if filler is None:
                    lock.execute("BEGIN EXCLUSIVE")
                await both_are_heard(caller, agent)
                await caller.press("0")
                await stack.reached(1, "direct")
                stack.until(lambda: stack.status(1)["media_sockets"] == 0, "the parties' joining")
                await hang_up(stack, caller, agent)
                where = "memory" if filler is not None else "spool"
                stack.until(lambda: stack.metric(1, f'setu_store_events_total{{result="{where}"}}') > 0, f"records in the {where}", 10)
                stack.until(lambda: stack.metric(1, "setu_store_up") == 0, "the worker's noticing")
                if filler is not None:
                    filler.unlink()
                else:
                    lock.execute("ROLLBACK")
            took_s = stack.until(lambda: stack.metric(1, "setu_store_spooled_events") == 0, "everything in the database", 15)
            print(f"{trouble}: written {took_s:.1f} s after there was room again")
            with closing(sqlite3.connect(file)) as database:
                query = "SELECT outcome, state FROM calls WHERE id = ?"
                stack.until(lambda: database.execute(query, [call["call_id"]]).fetchone() == ("direct", "ended"), "the call's end in it")
            for lost in ("rejected", "dropped"):
                assert stack.metric(1, f'setu_store_events_total{{result="{lost}"}}') == 0
