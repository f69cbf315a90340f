"""Speech without a long pause, in virtual time with the real detector; the bench follows a quarter of an hour of it."""

import numpy as np
import pytest

from appliance.bench.monologue import Course, compose, follow, lag_at, row
from appliance.interpreter import playout

MONOLOGUE = compose(2.6, np.random.default_rng(5))


@pytest.fixture(scope="module")
def course() -> Course:
    return follow(MONOLOGUE, 1.2)


def test_every_word_is_interpreted_once_though_the_utterances_are_cut(course: Course) -> None:
    assert (course.lost, course.twice) == (0, 0)
    assert len(course.lags) > 40, "clause by clause"


def test_the_delay_does_not_grow_even_when_translations_take_longer_than_speech(course: Course) -> None:
    first, second = lag_at(course, 1.0, 20.0), lag_at(course, 2.2, 20.0)
    assert first is not None
    assert second is not None
    assert second == pytest.approx(first, rel=0.2)
    assert max(lag for _, lag in course.lags) < 8.0


def test_without_catching_up_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playout, "FASTEST", 1.0)
    slow = follow(compose(1.5, np.random.default_rng(5)), 1.2)
    first, second = lag_at(slow, 0.5, 15.0), lag_at(slow, 1.4, 15.0)
    assert first is not None
    assert second is not None
    assert second > 1.4 * first


def test_a_row_holds_the_delays_and_how_they_differ() -> None:
    course = Course([(30.0, 2.0), (60.0, 2.2), (90.0, 2.4), (300.0, 2.5), (900.0, 2.31)], [50.0, 51.0, 50.5], 100, 0, 1)
    found = row(course, 1.1, (1, 5, 15))
    assert (found["delay at 1 min s"], found["delay at 5 min s"], found["delay at 15 min s"]) == (2.2, 2.5, 2.31)
    assert found["spread %"] == pytest.approx(13.6)
    assert row(course, 1.1, (1, 5, 20))["spread %"] is None
