"""An interpreter that needs no models: prompts are tones, one pitch each, and what a party says is passed on as it is."""

from __future__ import annotations

import asyncio
from collections import deque

import numpy as np

from appliance.gateway.interpretation import CallContext
from appliance.telephony.media import FRAME_BYTES, FRAME_S, SAMPLE_RATE, AudioReceived, MarkReached, MediaTransport

PITCH_HZ = {
    "greeting": 500,
    "hold_on": 700,
    "agent_greeting": 900,
    "speak_now": 1900,
    "goodbye": 1100,
    "no_agent": 1300,
    "direct_bridge": 1500,
    "interpretation_lost": 1700,
}
PROMPT_S = 0.6
SILENCE = bytes(FRAME_BYTES)


class ToneInterpreter:
    def __init__(self, context: CallContext) -> None:
        self.context = context
        self.language: str | None = None
        self.keys: list[str] = []
        self._legs: dict[str, MediaTransport] = {}
        self._queues: dict[str, deque[bytes | str]] = {"caller": deque(), "agent": deque()}
        self._heard: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def attach(self, party: str, transport: MediaTransport) -> None:
        self._legs[party] = transport
        self._tasks += [asyncio.create_task(self._read(party, transport)), asyncio.create_task(self._play(party, transport))]

    def start(self) -> None:
        pass

    async def say(self, party: str, prompt: str) -> None:
        time_s = np.arange(round(PROMPT_S * SAMPLE_RATE)) / SAMPLE_RATE
        tone = (8000 * np.sin(2 * np.pi * PITCH_HZ[prompt] * time_s)).astype("<i2").tobytes()
        mark = f"{party}-{prompt}"
        heard = self._heard[mark] = asyncio.Event()
        self._queues[party].extend(tone[start : start + FRAME_BYTES] for start in range(0, len(tone), FRAME_BYTES))
        self._queues[party].append(mark)
        await heard.wait()

    def key(self, party: str, digit: str) -> None:
        self.keys.append(f"{party} {digit}")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, party: str, transport: MediaTransport) -> None:
        other = "agent" if party == "caller" else "caller"
        async for event in transport.events():
            if isinstance(event, AudioReceived) and other in self._legs and len(self._queues[other]) < 50:
                self._queues[other].append(event.pcm)
            elif isinstance(event, MarkReached):
                self._heard[event.mark].set()

    async def _play(self, party: str, transport: MediaTransport) -> None:
        loop = asyncio.get_running_loop()
        queue = self._queues[party]
        due = loop.time()
        transport.send(SILENCE * 2)
        while True:
            frame = queue.popleft() if queue else SILENCE
            assert isinstance(frame, bytes)
            transport.send(frame)
            while queue and isinstance(mark := queue[0], str):
                transport.mark(mark)
                queue.popleft()
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - loop.time()))
