"""How many calls one gateway worker carries on one core: the real process, everything around it on another core.

Asterisk is the load generator (`load`), the model servers answer after fixed times (`fixed_engines`), Redis and the database are real.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import psutil
import uvloop

from appliance.bench import clips, fixed_engines, wire
from appliance.bench.counted import Counted, counted
from appliance.bench.errors import BenchError
from appliance.bench.line import FRAME_S, Clip, missing
from appliance.bench.load import Load, Spoken
from appliance.bench.processes import Measured, answers, python, running, this_process_on, two_cores
from appliance.bench.results import Result
from appliance.bench.window import Records, Window, row, turned_away
from appliance.bench.workplace import workplace
from appliance.config.load import LoadedConfig, load
from appliance.config.schema import Listen
from appliance.engines.base import Samples
from appliance.events import Party
from appliance.speech.vad import RATE, VoiceActivity
from appliance.stack import install
from appliance.stack.defaults import free_offset, write_config
from appliance.stack.preflight import check_ports, listeners
from appliance.store.transcripts import Transcripts

STEPS, QUICK_STEPS = (10, 25, 50, 100, 200), (10, 25)
WINDOW_S_FULL, WINDOW_S_QUICK = 20.0, 10.0
AFTER_S = 2.0
"""After each window: what was said at its end is heard."""
START_TALKING_S = 40.0
SETTLE_S = 2.0
END_S = 15.0
NOISE_RMS = 12
"""Of the line, of 32768: silence on a telephone is not digital silence, and the gateway saves work where it is."""
NOISE_FRAMES = 97

Note = Callable[[str], None]


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
            gateway.wait_until(lambda: answers(f"{_address(loaded)}/api/status"))
            with this_process_on(other_core):
                windows, spoken = uvloop.run(_hold(loaded, gateway, others, speech, steps, window_s, tell, notes))
        records = asyncio.run(_records(loaded))
    offset_s = time.time() - time.monotonic()
    rows = [row(window, spoken, records, offset_s) for window in windows]
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
        httpx.AsyncClient(base_url=_address(loaded), timeout=10.0) as http,
        Load(section.host, section.port, section.ari_user, loaded.secret(section.ari_password), speech) as calls,
    ):
        await _until(lambda: _accepting(http), START_TALKING_S, "the gateway does not take calls")
        empty_mb = gateway.memory_mb
        began = await _counted(http)
        offered = 0
        for step in steps:
            tell(f"{step} calls")
            await calls.add_calls(step - offered)
            offered = step

            async def all_talk(offered: int = step) -> bool:
                calls.check()
                return calls.talking >= 2 * (offered - calls.turned_away)

            settled = await _happens(all_talk, START_TALKING_S)
            away = _why((await _counted(http)).since(began).refused, calls.turned_away)
            if not settled or not calls.talking:
                notes.append(f"of {step} calls {calls.talking // 2} came about, turned away: {turned_away(away)}; not measured")
                break
            await asyncio.sleep(SETTLE_S)
            window = await _watch(http, gateway, others, calls, step, window_s, empty_mb)
            windows.append(replace(window, turned_away=away))
            await asyncio.sleep(AFTER_S)
            if window.late or away:
                what = f"turned away: {turned_away(away)}" if away else "late"
                notes.append(f"{what} at {step} calls: no more were added")
                break
        calls.hang_up_all()
        if not await _happens(lambda: _empty(http), END_S):
            notes.append("the gateway still holds something of calls that have ended")
    return windows, calls.spoken


async def _watch(
    http: httpx.AsyncClient, gateway: Measured, others: Sequence[Measured], calls: Load, offered: int, window_s: float, empty_mb: float
) -> Window:
    me = psutil.Process()

    def load_cpu_s() -> float:
        own = me.cpu_times()
        return float(own.user + own.system) + sum(other.cpu_s for other in others)

    legs = list(calls.legs.values())
    had = await _counted(http)
    before = (gateway.cpu_s, load_cpu_s(), calls.late_slots, [(leg.line.received, leg.line.gaps) for leg in legs])
    began = time.monotonic()
    await asyncio.sleep(window_s)
    calls.check()
    ended = time.monotonic()
    span = ended - began
    gateway_s, load_s = gateway.cpu_s - before[0], load_cpu_s() - before[1]
    frames = [(leg.line.received - first[0], leg.line.gaps - first[1]) for leg, first in zip(legs, before[3], strict=True)]
    late_slots = calls.late_slots - before[2]
    meanwhile = (await _counted(http)).since(had)
    return Window(
        offered=offered,
        calls=len(legs) // 2,
        legs=len(legs),
        began_s=began,
        ended_s=ended,
        gateway_cpu=gateway_s / span,
        load_cpu=load_s / span,
        counted=meanwhile,
        frames_late=sum(gaps for _, gaps in frames),
        frames_lost=sum(missing(received, span) for received, _ in frames) + meanwhile.dropped,
        load_late=late_slots,
        memory_mb_per_call=(gateway.memory_mb - empty_mb) / max(1, len(legs) // 2),
    )


async def _counted(http: httpx.AsyncClient) -> Counted:
    return counted((await http.get("/metrics")).text)


def _why(refused: Mapping[str, int], turned_away: int) -> dict[str, int]:
    """Why callers were sent to the dialplan; a call that was begun and then given up is counted by no reason."""
    given_up = turned_away - sum(refused.values())
    return {**refused, **({"given up": given_up} if given_up > 0 else {})}


async def _records(loaded: LoadedConfig) -> Records:
    records: Records = {}
    async with Transcripts.from_config(loaded) as transcripts:
        async for call in transcripts.export():
            for utterance in call.utterances:
                records.setdefault((call.id, utterance.lane), []).append(utterance)
    return records


def clip(code: str) -> Clip:
    """Speech that the listener takes for one utterance, of about 3 s, with line noise."""
    detector = VoiceActivity()
    noise = np.random.default_rng(1).normal(0.0, NOISE_RMS, NOISE_FRAMES * round(FRAME_S * RATE))
    candidates = sorted((clips.spoken(text, code) for text in clips.sentences(code)), key=lambda samples: abs(len(samples) / RATE - 3.0))
    for samples in candidates:
        noisy = np.clip(samples + np.resize(noise, len(samples)), -32768, 32767).astype(np.int16)
        end_s = clips.single_utterance_end_s(noisy, Listen(), detector)
        if end_s is not None:
            speech = _frames(noisy)
            return Clip(speech, _frames(noise.astype(np.int16)), min(len(speech) - 1, int(end_s / FRAME_S)))
    raise BenchError(f"no sentence of the demo in {code!r} is one utterance to the listener")


def _frames(samples: Samples) -> list[bytes]:
    size = round(FRAME_S * RATE)
    whole = np.concatenate([samples, np.zeros(-len(samples) % size, np.int16)])
    return [wire.client_frame(wire.BINARY, whole[place : place + size].tobytes()) for place in range(0, len(whole), size)]


def redis_command(loaded: LoadedConfig, folder: Path, tell: Note) -> list[str]:
    port = loaded.config.redis.url.rpartition(":")[2].partition("/")[0]
    options = ["--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", str(folder)]
    return install.programs(tell).command("redis-server", *options, visible=[folder])


def _address(loaded: LoadedConfig) -> str:
    return f"http://{loaded.config.gateway.host}:{loaded.config.gateway.port}"


async def _accepting(http: httpx.AsyncClient) -> bool:
    return bool((await http.get("/api/status")).json()["accepting"])


async def _empty(http: httpx.AsyncClient) -> bool:
    status = (await http.get("/api/status")).json()
    return not any(status[key] for key in ("calls", "channels", "bridges", "media_sockets", "call_tasks"))


async def _happens(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Whether an async condition comes true in time."""
    end = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.2)
    return True


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float, complaint: str) -> None:
    if not await _happens(condition, seconds):
        raise BenchError(f"{complaint} after {seconds:g} s")
