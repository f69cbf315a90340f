"""Batches for training the recogniser: clips of similar length, placed in a window as the listener hands them over."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from appliance.text.languages import language
from appliance.training.recogniser_augment import Noises, call_features
from appliance.training.recogniser_tokens import IGNORED, LANGUAGES, Characters, Vocabulary
from appliance.training.recordings import Recordings
from appliance.training.speech import TELEPHONE_HZ

BATCH_FRAMES = 10_000
"""Frames of 10 ms in a batch with its padding; about 35 utterances."""
STEP_FRAMES = 50
"""Windows are padded to whole steps of half a second."""
WHOLE_WINDOW_FRAMES = 3000
_SAMPLES_PER_FRAME = TELEPHONE_HZ // 100
_NO_SPEECH = 0.05
_LONG_NO_SPEECH = 0.3
"""The same in windows of 30 s: only there noise is heard for longer than a sentence."""
_TIMESTAMPS = 0.25


@dataclass(frozen=True, slots=True)
class Batch:
    features: Tensor
    """(batch, 80, frames)"""
    frames: Tensor
    """Frames of 20 ms that hold audio, by utterance."""
    ids: Tensor
    """(batch, tokens) decoder input."""
    labels: Tensor
    """(batch, tokens), `IGNORED` where nothing is learnt."""
    characters: Tensor
    """Characters of all utterances, one after another."""
    character_counts: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(*(getattr(self, item.name).to(device) for item in fields(self)))


def groups(recordings: Recordings, rng: random.Random) -> Iterator[list[int]]:
    """All clips once, in batches of similar length and in random order."""
    order = sorted(range(len(recordings.clips)), key=lambda index: recordings.clips[index].length * rng.uniform(0.93, 1.07))
    batches: list[list[int]] = [[]]
    for index in order:
        frames = recordings.clips[index].length // _SAMPLES_PER_FRAME + 90
        if (len(batches[-1]) + 1) * frames > BATCH_FRAMES:
            batches.append([])
        batches[-1].append(index)
    rng.shuffle(batches)
    yield from batches


class Loader:
    def __init__(self, recordings: Recordings, vocabulary: Vocabulary, characters: Characters, noises: Noises, rng: random.Random) -> None:
        self.recordings = recordings
        self.vocabulary = vocabulary
        self.characters = characters
        self.noises = noises
        self.rng = rng

    def batch(self, indices: list[int], strength: float, whole_window: bool = False) -> Batch:
        """Features and targets; with `whole_window` padded to 30 s as plain faster_whisper does."""
        rng = self.rng
        leads = [self._pause(0.1, 0.3) for _ in indices]
        tails = [self._pause(0.3, 0.5) for _ in indices]
        clips = [self.recordings[index] for index in indices]
        lengths = [lead + len(clip) + tail for lead, clip, tail in zip(leads, clips, tails, strict=True)]
        step = STEP_FRAMES * _SAMPLES_PER_FRAME
        window = -(-max(lengths) // step) * step + rng.choice((0, 0, 0, step, 2 * step))
        speech = torch.rand(len(indices)) >= (_LONG_NO_SPEECH if whole_window else _NO_SPEECH)
        if whole_window:
            window = WHOLE_WINDOW_FRAMES * _SAMPLES_PER_FRAME
            lengths = [count if speaks else rng.randint(count, window) for count, speaks in zip(lengths, speech.tolist(), strict=True)]
        placed = np.zeros((len(indices), window), np.float32)
        for row, (lead, clip) in enumerate(zip(leads, clips, strict=True)):
            placed[row, lead : lead + len(clip)] = clip
        features = call_features(torch.from_numpy(placed), torch.tensor(lengths), speech, self.noises, strength)
        targets, heard = [], []
        for index, speaks, lead, clip in zip(indices, speech.tolist(), leads, clips, strict=True):
            entry = self.recordings.clips[index]
            code = language(entry.code).recogniser_code if speaks else rng.choice(LANGUAGES)
            seconds = (lead + len(clip)) / TELEPHONE_HZ if rng.random() < _TIMESTAMPS else None
            text = entry.text if speaks else ""
            targets.append(self.vocabulary.target(text, code, language_known=entry.language_known, speech=speaks, seconds=seconds))
            heard.append(self.characters.encode(entry.heard) if speaks else [])
        longest = max(len(ids) for ids, _ in targets)
        return Batch(
            features=features,
            frames=torch.tensor([length // _SAMPLES_PER_FRAME // 2 for length in lengths]),
            ids=torch.tensor([ids + [self.vocabulary.end] * (longest - len(ids)) for ids, _ in targets]),
            labels=torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in targets]),
            characters=torch.tensor([number for text in heard for number in text], dtype=torch.long),
            character_counts=torch.tensor([len(text) for text in heard]),
        )

    def _pause(self, usual_from: float, usual_to: float) -> int:
        """Samples of silence: mostly what the listener leaves, sometimes anything up to 0.6 s."""
        seconds = self.rng.uniform(0, 0.6) if self.rng.random() < 0.3 else self.rng.uniform(usual_from, usual_to)
        return int(seconds * TELEPHONE_HZ)
