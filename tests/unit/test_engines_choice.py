"""How the decoder and the second reading choose a hypothesis together; the decoder's answers are scripted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.engines.base import RecogniseJob, Recognition
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
    logits: list[Any] = field(default_factory=list)


@dataclass
class Model:
    """Answers of a greedy decode and of a beam; `states` are the encoder's, `empty` is the probability that nothing is written."""

    states: np.ndarray
    greedy: Answer
    beam: Answer
    empty: float = 0.1
    is_multilingual: bool = True
    asked: list[tuple[int, int]] = field(default_factory=list)
    """Beam size and longest answer, the prompt included."""

    def encode(self, features: Any, to_cpu: bool) -> np.ndarray:
        return self.states[None]

    def generate(self, states: Any, prompts: list[list[int]], *, beam_size: int, max_length: int, **options: Any) -> list[Answer]:
        self.asked.append((beam_size, max_length))
        if beam_size > 1:
            return [self.beam]
        shares = np.full(END + len(Tokenizer.names), (1 - self.empty) / (END + len(Tokenizer.names) - 1))
        shares[END] = self.empty
        return [replace(self.greedy, logits=[[np.log(shares)]])]


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
    return recognise(model, opinion, partial=partial).text


def recognise(model: Model, opinion: CtcOpinion | None, *, partial: bool = False) -> Recognition:
    decoder = WhisperDecoder(model, Tokenizer(), beam_size=4, opinion=opinion)  # type: ignore[arg-type]
    job = RecogniseJob(np.zeros(320 * len(model.states), np.int16), "ta", partial=partial)
    return decoder.decode(np.zeros((1, 80, 50), np.float32), [job])[0]


def test_what_the_sound_spells_wins_over_what_the_decoder_likes_a_little_better(opinion: CtcOpinion | None) -> None:
    model = Model(spelt("abcab"), Answer(ids("abcca"), [-0.1]), Answer(ids("abcca", "abcab"), [-0.1, -0.3]))
    assert decode(model, opinion) == "abcab"
    assert decode(model, None) == "abcca"


def test_an_empty_hypothesis_among_others_is_no_answer(opinion: CtcOpinion | None) -> None:
    model = Model(spelt("abc"), Answer(ids("abc"), [-0.1]), Answer(ids("abb", "abc", ""), [-0.1, -0.4, -math.inf]))
    assert decode(model, opinion) == "abc"


def test_noise_that_the_decoder_declines_stays_empty(opinion: CtcOpinion | None) -> None:
    model = Model(spelt("abc"), Answer(ids(""), [-math.inf], 0.9), Answer(ids("abb", ""), [-0.9, -math.inf], 0.9), empty=0.9)
    found = recognise(model, opinion)
    assert (found.text, found.avg_logprob, found.no_speech_prob) == ("", 0.0, 0.9)


def test_speech_that_the_decoder_declines_has_the_best_guess_beside_it(opinion: CtcOpinion | None) -> None:
    model = Model(spelt("abc"), Answer(ids(""), [-math.inf]), Answer(ids("abb", "abc"), [-0.9, -1.1]), empty=0.9)
    found = recognise(model, opinion)
    assert (found.text, found.empty_prob) == ("abc", pytest.approx(0.9))


def test_how_near_an_utterance_came_to_nothing_takes_one_step(opinion: CtcOpinion | None) -> None:
    model = Model(spelt("abc"), Answer(ids(""), [-math.inf]), Answer(ids("abc"), [-0.1]), empty=0.2)
    assert recognise(model, opinion).empty_prob == pytest.approx(0.2)
    (greedy, one_step), (beam, longest) = model.asked
    assert (greedy, one_step, beam) == (1, 4, 4)
    assert longest > 16


def test_a_partial_decode_is_greedy(opinion: CtcOpinion | None) -> None:
    model = Model(spelt("abc"), Answer(ids("abb"), [-0.1]), Answer(ids("abc"), [-0.1]))
    found = recognise(model, opinion, partial=True)
    assert (found.text, found.empty_prob) == ("abb", pytest.approx(0.1))
    assert [beam for beam, _ in model.asked] == [1]
