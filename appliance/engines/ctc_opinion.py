"""A second reading of the sound, to choose among what a decoder proposes, and to doubt one that recites a sentence it knows.

A model folder may hold `ctc.npz`: `weight` (classes, width), `bias` (classes) and `alphabet`, a CTC head over the encoder's
states whose class 0 is blank and class n the n-th character. It spells what it hears without knowing any sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from appliance.engines.base import EngineUnavailable

FILE_NAME = "ctc.npz"
Floats = npt.NDArray[np.float32]


class CtcOpinion:
    def __init__(self, path: Path) -> None:
        """Raises: EngineUnavailable."""
        try:
            with np.load(path) as head:
                self._weight: Floats = head["weight"].astype(np.float32)
                self._bias: Floats = head["bias"].astype(np.float32)
                alphabet = str(head["alphabet"])
        except (OSError, KeyError, ValueError) as error:
            raise EngineUnavailable(f"{path}: {error}") from error
        if self._weight.shape[0] != len(alphabet) + 1:
            raise EngineUnavailable(f"{path}: {self._weight.shape[0]} classes for {len(alphabet)} characters and blank")
        self._classes = {character: number for number, character in enumerate(alphabet, start=1)}

    @classmethod
    def of(cls, folder: Path) -> CtcOpinion | None:
        """None when the model has none. Raises: EngineUnavailable."""
        path = folder / FILE_NAME
        return cls(path) if path.is_file() else None

    def agreement(self, states: Floats, text: str) -> float:
        """How far this reading supports `text`, see `Support`."""
        return self.supports(states, [text])[0].agreement

    def supports(self, states: Floats, texts: Sequence[str]) -> list[Support]:
        """What this reading thinks of each text.

        Args:
            states: encoder states (frames, width) of the utterance without its padding.
            texts: what the decoder wrote; characters the reading does not know are left out.
        """
        labels = [[self._classes[character] for character in text if character in self._classes] for text in texts]
        logits = states @ self._weight.T + self._bias
        logits -= logits.max(axis=1, keepdims=True)  # the favourite of each frame then has log-probability -log(sum)
        likelihoods = forward(np.exp(logits, dtype=np.float64), labels)
        return [Support(value, float(min(1.0, np.exp(value / max(1, len(item)))))) for value, item in zip(likelihoods, labels, strict=True)]


@dataclass(frozen=True, slots=True)
class Support:
    log_likelihood: float
    """Of the text, relative to this reading's own favourite characters; -inf when the text does not fit into the frames."""
    agreement: float
    """The same as a geometric mean over the characters, 0 to 1: 1 means that nothing else fits better."""


def forward(frames: npt.NDArray[np.float64], texts: Sequence[Sequence[int]]) -> list[float]:
    """Log-likelihood of each text: the sum, over all ways to spread its labels and blanks over the frames, of the product of their values.

    Graves et al. 2006, section 4.1, on values (frames, classes) that need not add up to 1; -inf when the labels do not fit.
    All texts go through the frames together.
    """
    if not len(frames):
        return [-np.inf if labels else 0.0 for labels in texts]
    width = 1 + 2 * max(map(len, texts), default=0)
    spread = np.zeros((len(texts), width), np.intp)
    for row, labels in zip(spread, texts, strict=True):
        row[1 : 2 * len(labels) : 2] = labels
    skips = np.zeros(spread.shape, bool)  # a blank between two different labels may be left out
    skips[:, 3::2] = spread[:, 3::2] != spread[:, 1:-2:2]
    state = np.zeros(spread.shape)
    state[:, :2] = 1.0
    total = np.zeros(len(texts))
    for place, value in enumerate(frames):
        if place:
            moved = state.copy()
            moved[:, 1:] += state[:, :-1]
            moved[:, 2:] += np.where(skips[:, 2:], state[:, :-2], 0.0)
            state = moved
        state = state * value[spread]
        sums = np.maximum(state.sum(axis=1), np.finfo(float).tiny)
        state /= sums[:, None]
        total += np.log(sums)
    with np.errstate(divide="ignore"):
        ends = [np.log(row[max(0, 2 * len(labels) - 1) : 2 * len(labels) + 1].sum()) for row, labels in zip(state, texts, strict=True)]
    return [float(value + end) for value, end in zip(total, ends, strict=True)]
