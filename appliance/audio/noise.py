"""Background noise of telephone calls, made from a seed: babble, traffic, wind, hum, fan, clicks, white.

Every generator returns float32 samples with an RMS of 1; `mix` scales them to a signal-to-noise ratio.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

_SYLLABLES_HZ = 4.0
"""Speech swells and fades about four times a second."""


def _unit(samples: npt.NDArray[np.floating]) -> Samples:
    rms = float(np.sqrt(np.mean(np.square(samples)))) or 1.0
    return (samples / rms).astype(np.float32)


def _shaped(count: int, rate: int, rng: np.random.Generator, gain: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Samples:
    """Gaussian noise with the magnitude response `gain(frequency in Hz)`."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / rate)
    return _unit(np.fft.irfft(spectrum * gain(np.maximum(frequencies, 1.0)), count))


def _slow(count: int, rate: int, rng: np.random.Generator, corner_hz: float) -> Samples:
    """A slowly wandering curve with mean 0 and RMS 1."""
    return _shaped(count, rate, rng, lambda f: 1 / (1 + (f / corner_hz) ** 4))


def white(count: int, rate: int, rng: np.random.Generator) -> Samples:
    return _unit(rng.standard_normal(count))


def traffic(count: int, rate: int, rng: np.random.Generator) -> Samples:
    """Low rumble of a road, vehicles that pass, now and then a horn."""
    rumble = _shaped(count, rate, rng, lambda f: 1 / (1 + (f / 150) ** 1.5))
    passing = _shaped(count, rate, rng, lambda f: 1 / (1 + (f / 900) ** 1.2)) * np.exp(0.8 * _slow(count, rate, rng, 0.3))
    mixed = rumble + 0.7 * passing
    time = np.arange(count) / rate
    for _ in range(rng.poisson(count / rate / 8)):
        start, length, pitch = rng.uniform(0, count / rate), rng.uniform(0.15, 0.8), rng.uniform(320, 520)
        horn = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in (1, 1.26, 2, 2.52, 3))
        mixed = mixed + rng.uniform(0.3, 1.2) * horn * ((time > start) & (time < start + length))
    return _unit(mixed)


def wind(count: int, rate: int, rng: np.random.Generator) -> Samples:
    """Gusts on a microphone: steep low-frequency noise."""
    gusts = np.exp(1.0 * _slow(count, rate, rng, 0.7))
    return _unit(_shaped(count, rate, rng, lambda f: 1 / (1 + (f / 120) ** 2) + 0.02) * gusts)


def hum(count: int, rate: int, rng: np.random.Generator) -> Samples:
    """50 Hz mains hum with harmonics over a little hiss."""
    time = np.arange(count) / rate
    base = 50 * rng.uniform(0.995, 1.005)
    tones = sum(rng.uniform(0.1, 1.0) / k * np.sin(2 * np.pi * (base * k * time + rng.random())) for k in range(1, 16))
    return _unit(tones + 0.1 * rng.standard_normal(count))


def fan(count: int, rate: int, rng: np.random.Generator) -> Samples:
    """Air and the beat of blades."""
    time = np.arange(count) / rate
    blade = rng.uniform(60, 180)
    air = _shaped(count, rate, rng, lambda f: 1 / (1 + (f / rng.uniform(500, 900))))
    tone = sum(np.sin(2 * np.pi * (blade * k * time + rng.random())) / k for k in (1, 2, 3))
    return _unit(air * (1 + 0.2 * np.sin(2 * np.pi * blade / 5 * time)) + 0.3 * tone)


def clicks(count: int, rate: int, rng: np.random.Generator) -> Samples:
    """Keyboard, line clicks and knocks over a low hiss."""
    samples = 0.05 * rng.standard_normal(count)
    for start in np.flatnonzero(rng.random(count) < 5 / rate).tolist():
        length = int(rate * rng.uniform(0.002, 0.03))
        ring = rng.standard_normal(length) * np.exp(-np.arange(length) / (length / 4))
        stop = min(count, start + length)
        samples[start:stop] += rng.uniform(0.5, 3.0) * ring[: stop - start]
    return _unit(samples)


def babble(count: int, rate: int, rng: np.random.Generator, voices: Sequence[Samples] = ()) -> Samples:
    """Several people talking at once.

    `voices` are utterances at `rate`; without any, speech-shaped noise swells like syllables instead.
    """
    mixed = np.zeros(count)
    for _ in range(int(rng.integers(3, 8))):
        level = rng.uniform(0.4, 1.0)
        if not voices:
            swell = np.exp(0.9 * _slow(count, rate, rng, _SYLLABLES_HZ))
            mixed += level * swell * _shaped(count, rate, rng, lambda f: 1 / (1 + (f / 500) ** 1.4))
            continue
        filled = 0
        while filled < count:
            voice = _unit(voices[int(rng.integers(len(voices)))])
            offset = int(rng.integers(len(voice) // 2 + 1)) if filled == 0 else 0
            piece = voice[offset : offset + count - filled]
            mixed[filled : filled + len(piece)] += level * piece
            filled += len(piece)
    return _unit(mixed)


GENERATORS: dict[str, Callable[[int, int, np.random.Generator], Samples]] = {
    "babble": babble,
    "traffic": traffic,
    "wind": wind,
    "hum": hum,
    "fan": fan,
    "clicks": clicks,
    "white": white,
}
"""Noise by kind: (number of samples, rate in Hz, random generator) to samples."""


def make(kind: str, count: int, rate: int, rng: np.random.Generator) -> Samples:
    """Noise of one kind.

    Raises:
        ValueError: for an unknown kind, with the allowed ones.
    """
    if kind not in GENERATORS:
        raise ValueError(f"unknown noise {kind!r}, allowed: {', '.join(GENERATORS)}")
    return GENERATORS[kind](count, rate, rng)


def mix(signal: npt.NDArray[np.int16], noise: Samples, snr_db: float) -> npt.NDArray[np.int16]:
    """`signal` with `noise` (as long, RMS 1) at a signal-to-noise ratio over the loud parts of the signal."""
    wide = signal.astype(np.float32)
    power = np.square(wide)
    loud = power[power > np.mean(power) / 100]  # pauses do not count as signal
    level = float(np.sqrt(np.mean(loud))) if len(loud) else 100.0
    return np.clip(wide + noise * level * 10 ** (-snr_db / 20), -32768, 32767).astype(np.int16)
