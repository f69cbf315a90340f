import pytest

from appliance.config.schema import Listen
from appliance.speech.endpoint import Heard, endpoint_wait_s

LISTEN = Listen(endpoint_min_s=0.35, endpoint_max_s=0.7, max_utterance_s=20.0)


def wait(text: str | None, stable: bool = True, **more: float) -> float:
    return endpoint_wait_s(LISTEN, None if text is None else Heard(text, stable), **more)


def test_a_finished_sentence_said_twice_needs_the_shortest_pause() -> None:
    assert wait("मेरा printer खराब है.") == pytest.approx(0.35)
    assert wait("क्या हुआ?") == pytest.approx(0.35)


def test_doubt_makes_the_pause_longer() -> None:
    finished, unsure, unknown, unfinished = wait("है."), wait("है.", False), wait(None), wait("मेरा printer", False)
    assert finished < unsure < unknown < unfinished
    assert wait("मेरा printer,") == unfinished == pytest.approx(0.7)


def test_a_recogniser_without_punctuation_does_not_cost_the_longest_pause() -> None:
    assert wait("मेरा printer खराब है") == wait("") == pytest.approx(0.525)


def test_who_pauses_between_digits_is_given_a_little_more() -> None:
    assert wait("4 0 7.", inner_pause_s=0.42) == pytest.approx(0.52)
    assert wait("4 0 7.", inner_pause_s=2.0) == pytest.approx(0.7)


def test_towards_the_greatest_length_a_gap_between_words_is_enough() -> None:
    lengths = [wait("मेरा printer,", length_s=length) for length in (12, 14, 16, 18, 20, 30)]
    assert lengths[0] == pytest.approx(0.7)
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] == lengths[-2] == pytest.approx(0.2)


def test_shortest_above_longest_is_the_shortest() -> None:
    listen = Listen(endpoint_min_s=0.6, endpoint_max_s=0.4)
    assert endpoint_wait_s(listen, None) == pytest.approx(0.6)
