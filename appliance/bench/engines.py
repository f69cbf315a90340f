"""How long each engine of the starter bundle takes for one request, through the gateway's own client, one request at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from appliance.bench import clips
from appliance.bench.figures import real_time_factor, spread_ms
from appliance.bench.processes import Measured, model_server
from appliance.bench.results import Result, Row
from appliance.bench.workplace import workplace
from appliance.config.load import load
from appliance.engines.base import Samples
from appliance.modelserver.client import ModelClient
from appliance.phone.demo import scripts
from appliance.speech.vad import RATE
from appliance.stack.defaults import write_config
from appliance.text.languages import CALLER_LANGUAGES, language

AUDIO_S = 3.0
TIMEOUT_S = 10.0
REQUESTS, QUICK_REQUESTS = 60, 20
WARM_UP = 3
"""First requests of each kind that do not count."""
LONGEST_S = 45.0
"""Of one kind of request: a slow machine measures fewer of them."""
CODES = tuple(item.recogniser_code for item in CALLER_LANGUAGES)

Request = Callable[[], Awaitable[float]]
"""Makes a request and returns the seconds of audio that it is about, 0 without audio."""


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    server: str
    requests: Sequence[Request]
    """Taken in turn."""


def measure(*, quick: bool) -> Result:
    """Raises: BenchError, EngineUnavailable."""
    count = QUICK_REQUESTS if quick else REQUESTS
    with workplace() as folder, ExitStack() as servers:
        config = write_config(folder)
        run_dir = load(config).run_dir
        processes = {kind: servers.enter_context(model_server(kind, config, run_dir)) for kind in ("stt", "mt", "tts")}
        rows = asyncio.run(_measure(run_dir, processes, count))
    return Result("engines", f"starter engines, one request at a time, {count} of each", rows)


async def _measure(run_dir: Path, processes: dict[str, Measured], count: int) -> list[Row]:
    client = ModelClient(run_dir)
    try:
        return [await _row(operation, processes[operation.server], count) for operation in _operations(client)]
    finally:
        await client.aclose()


async def _row(operation: Operation, process: Measured, count: int) -> Row:
    times: list[float] = []
    factors: list[float] = []
    give_up = time.monotonic() + LONGEST_S
    for number, request in enumerate(islice(cycle(operation.requests), WARM_UP + count)):
        began = time.perf_counter()
        audio_s = await request()
        taken = time.perf_counter() - began
        if number >= WARM_UP:
            times.append(taken)
            factor = real_time_factor(taken, audio_s)
            factors += [] if factor is None else [factor]
        if times and time.monotonic() > give_up:
            break
    spread = spread_ms(times)
    return {
        "operation": operation.name,
        "server": operation.server,
        "requests": len(times),
        "median ms": spread.p50 if spread else None,
        "p95 ms": spread.p95 if spread else None,
        "worst ms": spread.worst if spread else None,
        "real-time factor": sorted(factors)[len(factors) // 2] if factors else None,
        "server memory MB": process.memory_mb,
    }


def _operations(client: ModelClient) -> list[Operation]:
    said = {code: clips.sentences(code) for code in (*scripts.LANGUAGES, scripts.AGENT_LANGUAGE)}
    audio = {code: clips.of_length(clips.spoken(lines[0], code), AUDIO_S) for code, lines in said.items() if code in scripts.LANGUAGES}
    pairs = [(code, scripts.AGENT_LANGUAGE) for code in scripts.LANGUAGES] + [(scripts.AGENT_LANGUAGE, code) for code in scripts.LANGUAGES]
    return [
        Operation("partial", "stt", [_transcribe(client, samples, None, partial=True) for samples in audio.values()]),
        Operation("final", "stt", [_transcribe(client, samples, code, partial=False) for code, samples in audio.items()]),
        Operation("identify", "stt", [_identify(client, lines[0]) for lines in said.values()]),
        Operation("translate", "mt", [_translate(client, said[source][-1], source, target) for source, target in pairs]),
        Operation("speak", "tts", [_speak(client, lines[0], code) for code, lines in said.items()]),
    ]


def _transcribe(client: ModelClient, samples: Samples, code: str | None, *, partial: bool) -> Request:
    async def request() -> float:
        held = language(code).recogniser_code if code else None
        await client.transcribe(samples, language=held, languages=() if held else CODES, partial=partial, timeout_s=TIMEOUT_S)
        return len(samples) / RATE

    return request


def _identify(client: ModelClient, text: str) -> Request:
    async def request() -> float:
        await client.identify(text, TIMEOUT_S)
        return 0.0

    return request


def _translate(client: ModelClient, text: str, source: str, target: str) -> Request:
    async def request() -> float:
        await client.translate(text, source, target, TIMEOUT_S)
        return 0.0

    return request


def _speak(client: ModelClient, text: str, code: str) -> Request:
    async def request() -> float:
        return len(await client.speak(text, code, TIMEOUT_S)) / RATE

    return request
