"""Speech for tests: espeak-ng, 16 kHz, with a telephone's silence around it."""

from __future__ import annotations

import io
import subprocess
import wave
from functools import cache

import numpy as np
import numpy.typing as npt
import soxr

RATE = 16_000
Samples = npt.NDArray[np.int16]


@cache
def said(text: str, voice: str = "hi", words_per_minute: int = 160) -> Samples:
    """`text` in this espeak-ng voice, without silence around it, at about the level of a call."""
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "--stdout", text]
    answer = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(answer)) as file:
        rate, pcm = file.getframerate(), np.frombuffer(file.readframes(10**8), np.int16)
    pcm = soxr.resample(pcm, rate, RATE)
    loud = np.flatnonzero(np.abs(pcm) > 100)
    pcm = (pcm[loud[0] : loud[-1] + 1] * 0.5).astype(np.int16)
    pcm.setflags(write=False)
    return pcm


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.int16)


def noise(seconds: float, rms: float, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).normal(0, rms, round(seconds * RATE)).astype(np.int16)
