"""Whisper's log-mel features of audio of any length, without its padding to 30 seconds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from appliance.engines.base import Samples

Features = npt.NDArray[np.float32]

FFT = 400  # 25 ms at 16 kHz
HOP = 160  # 10 ms
FRAMES_PER_S = 100
FULL_WINDOW = 3000
"""Frames of the 30 s window that most checkpoints were trained on."""


class LogMel:
    def __init__(self, mels: int) -> None:
        self._filters = mel_filters(mels)
        self._window = np.hanning(FFT + 1)[:-1].astype(np.float32)

    @property
    def mels(self) -> int:
        return int(self._filters.shape[0])

    def __call__(self, samples: Samples) -> Features:
        """(mels, frames): a frame for each whole 10 ms, at least one, as faster-whisper computes it: with a frame of zeros behind."""
        whole = max(1, len(samples) // HOP)
        behind = max(HOP, FFT - len(samples))
        audio = np.pad(samples, (0, behind)).astype(np.float32) / 32768.0
        audio = np.pad(audio, FFT // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(audio, FFT)[::HOP][: (len(samples) + behind) // HOP]
        spectrum = np.fft.rfft(frames * self._window)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        log = np.log10(np.maximum(self._filters @ power.T, 1e-10))
        log = np.maximum(log, log.max() - 8.0)
        scaled: Features = ((log + 4.0) / 4.0).astype(np.float32, copy=False)
        return scaled[:, :whole]


def mel_filters(mels: int) -> Features:
    """Triangles of equal area, evenly spaced on Slaney's mel scale from 0 to 8 kHz: (mels, 201).

    Slaney 1998, Auditory Toolbox: 3 mels for each 200 Hz up to 1 kHz, above that 27 mels for each factor of 6.4.
    """
    knee_hz, knee_mel, growth = 1000.0, 15.0, np.log(6.4) / 27
    top = knee_mel + np.log(8000 / knee_hz) / growth
    steps = np.linspace(0, top, mels + 2)
    corners = np.where(steps < knee_mel, steps * 200 / 3, knee_hz * np.exp(growth * (np.maximum(steps, knee_mel) - knee_mel)))
    bins = np.linspace(0, 8000, FFT // 2 + 1)
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    triangles = np.maximum(0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
    filters: Features = (triangles * 2 / (high - low)).astype(np.float32)
    return filters


def stack(features: list[Features], frames: int) -> Features:
    """(batch, mels, frames): zeros after the end of each, in the scaled space, as faster-whisper pads."""
    batch = np.zeros((len(features), features[0].shape[0], frames), dtype=np.float32)
    for row, item in enumerate(features):
        kept = min(frames, item.shape[1])
        batch[row, :, :kept] = item[:, :kept]
    return batch
