"""A second reading of the sound, to doubt a recogniser that recites a sentence it knows for one it does not.

A model folder may hold `ctc.npz`: `weight` (classes, width), `bias` (classes) and `alphabet`, a CTC head over the encoder's
states whose class 0 is blank and class n the n-th character. It spells what it hears without knowing any sentence.
"""

from __future__ import annotations

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
        """How far this reading supports `text`, 0 to 1.

        It is the probability of the text relative to that of the reading's own favourite, as the geometric mean over the
        characters of the text: 1 means that nothing else fits better.

        Args:
            states: encoder states (frames, width) of the utterance without its padding.
            text: what the decoder wrote; characters the reading does not know are left out.
        """
        labels = [self._classes[character] for character in text if character in self._classes]
        logits = states @ self._weight.T + self._bias
        logits -= logits.max(axis=1, keepdims=True)  # the favourite of each frame then has log-probability -log(sum)
        likelihood = forward(np.exp(logits, dtype=np.float64), labels)
        return float(min(1.0, np.exp(likelihood / max(1, len(labels)))))


def forward(frames: npt.NDArray[np.float64], labels: list[int]) -> float:
    """Logarithm of the sum, over all ways to spread `labels` and blanks over the frames, of the product of their values.

    Graves et al. 2006, section 4.1, on values (frames, classes) that need not add up to 1; -inf when the labels do not fit.
    """
    if not len(frames):
        return -np.inf if labels else 0.0
    spread = np.zeros(2 * len(labels) + 1, np.intp)
    spread[1::2] = labels
    skips = np.zeros(len(spread), bool)  # a blank between two different labels may be left out
    skips[3::2] = spread[3::2] != spread[1:-2:2]
    values = frames[:, spread]
    state = np.zeros(len(spread))
    state[:2] = 1.0
    total = 0.0
    for place, value in enumerate(values):
        if place:
            moved = state.copy()
            moved[1:] += state[:-1]
            moved[2:] += np.where(skips[2:], state[:-2], 0.0)
            state = moved
        state = state * value
        sum_ = float(state.sum())
        if sum_ <= 0:
            return -np.inf
        state /= sum_
        total += float(np.log(sum_))
    end = float(state[-2:].sum())
    return total + float(np.log(end)) if end > 0 else -np.inf
