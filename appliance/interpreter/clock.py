"""The heartbeat of a worker: every 20 ms all its legs listen and play, with voice activity of all legs in one run."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

import numpy as np
import numpy.typing as npt

from appliance.interpreter.leg import PREBUFFER, Leg
from appliance.interpreter.mixing import all_scaled
from appliance.telemetry import metrics
from appliance.telephony.media import FRAME_S

log = logging.getLogger(__name__)

LAST_WORDS_S = 1.0
"""Longer than any pause that ends an utterance: what a party said before it hung up is understood to its end."""
_COMPLAIN_EVERY_S = 10.0
"""A detector that fails does so at every window."""

Samples = npt.NDArray[np.int16]


class Detector(Protocol):
    """`appliance.speech.vad.VoiceActivity`, or what stands in for it."""

    def open(self) -> int: ...
    def close(self, stream: int) -> None: ...
    def run(self, streams: list[int], windows: list[Samples]) -> npt.NDArray[np.float32]: ...


class MediaClock:
    """All legs of a worker.

    Asterisk plays what it is sent at the pace of the same kernel clock, so ticks keep to the time and do not drift. After a
    stall only as many ticks are made up for as frames were sent ahead: more of them would wait in Asterisk for ever after.

    Args:
        vad: voice activity detector of this worker.
        time: seconds, monotonic; the running loop's clock by default.
    """

    def __init__(self, vad: Detector, time: Callable[[], float] | None = None) -> None:
        self._vad = vad
        self._time = time
        self._streams: dict[Leg, int] = {}
        self._retired: dict[Leg, float] = {}  # when to forget them
        self._complained_s = -math.inf
        self.late = 0
        """Ticks that came more than 20 ms late since the start."""
        self.ticks = 0
        """Those that were done."""

    def now(self) -> float:
        return self._time() if self._time is not None else asyncio.get_running_loop().time()

    @property
    def legs(self) -> int:
        return len(self._streams)

    def add(self, leg: Leg) -> None:
        self._streams[leg] = self._vad.open()

    def remove(self, leg: Leg) -> None:
        """Forget a leg; one that is not there is fine."""
        stream = self._streams.pop(leg, None)
        self._retired.pop(leg, None)
        if stream is not None:
            self._vad.close(stream)

    def retire(self, leg: Leg) -> None:
        """Play nothing more to a leg, and forget it once its last words are heard."""
        if leg in self._streams:
            self._retired.setdefault(leg, self.now() + LAST_WORDS_S)

    async def run(self) -> None:
        """Tick for ever; the worker owns the task."""
        due = self.now()
        while True:
            due += FRAME_S
            wait_s = due - self.now()
            await asyncio.sleep(max(0.0, wait_s))
            missed = int((self.now() - due) / FRAME_S)
            if missed > 0:
                self.late += missed
                metrics.LATE_TICKS.inc(missed)
                due += missed * FRAME_S
                for _ in range(min(missed, PREBUFFER)):
                    self.tick(self.now())
            begun_s = perf_counter()
            self.tick(self.now())
            self.ticks += 1
            metrics.TICK.observe(perf_counter() - begun_s)

    def tick(self, now_s: float) -> None:
        """One step of every leg. A leg that raises is lost, the others go on."""
        for leg in list(self._streams):
            leg.fill()
        legs = list(self._streams)
        while legs:
            legs = self._listen(legs, now_s)
        for leg, until_s in list(self._retired.items()):
            if now_s >= until_s:
                self.remove(leg)
        self._play(now_s)

    def _play(self, now_s: float) -> None:
        alike: list[Leg] = []
        voices, gains = [], []
        for leg in list(self._streams):
            if leg.lost:
                continue
            try:
                voice = leg.play(now_s)
            except Exception as error:  # noqa: BLE001 - see `tick`
                self._broken(leg, error)
                continue
            if voice is not None:
                alike.append(leg)
                voices.append(voice[0])
                gains.append(voice[1])
        for leg, (pcm, rms) in zip(alike, all_scaled(voices, gains), strict=True):
            try:
                leg.send(pcm, rms)
            except Exception as error:  # noqa: BLE001 - see `tick`
                self._broken(leg, error)

    def _listen(self, among: list[Leg], now_s: float) -> list[Leg]:
        """One window of every leg that has one; those legs, which may have another."""
        legs, windows = [], []
        for leg in among:
            window = leg.window()
            if window is not None:
                legs.append(leg)
                windows.append(window)
        if not legs:
            return []
        probabilities = self._probabilities(legs, windows, now_s)
        for leg, window, probability in zip(legs, windows, probabilities, strict=True):
            try:
                leg.heard(window, probability, now_s)
            except Exception as error:  # noqa: BLE001 - see `tick`
                self._broken(leg, error)
        return [leg for leg in legs if leg in self._streams]

    def _probabilities(self, legs: list[Leg], windows: list[Samples], now_s: float) -> list[float]:
        """Of speech; none where the detector fails, so that what is open ends and prompts and translations are still played."""
        try:
            told: list[float] = self._vad.run([self._streams[leg] for leg in legs], windows).tolist()
            return told
        except Exception as error:
            metrics.FALLBACKS.labels("no-voice-activity").inc()
            if now_s - self._complained_s >= _COMPLAIN_EVERY_S:
                self._complained_s = now_s
                log.error("voice activity cannot be told", exc_info=error, extra={"legs": len(legs)})
            return [0.0] * len(legs)

    def _broken(self, leg: Leg, error: Exception) -> None:
        log.error("a leg broke", exc_info=error, extra={"party": leg.party})
        self.remove(leg)
        leg.fail(f"broke: {error}")
