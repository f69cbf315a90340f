"""How the decoder and the second reading choose a hypothesis together; the decoder's answers are scripted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.engines.base import RecogniseJob
from appliance.engines.ctc_opinion import CtcOpinion
from appliance.engines.whisper_decoding import WhisperDecoder

LETTERS = "abc"
END = 10


class Tokenizer:
    """Token n is letter n; special tokens lie from `END` on."""

    names = ("endoftext", "startoftranscript", "transcribe", "notimestamps", "ta", "te", "kn", "mr", "hi")

    def token_to_id(self, token: str) -> int | None:
        name = token[2:-2]
        return END + self.names.index(name) if name in self.names else None

    def decode(self, ids: list[int]) -> str:
        return "".join(LETTERS[number] for number in ids)


@dataclass
class Answer:
    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float = 0.0


@dataclass
class Model:
    """Answers of a greedy decode and of a beam; `states` are the encoder's."""

    states: np.ndarray
    greedy: Answer
    beam: Answer
    is_multilingual: bool = True
    asked: list[int] = field(default_factory=list)

    def encode(self, features: Any, to_cpu: bool) -> np.ndarray:
        return self.states[None]

    def generate(self, states: Any, prompts: list[list[int]], *, beam_size: int, **options: Any) -> list[Answer]:
        self.asked.append(beam_size)
        return [self.greedy if beam_size == 1 else self.beam]


def spelt(text: str) -> np.ndarray:
    """States (frames, 4) that are logits of blank and the letters and spell `text`, two frames a letter, then one blank."""
    states = np.zeros((3 * len(text), 4), np.float32)
    for place, letter in enumerate(text):
        states[3 * place : 3 * place + 2, LETTERS.index(letter) + 1] = 8
        states[3 * place + 2, 0] = 8
    return states


def ids(*texts: str) -> list[list[int]]:
    return [[LETTERS.index(letter) for letter in text] for text in texts]


@pytest.fixture
def opinion(tmp_path: Path) -> CtcOpinion | None:
    np.savez(tmp_path / "ctc.npz", weight=np.eye(4, dtype=np.float16), bias=np.zeros(4), alphabet=np.array(LETTERS))
    return CtcOpinion.of(tmp_path)


def decode(model: Model, opinion: CtcOpinion | None, *, partial: bool = False) -> str:
    decoder = WhisperDecoder(model, Tokenizer(), beam_size=4, opinion=opinion)  # type: ignore[arg-type]
    job = RecogniseJob(np.zeros(320 * len(model.states), np.int16), "ta", partial=partial)
    return decoder.decode(np.zeros((1, 80, 50), np.float32), [job])[0].text


def test_what_the_sound_spells_wins_over_what_the_decoder_likes_a_little_better(opinion: CtcOpinion | None) -> None:
    model = Model(spelt("abcab"), Answer(ids("abcca"), [-0.1]), Answer(ids("abcca", "abcab"), [-0.1, -0.3]))
    assert decode(model, opinion) == "abcab"
    assert decode(model, None) == "abcca"


def test_an_empty_hypothesis_among_others_is_no_answer(opinion: CtcOpinion | None) -> None:
    model = Model(spelt("abc"), Answer(ids("abc"), [-0.1]), Answer(ids("abb", "abc", ""), [-0.1, -0.4, -math.inf]))
    assert decode(model, opinion) == "abc"


def test_a_decoder_that_declines_to_answer_is_not_overruled(opinion: CtcOpinion | None) -> None:
    model = Model(spelt("abc"), Answer(ids(""), [-math.inf]), Answer(ids("abb", ""), [-0.9, -math.inf]))
    assert decode(model, opinion) == ""


def test_a_partial_decode_is_greedy(opinion: CtcOpinion | None) -> None:
    model = Model(spelt("abc"), Answer(ids("abb"), [-0.1]), Answer(ids("abc"), [-0.1]))
    assert decode(model, opinion, partial=True) == "abb"
    assert model.asked == [1]
