"""Tones that telephones say, and what is found of them in what the other one heard."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from appliance.phone import wav

STEP_S = 0.1
LOUD = 500
"""Of 32768; what the codec makes of silence is below 20."""


def tone(pitch_hz: int, length_s: float = 1.0) -> wav.Samples:
    time_s = np.arange(round(length_s * wav.TELEPHONE_HZ)) / wav.TELEPHONE_HZ
    return (8000 * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.int16)


def heard(folder: Path) -> list[int]:
    """What a telephone received, from its recording: the pitch of each tenth of a second in Hz, 0 for silence."""
    (file,) = folder.glob("dump-*-dec.wav")
    with wave.open(str(file)) as recording:
        rate = recording.getframerate()
        samples = np.frombuffer(recording.readframes(recording.getnframes()), "<i2").astype(float)
    size = round(STEP_S * rate)
    steps = samples[: len(samples) // size * size].reshape(-1, size)
    spectrum = np.abs(np.fft.rfft(steps * np.hanning(size), axis=1))
    pitch = spectrum.argmax(axis=1) / STEP_S
    return [round(value) if np.abs(step).max() > LOUD else 0 for value, step in zip(pitch, steps, strict=True)]


def has(pitches: list[int], pitch_hz: int, least_s: float = 0.4) -> bool:
    return sum(abs(pitch - pitch_hz) <= 10 for pitch in pitches) * STEP_S >= least_s
