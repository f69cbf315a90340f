"""Samples of a recording get the time they were written, whatever the polls that watched it."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.phone.timeline import on_clock, timeline

RATE = 8000
PACKET = 160


def watched(writes: list[float], poll_s: float = 0.01, seed: int = 1) -> list[tuple[float, int]]:
    """What polls about every `poll_s` see of packets written at the given times."""
    rng = np.random.default_rng(seed)
    polls: list[tuple[float, int]] = []
    now, count = writes[0] - 0.1, 0
    while count < len(writes):
        now += poll_s * rng.uniform(0.7, 1.6)
        seen = sum(write <= now for write in writes)
        if seen > count:
            count = seen
            polls.append((now, seen * PACKET))
    return polls


def steady(start: float, packets: int) -> list[float]:
    return [start + 0.020 * number for number in range(packets)]


def test_times_follow_the_stream_and_not_the_polls() -> None:
    writes = steady(100.0, 200)
    line = timeline(RATE, watched(writes))
    errors = [line.time_of(number * PACKET) - (writes[number] - 0.020) for number in range(200)]
    assert min(errors) >= -1e-9, "no sample can be written after it was seen"
    assert max(errors) < 0.004


def test_a_pause_of_the_stream_moves_what_follows_and_nothing_before() -> None:
    writes = steady(100.0, 100) + steady(100.0 + 2.0 + 0.4, 100)
    line = timeline(RATE, watched(writes))
    assert line.time_of(50 * PACKET) == pytest.approx(100.98, abs=0.005)
    assert line.time_of(98 * PACKET) == pytest.approx(101.94, abs=0.005)
    assert line.time_of(101 * PACKET) == pytest.approx(102.4, abs=0.005)


def test_packets_that_came_late_in_a_burst_keep_the_time_they_were_due() -> None:
    writes = steady(100.0, 200)
    writes[80:90] = [writes[90]] * 10
    line = timeline(RATE, watched(writes))
    assert line.time_of(85 * PACKET) == pytest.approx(100.0 + 84 * 0.020, abs=0.005)


def test_layout_puts_samples_where_they_were_sent() -> None:
    writes = steady(100.0, 100) + steady(102.4, 100)
    samples = np.arange(1, 200 * PACKET + 1, dtype=np.int32) % 30_000 + 1
    laid = on_clock(samples.astype(np.int16), timeline(RATE, watched(writes)), 99.0, 105.0)
    assert len(laid) == 6 * RATE
    first = int(np.flatnonzero(laid)[0])
    assert first / RATE == pytest.approx(0.98, abs=0.005)
    assert np.array_equal(laid[first : first + 100 * PACKET], samples[: 100 * PACKET]), "a steady stream stays contiguous"
    assert not laid[round(3.0 * RATE) : round(3.37 * RATE)].any(), "nothing was sent in the pause"
    again = round(3.385 * RATE)
    assert laid[again : again + 8000].all()


def test_layout_clips_what_lies_outside() -> None:
    writes = steady(100.0, 100)
    samples = np.ones(100 * PACKET, np.int16)
    laid = on_clock(samples, timeline(RATE, watched(writes)), 100.5, 101.0)
    assert len(laid) == RATE // 2
    assert laid.all()


def test_nothing_recorded_is_silence() -> None:
    empty = timeline(RATE, [])
    assert not on_clock(np.zeros(0, np.int16), empty, 0.0, 1.0).any()
    with pytest.raises(ValueError, match="nothing was recorded"):
        empty.time_of(0)
