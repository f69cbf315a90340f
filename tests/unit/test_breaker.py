"""When a server that keeps failing is left alone."""

from __future__ import annotations

from appliance.modelserver.breaker import Breaker


def opened() -> Breaker:
    breaker = Breaker(failures=3, open_s=1.0)
    for _ in range(3):
        breaker.failed(10.0, "no answer")
    return breaker


def test_three_failures_in_a_row_open_it() -> None:
    breaker = Breaker(failures=3, open_s=1.0)
    breaker.failed(10.0, "no answer")
    breaker.failed(10.0, "no answer")
    assert breaker.ask(10.0) == "pass"
    breaker.failed(10.0, "no answer")
    assert breaker.ask(10.0) == "refuse"
    assert breaker.reason == "no answer"


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = Breaker(failures=3, open_s=1.0)
    for _ in range(5):
        breaker.failed(10.0, "no answer")
        breaker.failed(10.0, "no answer")
        breaker.succeeded()
    assert breaker.ask(10.0) == "pass"


def test_only_one_probe_goes_out_when_the_time_is_over() -> None:
    breaker = opened()
    assert breaker.ask(10.99) == "refuse"
    assert breaker.ask(11.0) == "probe"
    assert breaker.ask(11.0) == "refuse"


def test_a_good_probe_closes_it_and_a_bad_one_starts_the_time_again() -> None:
    breaker = opened()
    breaker.ask(11.0)
    breaker.failed(11.5, "still nothing")
    assert breaker.ask(12.4) == "refuse"
    assert breaker.ask(12.5) == "probe"
    breaker.succeeded()
    assert breaker.ask(12.5) == "pass"


def test_an_abandoned_probe_lets_the_next_request_probe() -> None:
    breaker = opened()
    breaker.ask(11.0)
    breaker.abandoned()
    assert breaker.ask(11.0) == "probe"


def test_requests_under_way_when_it_opened_do_not_keep_it_open() -> None:
    breaker = opened()
    breaker.failed(10.9, "late failure")
    assert breaker.ask(11.0) == "probe"


def test_a_failure_that_says_enough_opens_it_at_once() -> None:
    breaker = Breaker(failures=3, open_s=1.0)
    breaker.failed(10.0, "nobody listens", at_once=True)
    assert breaker.ask(10.5) == "refuse"
    assert breaker.ask(11.0) == "probe"
