"""Whisper's log-mel features for a batch, equal to those of `faster_whisper.feature_extractor`, with optional warping."""

from __future__ import annotations

import torch
from faster_whisper.feature_extractor import FeatureExtractor
from torch import Tensor

RATE_HZ = 16000
FRAME_HZ = 100
FFT = 400
HOP = 160
BINS = FFT // 2 + 1

_FILTERS = torch.from_numpy(FeatureExtractor().mel_filters)
_WINDOW = torch.hann_window(FFT)


def filters(warp: float = 1.0) -> Tensor:
    """Mel filters (80, 201); with `warp` the spectrum is read `warp` times as high, as of a shorter or longer throat."""
    if warp == 1.0:
        return _FILTERS
    positions = (torch.arange(BINS) / warp).clamp(max=BINS - 1.001)
    below = positions.floor().long()
    share = positions - below
    warped = torch.zeros_like(_FILTERS)
    for bin_, (low, part) in enumerate(zip(below.tolist(), share.tolist(), strict=True)):
        warped[:, bin_] = _FILTERS[:, low] * (1 - part) + _FILTERS[:, low + 1] * part
    return warped


def log_mel(audio: Tensor, lengths: Tensor, *, bank: Tensor | None = None, gain: Tensor | None = None) -> Tensor:
    """Features (batch, 80, frames), frames beyond an utterance's end zero.

    Args:
        audio: (batch, samples) float32 in -1 to 1 at 16 kHz, zero beyond each length; samples a multiple of 160.
        lengths: samples of each utterance.
        bank: mel filters for each utterance (batch, 80, 201).
        gain: power response for each utterance (batch, 201).
    """
    padded = torch.cat([audio[:, 1 : FFT // 2 + 1].flip(1), audio, audio.new_zeros(len(audio), FFT // 2)], dim=1)
    spectrum = torch.stft(padded, FFT, HOP, window=_WINDOW, center=False, return_complex=True)[..., : audio.shape[1] // HOP]
    power = torch.view_as_real(spectrum).square().sum(-1)
    if gain is not None:
        power = power * gain[:, :, None]
    mel = (bank if bank is not None else _FILTERS) @ power
    log = mel.clamp_min(1e-10).log10()
    frames = lengths // HOP
    inside = torch.arange(log.shape[2])[None, None] < frames[:, None, None]
    log = log.masked_fill(~inside, -10.0)
    log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0)
    return ((log + 4.0) / 4.0).masked_fill(~inside, 0.0)
