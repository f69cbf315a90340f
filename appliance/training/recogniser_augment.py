"""Clean clips to telephone calls, a batch at a time: level, noise, lost packets, G.711, upsampling, handset response."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from appliance.audio import g711, noise
from appliance.training.recogniser_features import BINS, filters, log_mel
from appliance.training.recordings import Recordings
from appliance.training.speech import TELEPHONE_HZ

_POOL_SECONDS = 120
_KINDS = ("babble", "babble", "traffic", "wind", "hum", "fan", "clicks", "white")
_WARPS = torch.stack([filters(warp) for warp in (0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.12)])
_PLAIN = 3
"""Place of the unwarped filters."""
_LAWS = torch.from_numpy(np.stack([g711.round_trip("mulaw"), g711.round_trip("alaw")]).astype(np.float32))
_PACKET = TELEPHONE_HZ // 50


@dataclass(frozen=True)
class Noises:
    pool: Tensor
    """(kinds, samples) at 8 kHz, RMS 1."""

    @classmethod
    def make(cls, recordings: Recordings, seed: int) -> Noises:
        rng = np.random.default_rng(seed)
        count = _POOL_SECONDS * TELEPHONE_HZ
        rows = []
        for kind in _KINDS:
            if kind == "babble":
                chosen = rng.choice(len(recordings.clips), 200, replace=False)
                rows.append(noise.babble(count, TELEPHONE_HZ, rng, [recordings[int(index)].astype(np.float32) for index in chosen]))
            else:
                rows.append(noise.make(kind, count, TELEPHONE_HZ, rng))
        return cls(torch.from_numpy(np.stack(rows)))

    def draw(self, batch: int, samples: int) -> Tensor:
        kinds = torch.randint(len(self.pool), (batch,)).tolist()
        starts = torch.randint(self.pool.shape[1] - samples, (batch,)).tolist()
        return torch.stack([self.pool[kind, start : start + samples] for kind, start in zip(kinds, starts, strict=True)])


def call_features(clips: Tensor, lengths: Tensor, speech: Tensor, noises: Noises, strength: float) -> Tensor:
    """Log-mel features (batch, 80, frames) of clips heard over a telephone.

    Args:
        clips: (batch, samples) float32 on the int16 scale at 8 kHz, zero outside the speech; samples a multiple of 80.
        lengths: samples of each clip with its leading and trailing silence.
        speech: (batch,) False where the clip is to hold noise or silence only.
        strength: 0 for a clean line to 1 for all there is.
    """
    batch, samples = clips.shape
    sounding = clips.abs() > 200
    level = (clips.square().sum(1) / sounding.sum(1).clamp_min(1)).sqrt()
    loudness = 10 ** (torch.empty(batch).uniform_(-24 * strength - 2, 2) / 20)
    snr = torch.empty(batch).uniform_(3, 24)
    noisy = (torch.rand(batch) < 0.7 * strength) | ((torch.rand(batch) < 0.7) & ~speech)
    hiss = torch.empty(batch).uniform_(0, 12)
    amplitude = torch.where(noisy, level * 10 ** (-torch.where(speech, snr, snr - 6) / 20), torch.zeros(()))
    audio = clips * speech[:, None] + noises.draw(batch, samples) * amplitude[:, None]
    audio = audio * loudness[:, None] + torch.randn(batch, samples) * hiss[:, None]
    if strength > 0:
        audio = audio * _packets(batch, samples, 0.3 * strength)
    inside = torch.arange(samples)[None] < lengths[:, None]
    audio = audio.masked_fill(~inside, 0.0)
    law = torch.randint(2, (batch, 1)).expand(batch, samples)
    heard = _LAWS[law, (audio.clamp(-32768, 32767).long() + 32768)] * inside
    wide = upsample(heard / 32768) * inside.repeat_interleave(2, dim=1)
    bank, gain = None, None
    if strength > 0:
        shift = torch.randint(len(_WARPS), (batch,))
        bank = _WARPS[torch.where(torch.rand(batch) < 0.6 * strength, shift, torch.full_like(shift, _PLAIN))]
        gain = _handset(batch, strength)
    features = log_mel(wide, lengths * 2, bank=bank, gain=gain)
    return _masked(features, strength) if strength > 0 else features


def upsample(audio: Tensor, cutoff: float | None = None) -> Tensor:
    """8 kHz to 16 kHz (batch, samples) to (batch, 2 x samples) with a windowed sinc, its cutoff drawn anew each time."""
    taps = 32
    edge = cutoff or float(torch.empty(1).uniform_(0.9, 0.99))
    time = torch.arange(-taps, taps + 1) / 2
    kernel = torch.sinc(time * edge) * edge * torch.kaiser_window(2 * taps + 1, periodic=False, beta=7.0)
    even, odd = kernel[::2], kernel[1::2]
    padded = audio[:, None]
    low = F.conv1d(padded, even.flip(0)[None, None], padding=taps // 2)[:, 0]
    high = F.conv1d(padded, odd.flip(0)[None, None], padding=taps // 2)[:, 0, 1:]
    return torch.stack([low, high[:, : low.shape[1]]], dim=2).reshape(len(audio), -1)


def _packets(batch: int, samples: int, share: float) -> Tensor:
    """1 where a packet of 20 ms arrived; lost ones come in short bursts in `share` of the calls."""
    count = math.ceil(samples / _PACKET)
    lost = torch.rand(batch, count) < torch.empty(batch, 1).uniform_(0.01, 0.06)
    lost = lost | (lost.roll(1, 1) & (torch.rand(batch, count) < 0.4))
    lost &= (torch.rand(batch) < share)[:, None]
    return (~lost).float().repeat_interleave(_PACKET, dim=1)[:, :samples]


def _handset(batch: int, strength: float) -> Tensor:
    """Smooth random power responses (batch, 201): tilt, two ripples, a high-pass corner."""
    frequency = torch.linspace(0, 2, BINS)[None]  # 1 is the telephone's 4 kHz
    tilt, first, second = (torch.randn(batch, 1) * decibels * strength for decibels in (4.0, 2.5, 2.5))
    ripple = tuple(torch.cos(math.pi * (times * frequency + 2 * torch.rand(batch, 1))) for times in (2, 4))
    corner = torch.empty(batch, 1).uniform_(60, 320) / 4000 * strength
    high_pass = (frequency / (corner + 1e-3)) ** 4
    return 10 ** ((tilt * (frequency - 0.5) + first * ripple[0] + second * ripple[1]) / 10) * (high_pass / (1 + high_pass))


def _masked(features: Tensor, strength: float) -> Tensor:
    """SpecAugment: one short time mask and one band of mels for some utterances, filled with 0."""
    batch, mels, frames = features.shape
    place, width = torch.rand(batch, 1) * frames, torch.rand(batch, 1) * 9 * (torch.rand(batch, 1) < 0.4 * strength)
    time = torch.arange(frames)[None]
    low, height = torch.rand(batch, 1) * mels, torch.rand(batch, 1) * 10 * (torch.rand(batch, 1) < 0.4 * strength)
    band = torch.arange(mels)[None]
    hidden = ((time >= place) & (time < place + width))[:, None] | ((band >= low) & (band < low + height))[:, :, None]
    return features.masked_fill(hidden, 0.0)
