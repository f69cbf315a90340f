"""Speech played faster at the same pitch: overlapping pieces put closer together, each where it fits best (WSOLA). Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

RATE = 16_000
_STEP = round(0.015 * RATE)
"""Samples between the beginnings of two pieces in the result; each is twice as long."""
_HEARD = 1.03
_SEARCH = round(0.008 * RATE)
"""Samples a piece may be shifted by to fit: a period of a low voice, half of it either way."""


def faster(pcm: Samples, factor: float) -> Samples:
    """Speech at `factor` times its tempo.

    Args:
        pcm: 16 kHz.
        factor: 1 to 2; below 1.03 nothing is changed, nobody would hear it.

    Raises:
        ValueError: for another factor.
    """
    if not 1.0 <= factor <= 2.0:
        raise ValueError(f"a tempo of {factor:g} is not between 1 and 2")
    if factor < _HEARD or len(pcm) < 4 * _STEP:
        return pcm
    source = np.concatenate((pcm, np.zeros(3 * _STEP + _SEARCH, np.int16))).astype(np.float32)
    steps = int(len(pcm) / (factor * _STEP))
    window = np.hanning(2 * _STEP + 1)[:-1].astype(np.float32)
    result = np.zeros((steps + 2) * _STEP, np.float32)
    result[:_STEP] = source[:_STEP]
    place = 0
    result[: 2 * _STEP] += source[: 2 * _STEP] * np.where(np.arange(2 * _STEP) < _STEP, 0, window)
    for step in range(1, steps):
        wanted = source[place + _STEP : place + 2 * _STEP]  # what would follow naturally
        first = max(0, round(step * _STEP * factor) - _SEARCH // 2)
        fits = np.correlate(source[first : first + _SEARCH + _STEP], wanted, "valid")
        place = first + int(np.argmax(fits))
        result[step * _STEP : (step + 2) * _STEP] += source[place : place + 2 * _STEP] * window
    return np.clip(result[: steps * _STEP], -32768, 32767).astype(np.int16)
