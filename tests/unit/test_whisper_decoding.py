"""What is made of a model's answers; the model is scripted, its tokenizer real."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from appliance.engines.base import RecogniseJob
from appliance.engines.whisper_decoding import WhisperDecoder
from appliance.training.recogniser_tokens import Vocabulary, train_vocabulary

JOB = RecogniseJob(np.zeros(16_000, np.float32), "ta")
FEATURES = np.zeros((1, 80, 150), np.float32)


@dataclass
class Answer:
    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float
    logits: list[Any] = field(default_factory=list)


class Model:
    """Writes nothing with probability `empty`, else `text`, heard or not."""

    is_multilingual = True

    def __init__(self, vocabulary: Vocabulary, text: str, empty: float, no_speech: float) -> None:
        self.ids = vocabulary.encode(text)
        self.no_speech = no_speech
        self.declines = empty > 0.5
        shares = np.full(vocabulary.size, 1e-9)
        shares[vocabulary.end], shares[self.ids[0]] = empty, 1 - empty
        self.first = np.log(shares)
        self.asked: list[dict[str, Any]] = []

    def encode(self, features: object, to_cpu: bool) -> object:
        return features

    def generate(self, states: object, prompts: list[list[int]], **options: Any) -> list[Answer]:
        self.asked.append(options)
        greedy = options["beam_size"] == 1
        ids = [] if greedy and self.declines else self.ids
        return [Answer([ids], [-0.5 if ids else 0.0], self.no_speech, [[self.first]] if greedy else []) for _ in prompts]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return train_vocabulary(["சரி", "ठीक है"])


def decode(vocabulary: Vocabulary, empty: float, no_speech: float, *, beam: int = 4, partial: bool = False) -> tuple[Any, Model]:
    model = Model(vocabulary, "சரி", empty, no_speech)
    decoder = WhisperDecoder(model, vocabulary.tokenizer, beam_size=beam)  # type: ignore[arg-type]
    return decoder.decode(FEATURES, [RecogniseJob(JOB.samples, "ta", partial=partial)])[0], model


def test_an_utterance_is_read_by_the_beam_and_told_how_near_it_came_to_nothing(vocabulary: Vocabulary) -> None:
    found, model = decode(vocabulary, empty=0.2, no_speech=0.0)
    assert found.text == "சரி"
    assert found.empty_prob == pytest.approx(0.2, abs=1e-4)
    assert [asked["beam_size"] for asked in model.asked] == [1, 4]


def test_speech_that_is_declined_still_has_the_best_guess_of_the_beam(vocabulary: Vocabulary) -> None:
    found, _ = decode(vocabulary, empty=0.9, no_speech=0.1)
    assert (found.text, found.no_speech_prob) == ("சரி", 0.1)
    assert found.empty_prob == pytest.approx(0.9, abs=1e-4)


def test_noise_that_is_declined_stays_empty(vocabulary: Vocabulary) -> None:
    found, _ = decode(vocabulary, empty=0.9, no_speech=0.9)
    assert (found.text, found.avg_logprob) == ("", 0.0)


def test_a_partial_is_decoded_once(vocabulary: Vocabulary) -> None:
    found, model = decode(vocabulary, empty=0.2, no_speech=0.0, partial=True)
    assert found.text == "சரி"
    assert found.empty_prob == pytest.approx(0.2, abs=1e-4)
    assert [asked["max_length"] > 10 for asked in model.asked] == [True]
