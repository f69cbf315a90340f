"""The second reading: a CTC forward sum, and what it says of right and wrong texts."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from appliance.engines.base import EngineUnavailable
from appliance.engines.ctc_opinion import CtcOpinion, forward


def collapse(path: tuple[int, ...]) -> list[int]:
    return [number for place, number in enumerate(path) if number and (place == 0 or path[place - 1] != number)]


@pytest.mark.parametrize("labels", [[], [1], [1, 2], [1, 1], [2, 1, 2], [1, 1, 2]])
def test_the_forward_sum_is_the_sum_over_all_paths(labels: list[int]) -> None:
    frames = np.random.default_rng(3).random((5, 3))
    paths = [path for path in itertools.product(range(3), repeat=5) if collapse(path) == labels]
    expected = sum(math.prod(frames[place, number] for place, number in enumerate(path)) for path in paths)
    assert forward(frames, [labels]) == [pytest.approx(math.log(expected))]
    longer = [*labels, 2, 1]
    assert forward(frames, [longer, labels])[1] == pytest.approx(math.log(expected))


def test_labels_that_do_not_fit_are_impossible() -> None:
    assert forward(np.ones((2, 3)), [[1, 2, 1], [1, 1], [1, 2]])[:2] == [-math.inf, -math.inf]


@pytest.fixture
def opinion(tmp_path: Path) -> CtcOpinion:
    """States are the logits of blank, a, b, c themselves."""
    np.savez(tmp_path / "ctc.npz", weight=np.eye(4, dtype=np.float16), bias=np.zeros(4), alphabet=np.array("abc"))
    found = CtcOpinion.of(tmp_path)
    assert found is not None
    return found


def spelling(text: str) -> np.ndarray:
    """States that spell `text` clearly, each letter twice, with blanks between."""
    states = np.zeros((3 * len(text), 4), np.float32)
    for place, letter in enumerate(text):
        states[3 * place : 3 * place + 2, "abc".index(letter) + 1] = 8
        states[3 * place + 2, 0] = 8
    return states


def test_the_text_that_is_spelt_is_supported_and_others_the_less_the_more_they_differ(opinion: CtcOpinion) -> None:
    states = spelling("abcabcabc")
    right, near, far = (opinion.agreement(states, text) for text in ("abcabcabc", "abcabaabc", "cccbbbaaa"))
    assert right > 0.95
    assert right > near > far
    assert far < 0.1


def test_marks_the_reading_does_not_know_do_not_count(opinion: CtcOpinion) -> None:
    states = spelling("abc")
    assert opinion.agreement(states, "abc?") == opinion.agreement(states, "abc")


def test_nothing_is_supported_by_silence_only(opinion: CtcOpinion) -> None:
    silence = np.zeros((20, 4), np.float32)
    silence[:, 0] = 8
    assert opinion.agreement(silence, "") > 0.9
    assert opinion.agreement(silence, "abc") < 0.1
    assert opinion.agreement(silence[:0], "a") == 0


def test_a_model_without_a_second_reading_has_none_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    assert CtcOpinion.of(tmp_path) is None
    np.savez(tmp_path / "ctc.npz", weight=np.eye(4), bias=np.zeros(4), alphabet=np.array("ab"))
    with pytest.raises(EngineUnavailable, match="4 classes for 2 characters and blank"):
        CtcOpinion.of(tmp_path)
    (tmp_path / "ctc.npz").write_bytes(b"no archive")
    with pytest.raises(EngineUnavailable, match=r"ctc\.npz"):
        CtcOpinion.of(tmp_path)
