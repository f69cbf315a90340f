"""How many calls one gateway worker carries on one core: the real process, everything around it on another core.

Asterisk is the load generator (`load`), the model servers answer after fixed times (`fixed_engines`), Redis and the database are real.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import httpx
import uvloop

from appliance.bench import fixed_engines
from appliance.bench.line import Clip
from appliance.bench.load import Load, Spoken
from appliance.bench.processes import Measured, answers, python, running, this_process_on, two_cores
from appliance.bench.results import Result
from appliance.bench.stand import Note, accepting, address, clip, empty, happens, look, records, redis_command, until
from appliance.bench.watch import watch
from appliance.bench.window import Window, row, turned_away
from appliance.bench.workplace import workplace
from appliance.config.load import LoadedConfig, load
from appliance.events import Party
from appliance.stack.defaults import free_offset, write_config
from appliance.stack.preflight import check_ports, listeners

STEPS, QUICK_STEPS = (10, 25, 50, 100, 200), (10, 25)
WINDOW_S_FULL, WINDOW_S_QUICK = 20.0, 10.0
AFTER_S = 2.0
"""After each window: what was said at its end is heard."""
START_TALKING_S = 40.0
SETTLE_S = 2.0
END_S = 15.0


def measure(
    *, quick: bool, port_offset: int | None = None, tell: Note = lambda text: None, steps: Sequence[int] = (), window_s: float | None = None
) -> Result:
    """
    Raises:
        PortTaken: by whom.
        BenchError, NotInstalled, EngineUnavailable: what does not start.
    """
    steps = steps or (QUICK_STEPS if quick else STEPS)
    window_s = window_s or (WINDOW_S_QUICK if quick else WINDOW_S_FULL)
    cores = two_cores()
    gateway_core, other_core = cores or (None, None)
    notes = [] if cores else ["one core for everything: the figures are not the gateway's alone"]
    with workplace() as folder:
        config = write_config(folder, free_offset() if port_offset is None else port_offset, control="asterisk-dials")
        loaded = load(config)
        check_ports([listener for listener in listeners(loaded) if listener.key in ("gateway.port", "redis.url")])
        speech: dict[Party, Clip] = {"caller": clip(fixed_engines.CALLER.code), "agent": clip("hinglish")}
        with ExitStack() as started:
            others = [
                started.enter_context(running("redis", redis_command(loaded, folder, tell), folder, other_core)),
                started.enter_context(
                    running("engines", python("appliance.bench.fixed_engines", "--run-dir", loaded.run_dir), folder, other_core)
                ),
            ]
            others[1].wait_until(lambda: (loaded.run_dir / "tts.sock").exists())
            command = python("appliance.gateway", "--worker", 1, "--config", config)
            gateway = started.enter_context(running("gateway-1", command, folder, gateway_core))
            gateway.wait_until(lambda: answers(f"{address(loaded)}/api/status"))
            with this_process_on(other_core):
                windows, spoken = uvloop.run(_hold(loaded, gateway, others, speech, steps, window_s, tell, notes))
        recorded = asyncio.run(records(loaded))
    offset_s = time.time() - time.monotonic()
    rows = [row(window, spoken, recorded, offset_s) for window in windows]
    return Result("gateway", "one gateway worker on one core", rows, notes)


async def _hold(
    loaded: LoadedConfig,
    gateway: Measured,
    others: Sequence[Measured],
    speech: dict[Party, Clip],
    steps: Sequence[int],
    window_s: float,
    tell: Note,
    notes: list[str],
) -> tuple[list[Window], list[Spoken]]:
    section = loaded.config.gateway
    windows: list[Window] = []
    async with (
        httpx.AsyncClient(base_url=address(loaded), timeout=10.0) as http,
        Load(section.host, section.port, section.ari_user, loaded.secret(section.ari_password), speech) as calls,
    ):
        await until(lambda: accepting(http), START_TALKING_S, "the gateway does not take calls")
        empty_mb = gateway.memory_mb
        began = await look(http)
        offered = 0
        for step in steps:
            tell(f"{step} calls")
            await calls.add_calls(step - offered)
            offered = step

            async def all_talk(offered: int = step) -> bool:
                calls.check()
                return calls.talking >= 2 * (offered - calls.turned_away)

            settled = await happens(all_talk, START_TALKING_S)
            away = _why((await look(http)).since(began).refused, calls.turned_away)
            if not settled or not calls.talking:
                notes.append(f"of {step} calls {calls.talking // 2} came about, turned away: {turned_away(away)}; not measured")
                break
            await asyncio.sleep(SETTLE_S)
            window = await watch([http], [gateway], others, [calls], step, window_s, empty_mb)
            windows.append(replace(window, turned_away=away))
            await asyncio.sleep(AFTER_S)
            if window.late or away:
                what = f"turned away: {turned_away(away)}" if away else "late"
                notes.append(f"{what} at {step} calls: no more were added")
                break
        calls.hang_up_all()
        if not await happens(lambda: empty(http), END_S):
            notes.append("the gateway still holds something of calls that have ended")
    return windows, calls.spoken


def _why(refused: Mapping[str, int], turned_away: int) -> dict[str, int]:
    """Why callers were sent to the dialplan; a call that was begun and then given up is counted by no reason."""
    given_up = turned_away - sum(refused.values())
    return {**refused, **({"given up": given_up} if given_up > 0 else {})}
