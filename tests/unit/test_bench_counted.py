import pytest

from appliance.bench.counted import Counted, counted, counter
from appliance.bench.gateway import _why
from appliance.telemetry import metrics

EXPOSITION = """\
# TYPE setu_late_ticks counter
setu_late_ticks_total 7.0
setu_media_dropped_frames_total{direction="in",reason="unread-in"} 2.0
setu_media_dropped_frames_total{direction="out",reason="late-out"} 3.0
setu_tick_seconds_bucket{le="0.002"} 10.0
setu_tick_seconds_bucket{le="0.004"} 90.0
setu_tick_seconds_bucket{le="0.02"} 100.0
setu_tick_seconds_bucket{le="+Inf"} 100.0
setu_calls_refused_total{reason="busy"} 33.0
setu_fallbacks_total{reason="one-moment"} 5.0
setu_fallbacks_total{reason="not-accepting"} 2.0
"""


def test_what_a_worker_tells_of_itself() -> None:
    seen = counted(EXPOSITION)
    assert (seen.late_ticks, seen.dropped) == (7, 5)
    assert seen.ticks == {0.002: 10, 0.004: 90, 0.02: 100, float("inf"): 100}
    assert seen.refused == {"busy": 33, "not-accepting": 2}


def test_the_names_are_those_that_workers_export() -> None:
    metrics.TICK.observe(0.001)
    metrics.CALLS_REFUSED.labels("full").inc()
    metrics.LATE_TICKS.inc()
    before = counted(metrics.render()[0].decode())
    metrics.TICK.observe(0.007)
    metrics.CALLS_REFUSED.labels("full").inc(2)
    metrics.LATE_TICKS.inc(4)
    more = counted(metrics.render()[0].decode()).since(before)
    assert (more.late_ticks, more.refused) == (4, {"full": 2})
    assert more.tick_s(1.0) == 0.008


def test_shares_of_ticks_lie_between_the_steps_and_the_longest_one_is_in_the_last_step() -> None:
    seen = counted(EXPOSITION)
    assert seen.tick_s(0.5) == pytest.approx(0.003)
    assert seen.tick_s(0.95) == pytest.approx(0.012)
    assert seen.tick_s(1.0) == 0.02
    assert Counted().tick_s(0.5) is None
    assert seen.since(seen).tick_s(0.5) is None


def test_a_call_that_was_sent_away_and_refused_by_nobody_was_given_up() -> None:
    assert _why({"busy": 3}, 5) == {"busy": 3, "given up": 2}
    assert _why({"busy": 3}, 3) == {"busy": 3}
    assert _why({}, 0) == {}


def test_a_counter_is_the_sum_over_its_labels() -> None:
    text = '# TYPE x_total counter\nx_total{a="1"} 2.0\nx_total{a="2"} 3.0\nx_total_more 9.0\ny_total 4.0\n'
    assert [counter(text, name) for name in ("x_total", "y_total", "z_total")] == [5, 4, 0]


def test_two_workers_together_have_counted_what_each_has() -> None:
    one, other = counted(EXPOSITION), Counted(1, 2, {0.002: 5, float("inf"): 9}, {"busy": 1, "full": 4})
    both = one.with_(other)
    assert (both.late_ticks, both.dropped) == (8, 7)
    assert both.ticks == {0.002: 15, 0.004: 90, 0.02: 100, float("inf"): 109}
    assert both.refused == {"busy": 34, "not-accepting": 2, "full": 4}
    assert Counted().with_(one) == one
