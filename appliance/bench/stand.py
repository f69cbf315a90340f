"""What stands around gateway workers that are measured: Redis, what they are asked while they run, and what is said on the calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import numpy as np

from appliance.bench import clips, wire
from appliance.bench.counted import Counted, counted
from appliance.bench.errors import BenchError
from appliance.bench.line import FRAME_S, Clip
from appliance.bench.window import Records
from appliance.config.load import LoadedConfig
from appliance.config.schema import Listen
from appliance.engines.base import Samples
from appliance.speech.vad import RATE, VoiceActivity
from appliance.stack import install
from appliance.store.transcripts import Transcripts

NOISE_RMS = 12
"""Of the line, of 32768: silence on a telephone is not digital silence, and the gateway saves work where it is."""
NOISE_FRAMES = 97

Note = Callable[[str], None]


async def look(http: httpx.AsyncClient) -> Counted:
    """What a worker has counted so far."""
    return counted((await http.get("/metrics")).text)


async def records(loaded: LoadedConfig) -> Records:
    """What the workers have recorded."""
    found: Records = {}
    async with Transcripts.from_config(loaded) as transcripts:
        async for call in transcripts.export():
            for utterance in call.utterances:
                found.setdefault((call.id, utterance.lane), []).append(utterance)
    return found


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


def address(loaded: LoadedConfig, worker: int = 1) -> str:
    return f"http://{loaded.config.gateway.host}:{loaded.config.gateway.port + worker - 1}"


async def accepting(http: httpx.AsyncClient) -> bool:
    return bool((await http.get("/api/status")).json()["accepting"])


async def empty(http: httpx.AsyncClient) -> bool:
    status = (await http.get("/api/status")).json()
    return not any(status[key] for key in ("calls", "channels", "bridges", "media_sockets", "call_tasks"))


async def happens(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Whether an async condition comes true in time."""
    end = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.2)
    return True


async def until(condition: Callable[[], Awaitable[bool]], seconds: float, complaint: str) -> None:
    if not await happens(condition, seconds):
        raise BenchError(f"{complaint} after {seconds:g} s")
