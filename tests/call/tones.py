"""Tones that telephones say, and what is found of them in what the other one heard."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np

from appliance.phone import wav

STEP_S = 0.1
FINE_S = 0.02
"""Of gaps."""
HEARD_S = 20.0
"""A tone has arrived by then, on however busy a machine: behind what else its listener is told."""
_HEADER_BYTES, _RATE_AT, _CHANNELS_AT = 44, 24, 22
"""Of the recordings, which say how long they are only when the call has ended."""
LOUD = 500
"""Of 32768; what the codec makes of silence is below 20."""


def tone(pitch_hz: int, length_s: float = 1.0) -> wav.Samples:
    time_s = np.arange(round(length_s * wav.TELEPHONE_HZ)) / wav.TELEPHONE_HZ
    return (8000 * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.int16)


def heard(folder: Path) -> list[int]:
    """What a telephone has received so far, from its recording: the pitch of each tenth of a second in Hz, 0 for silence."""
    samples, rate = _received(folder)
    size = round(STEP_S * rate)
    steps = samples[: len(samples) // size * size].reshape(-1, size)
    if not len(steps):
        return []
    spectrum = np.abs(np.fft.rfft(steps * np.hanning(size), axis=1))
    pitch = spectrum.argmax(axis=1) / STEP_S
    return [round(value) if np.abs(step).max() > LOUD else 0 for value, step in zip(pitch, steps, strict=True)]


def longest_gap(samples: wav.Samples, pitch_hz: int) -> tuple[float, float]:
    """Begin and end, in seconds and to 20 ms, of the longest time without a tone that was there before and is there again afterwards.

    Args:
        samples: 8 kHz, laid out on the clock: a recording has nothing in it where nothing was received.
    """
    size = round(FINE_S * wav.TELEPHONE_HZ)
    steps = samples[: len(samples) // size * size].reshape(-1, size).astype(float)
    window = np.hanning(size)
    level = 2 * np.abs(steps @ (window * np.exp(-2j * np.pi * pitch_hz * np.arange(size) / wav.TELEPHONE_HZ))) / window.sum()
    there = (level > LOUD) & (level**2 / 2 > (steps**2).mean(axis=1) / 2)  # and little else
    places = np.flatnonzero(there[:-1] & there[1:])
    if len(places) < 2:
        return 0.0, 0.0
    longest = int(np.diff(places).argmax())
    return FINE_S * float(places[longest] + 2), FINE_S * float(max(places[longest + 1], places[longest] + 2))


def _received(folder: Path) -> tuple[np.ndarray, int]:
    """Samples and their rate."""
    (file,) = folder.glob("dump-*-dec.wav")
    data = file.read_bytes()
    if len(data) <= _HEADER_BYTES:
        return np.zeros(0), wav.TELEPHONE_HZ
    channels, rate = (int.from_bytes(data[place : place + size], "little") for place, size in ((_CHANNELS_AT, 2), (_RATE_AT, 4)))
    whole = (len(data) - _HEADER_BYTES) // (2 * channels) * channels
    return np.frombuffer(data, "<i2", whole, _HEADER_BYTES)[::channels].astype(float), rate


async def until_heard(folder: Path, pitch_hz: int, least_s: float = 0.8, timeout_s: float = HEARD_S) -> None:
    """Returns when a telephone has received so much of a tone; fails telling what it has received."""
    began = time.monotonic()
    while not (list(folder.glob("dump-*-dec.wav")) and has(heard(folder), pitch_hz, least_s)):  # noqa: ASYNC240
        assert time.monotonic() - began < timeout_s, f"{folder.name} has not heard {least_s} s of {pitch_hz} Hz: {heard(folder)}"
        await asyncio.sleep(0.1)


def has(pitches: list[int], pitch_hz: int, least_s: float = 0.4) -> bool:
    return sum(abs(pitch - pitch_hz) <= 10 for pitch in pitches) * STEP_S >= least_s
