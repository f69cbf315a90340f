"""What a further gateway worker adds: as many calls at each of one, two and three workers, and as many as all of them at one alone.

Where there are cores enough each worker has its own; else they share one. Then the machine cannot carry more with more workers, but
what a call costs and how long it waits must not rise with them: the rest is a matter of cores.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass

import httpx
import uvloop

from appliance.bench import fixed_engines
from appliance.bench.errors import BenchError
from appliance.bench.line import Clip
from appliance.bench.load import Load
from appliance.bench.processes import Measured, answers, python, running, this_process_on, two_cores
from appliance.bench.results import Result, Row
from appliance.bench.stand import Note, accepting, address, clip, empty, happens, records, redis_command, until
from appliance.bench.watch import watch
from appliance.bench.window import Window, row
from appliance.bench.workplace import workplace
from appliance.config.load import LoadedConfig, load
from appliance.events import Party
from appliance.stack.defaults import free_offset, write_config
from appliance.stack.preflight import check_ports, listeners

CALLS, QUICK_CALLS = 40, 15
"""At each worker."""
WORKERS, QUICK_WORKERS = (1, 2, 3), (1, 2)
WINDOW_S, QUICK_WINDOW_S = 20.0, 10.0
START_S = 40.0
SETTLE_S = 2.0
AFTER_S = 2.0
END_S = 15.0

COST = ("legs", "gateway CPU %")
SERVICE = ("late ticks", "frames late", "frames lost", "delay p50 ms", "delay p95 ms", "utterances", "not heard", "load CPU %", "load late")
"""Columns as in `gateway.json`, over all workers."""


@dataclass(frozen=True, slots=True)
class Held:
    """Calls by worker, and what was seen of all workers together."""

    window: Window
    by_worker: tuple[int, ...]


def measure(*, quick: bool, port_offset: int | None = None, tell: Note = lambda text: None) -> Result:
    """
    Raises:
        PortTaken: by whom.
        BenchError, NotInstalled, EngineUnavailable: what does not start.
    """
    calls, most = (QUICK_CALLS, QUICK_WORKERS) if quick else (CALLS, WORKERS)
    window_s = QUICK_WINDOW_S if quick else WINDOW_S
    speech: dict[Party, Clip] = {"caller": clip(fixed_engines.CALLER.code), "agent": clip("hinglish")}
    rows = []
    for workers, each in [*((workers, calls) for workers in most), (1, calls * most[-1])]:
        tell(f"{workers} x {each} calls")
        rows.append(_row(workers, each, window_s, speech, port_offset, tell))
    notes = [] if _own_cores(most[-1]) else ["fewer cores than workers: they share one, so look at what a call costs and at the delays"]
    return Result("workers", "several gateway workers", rows, notes)


def _own_cores(workers: int) -> list[int]:
    """A core for each worker with one left for the load; empty when there are not so many."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[:workers] if len(cores) > workers else []


def _row(workers: int, each: int, window_s: float, speech: dict[Party, Clip], port_offset: int | None, tell: Note) -> Row:
    shared = two_cores() or (None, None)
    cores: list[int | None] = [*_own_cores(workers)] or [shared[0]] * workers
    with workplace() as folder, ExitStack() as started:
        config = write_config(folder, free_offset() if port_offset is None else port_offset, control="asterisk-dials")
        config.write_text(config.read_text().replace("[gateway]\n", f"[gateway]\nworkers = {workers}\n", 1))
        loaded = load(config)
        check_ports([listener for listener in listeners(loaded) if listener.key in ("gateway.port", "redis.url")])
        engines = python("appliance.bench.fixed_engines", "--run-dir", loaded.run_dir)
        others = [
            started.enter_context(running("redis", redis_command(loaded, folder, tell), folder, shared[1])),
            started.enter_context(running("engines", engines, folder, shared[1])),
        ]
        others[1].wait_until(lambda: (loaded.run_dir / "tts.sock").exists())
        gateways = []
        for number, core in enumerate(cores, 1):
            command = python("appliance.gateway", "--worker", number, "--config", config)
            gateways.append(started.enter_context(running(f"gateway-{number}", command, folder, core)))
        for number, gateway in enumerate(gateways, 1):
            gateway.wait_until(lambda number=number: answers(f"{address(loaded, number)}/api/status"))  # type: ignore[misc]
        with this_process_on(shared[1]):
            held, loads = uvloop.run(_hold(loaded, gateways, others, speech, each, window_s))
        recorded = asyncio.run(records(loaded))
    spoken = [utterance for load_ in loads for utterance in load_.spoken]
    whole = row(held.window, spoken, recorded, time.time() - time.monotonic())
    return {
        "workers": workers,
        "calls of each": ", ".join(map(str, held.by_worker)),
        **{name: whole[name] for name in COST},
        "CPU % per call": round(100 * held.window.gateway_cpu / held.window.calls, 3),
        **{name: whole[name] for name in SERVICE},
    }


async def _hold(
    loaded: LoadedConfig, gateways: Sequence[Measured], others: Sequence[Measured], speech: dict[Party, Clip], each: int, window_s: float
) -> tuple[Held, list[Load]]:
    section = loaded.config.gateway
    numbers = range(1, len(gateways) + 1)
    async with AsyncExitStack() as opened:
        doors = [await opened.enter_async_context(httpx.AsyncClient(base_url=address(loaded, number), timeout=10.0)) for number in numbers]
        secret = loaded.secret(section.ari_password)
        loads = [
            await opened.enter_async_context(
                Load(section.host, section.port + number - 1, section.ari_user, secret, speech, f"setu-{number}")
            )
            for number in numbers
        ]
        for door in doors:
            await until(lambda door=door: accepting(door), START_S, "a gateway worker does not take calls")  # type: ignore[misc]
        empty_mb = sum(gateway.memory_mb for gateway in gateways)
        await asyncio.gather(*(load_.add_calls(each) for load_ in loads))

        async def all_talk() -> bool:
            for load_ in loads:
                load_.check()
            return all(load_.talking >= 2 * (each - load_.turned_away) for load_ in loads)

        if not await happens(all_talk, START_S):
            raise BenchError(f"of {len(loads)} x {each} calls {sum(load_.talking for load_ in loads) // 2} came about")
        await asyncio.sleep(SETTLE_S)
        by_worker = tuple(len(load_.legs) // 2 for load_ in loads)
        window = await watch(doors, gateways, others, loads, each * len(loads), window_s, empty_mb)
        await asyncio.sleep(AFTER_S)
        for load_ in loads:
            load_.hang_up_all()
        for door in doors:
            await until(lambda door=door: empty(door), END_S, "a gateway worker still holds something of calls that have ended")  # type: ignore[misc]
    return Held(window, by_worker), loads
