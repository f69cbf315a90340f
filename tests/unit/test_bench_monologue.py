"""A quarter of an hour of speech without a long pause, in virtual time with the real detector; the bench follows more of them."""

import numpy as np
import pytest

from appliance.bench.goals import judged
from appliance.bench.monologue import LENGTHS, MINUTES, Course, compose, follow, lag_at, row
from appliance.interpreter import playout


@pytest.fixture(scope="module")
def course() -> Course:
    """Of translations that take longer than speech."""
    return follow(compose(MINUTES[-1] + 0.5, np.random.default_rng(5)), LENGTHS[-1])


def test_every_word_is_interpreted_once_though_the_utterances_are_cut(course: Course) -> None:
    assert (course.lost, course.twice) == (0, 0)
    assert len(course.lags) > 240, "clause by clause"


# Its memory is the bench's business: that of this process is also what other tests have left.
def test_the_delay_after_1_5_and_15_minutes_is_what_it_shall_be(course: Course) -> None:
    found = judged(["monologue"], {"monologue": [row(course, LENGTHS[-1], MINUTES)]}, quick=False).rows
    assert [goal["what"] for goal in found if not goal["met"] and "memory" not in str(goal["what"])] == []
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
