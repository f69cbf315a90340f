"""Asterisk restarts, Redis stops, the disk is full: what calls notice of it, and what is right again afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError
from tone_interpreter import PITCH_HZ
from tone_stack import ToneStack, tone_stack, two_phones
from tones import tone, until_heard

from appliance.phone.baresip import Phone
from appliance.phone.phone_events import CallClosed, CallEstablished
from appliance.stack.defaults import AGENTS
from appliance.stack.programs import Programs

pytestmark = pytest.mark.timeout(150)
CALLER_HZ, AGENT_HZ, PITCH_STEP_HZ = 2100, 2600, 30
SECOND_AGENT = AGENTS[1]
STOPPED_S = 60.0


@pytest.fixture
def stack(programs: Programs) -> Iterator[ToneStack]:
    with tone_stack(programs, workers=2) as stack:
        yield stack


def sessions(stack: ToneStack) -> list[str] | None:
    """Ids of the calls in progress as Redis shows them; None while it is away."""
    with closing(Redis.from_url(stack.loaded.config.redis.url, decode_responses=True)) as redis, suppress(RedisError):
        return [key.removeprefix("setu:call:") for key in redis.keys("setu:call:*")]
    return None


def streamed(stack: ToneStack) -> list[dict[str, Any]]:
    """Events of calls in Redis, oldest first; one that is there twice in a row, as after an outage, once."""
    with closing(Redis.from_url(stack.loaded.config.redis.url)) as redis:
        told = [fields[b"event"] for _, fields in redis.xrange("setu:events")]
    return [json.loads(event) for event in dict.fromkeys(told)]


def row(file: Path, query: str, *values: object) -> tuple[Any, ...] | None:
    """The first row of what the database answers; None as well while it has no tables yet or is busy."""
    with closing(sqlite3.connect(file)) as database, suppress(sqlite3.OperationalError):
        found: tuple[Any, ...] | None = database.execute(query, values).fetchone()
        return found
    return None


def told_of(stack: ToneStack, call_id: str) -> list[dict[str, Any]]:
    return [event for event in streamed(stack) if event["call_id"] == call_id]


def types(told: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in told]


def states(told: list[dict[str, Any]]) -> list[str]:
    return [event["state"] for event in told if event["type"] == "call-state"]


def calls(stack: ToneStack) -> dict[str, float]:
    """Of both workers, by id, with the time each began."""
    return {call["call_id"]: call["started_at"] for worker in (1, 2) for call in stack.get(worker, "/api/calls")}


async def new_calls(stack: ToneStack, known: set[str]) -> set[str]:
    """Ids of calls that have come, once there are any."""
    began = time.monotonic()
    while not (new := set(calls(stack)) - known):
        assert time.monotonic() - began < 15, f"no call comes\n{stack.evidence()}"
        await asyncio.sleep(0.1)
    return new


async def both_are_heard(caller: Phone, agent: Phone, turn: int = 0) -> None:
    """One after the other they speak, once the caller has been asked to; each turn has its own pitches."""
    caller_hz, agent_hz = CALLER_HZ + turn * PITCH_STEP_HZ, AGENT_HZ + turn * PITCH_STEP_HZ
    await until_heard(caller.folder, PITCH_HZ["speak_now"], 0.5)
    await caller.say(tone(caller_hz))
    await until_heard(agent.folder, caller_hz)
    await agent.say(tone(agent_hz))
    await until_heard(caller.folder, agent_hz)


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
    file = stack.loaded.state_dir / "setu.sqlite"
    stack.until(lambda: row(file, "SELECT count(*) FROM calls WHERE outcome IS NULL") == (0,), "the call's end in the database")
    async with two_phones(stack, phones / "again") as (caller, agent):
        await stack.first_call()
        await both_are_heard(caller, agent)
        await hang_up(stack, caller, agent)


async def test_redis_hangs_for_a_while(stack: ToneStack, phones: Path) -> None:
    async with two_phones(stack, phones) as (caller, agent):
        worker = await stack.first_call()
        stack.until(lambda: len(sessions(stack) or []) == 1, "the call in Redis")
        stack.running["redis"].send_signal(signal.SIGSTOP)
        try:
            await both_are_heard(caller, agent)
            stack.until(lambda: stack.metric(worker, "setu_redis_up") == 0, "the worker's noticing")
            await caller.hang_up()
            await agent.wait_for(CallClosed, 15)
            stack.settled()
            began = time.monotonic()
            async with two_phones(stack, phones / "new") as (new_caller, new_agent):
                await new_caller.wait_for(CallEstablished, 15)
                print(f"while Redis hangs a call is answered after {time.monotonic() - began:.1f} s, telephones started")
                worker = await stack.first_call()
                await both_are_heard(new_caller, new_agent)
                (call,) = stack.get(worker, "/api/calls")
                stack.running["redis"].send_signal(signal.SIGCONT)
                took_s = stack.until(lambda: sessions(stack) == [call["call_id"]], "the new call in Redis, the old one not", 30)
                print(f"Redis was up to date after {took_s:.1f} s")
                stack.until(lambda: len(streamed(stack)) >= 6, "the events that waited", 10)
                await hang_up(stack, new_caller, new_agent)
        finally:
            stack.running["redis"].send_signal(signal.SIGCONT)
    stack.until(lambda: sessions(stack) == [], "nothing in Redis")


@pytest.mark.timeout(300)
async def test_redis_stops_for_a_minute(stack: ToneStack, phones: Path) -> None:
    """One call goes on all the time and is used, one begins and ends meanwhile, one begins meanwhile and goes on."""
    async with two_phones(stack, phones / "long") as (caller, agent):
        worker = await stack.first_call()
        ((long, began),) = calls(stack).items()
        stack.until(lambda: sessions(stack) == [long], "the call in Redis")
        stack.until(lambda: "interpreting" in states(told_of(stack, long)), "its events in Redis")
        told_before = told_of(stack, long)
        stack.kill("redis")
        stopped_at = time.monotonic()
        await both_are_heard(caller, agent)
        async with two_phones(stack, phones / "short", agent=SECOND_AGENT) as (short_caller, short_agent):
            (short,) = await new_calls(stack, {long})
            await both_are_heard(short_caller, short_agent)
            await short_caller.hang_up()
            await short_agent.wait_for(CallClosed, 15)
            stack.until(lambda: set(calls(stack)) == {long}, "the end of the short call", 15)
        async with two_phones(stack, phones / "new", agent=SECOND_AGENT) as (new_caller, new_agent):
            (new,) = await new_calls(stack, {long})
            await both_are_heard(new_caller, new_agent)
            turns = 1
            while time.monotonic() < stopped_at + STOPPED_S:
                await both_are_heard(caller, agent, turns)
                await both_are_heard(new_caller, new_agent, turns)
                turns += 1
            assert sessions(stack) is None
            assert stack.metric(worker, "setu_redis_up") == 0
            away_s = time.monotonic() - stopped_at
            stack.start("redis")
            took_s = stack.until(lambda: set(sessions(stack) or []) == {long, new}, "the calls that go on in Redis, and no other", 15)
            print(f"Redis was away for {away_s:.0f} s, a running call used {turns} times; up to date {took_s:.1f} s after its start")
            stack.until(lambda: "call-ended" in types(told_of(stack, short)), "the events that waited")
            stack.until(lambda: "interpreting" in states(told_of(stack, new)), "the events that waited")
            for told in (told_of(stack, short), told_of(stack, new)):
                assert types(told)[0] == "call-started"
                assert [event["at"] for event in told] == sorted(event["at"] for event in told)
            assert states(told_of(stack, short))[-2:] == ["closing", "ended"]
            assert told_of(stack, long) == told_before, "nothing has happened to it"
            assert calls(stack)[long] == began
            await both_are_heard(caller, agent, turns)
            for ends, other in ((new_caller, new_agent), (caller, agent)):
                await ends.hang_up()
                await other.wait_for(CallClosed, 15)
            await asyncio.to_thread(stack.settled)
    stack.until(lambda: sessions(stack) == [], "nothing in Redis")
    for call in (long, short, new):
        stack.until(lambda call=call: types(told_of(stack, call))[-1] == "call-ended", "each call's end in Redis")  # type: ignore[misc]


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
            query = "SELECT outcome, state FROM calls WHERE id = ?"
            stack.until(lambda: file.exists() and row(file, query, call["call_id"]), "the call in the database")
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
            stack.until(lambda: row(file, query, call["call_id"]) == ("direct", "ended"), "the call's end in it")
            for lost in ("rejected", "dropped"):
                assert stack.metric(1, f'setu_store_events_total{{result="{lost}"}}') == 0
