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
    def __init__(self, filters: Features) -> None:
        """`filters`: mel filter bank (mels, 201)."""
        self._filters = np.ascontiguousarray(filters, dtype=np.float32)
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


def stack(features: list[Features], frames: int) -> Features:
    """(batch, mels, frames): zeros after the end of each, in the scaled space, as faster-whisper pads."""
    batch = np.zeros((len(features), features[0].shape[0], frames), dtype=np.float32)
    for row, item in enumerate(features):
        kept = min(frames, item.shape[1])
        batch[row, :, :kept] = item[:, :kept]
    return batch
