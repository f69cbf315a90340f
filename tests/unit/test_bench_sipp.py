"""What SIPp counts, and what follows from rows of a soak."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from appliance.bench import goals
from appliance.bench.results import Row
from appliance.bench.sip_levels import Level
from appliance.bench.sipp import Sipp, Tally, agent_scenario, caller_scenario
from appliance.bench.soak import slope, slope_rows


@pytest.fixture
def ended(tmp_path: Path) -> Sipp:
    process = subprocess.Popen(["true"])
    process.wait()
    return Sipp(process, tmp_path / "statistics.csv")


def test_the_last_line_of_the_statistics_counts(ended: Sipp, tmp_path: Path) -> None:
    assert ended.tally() == Tally()
    head = "StartTime;CurrentCall;SuccessfulCall(P);SuccessfulCall(C);FailedCall(C);"
    (tmp_path / "statistics.csv").write_text(f"{head}\nx;3;1;1;0;\nx;2;4;5;1;\n")
    assert ended.tally() == Tally(now=2, good=5, failed=1)
    assert ended.ended
    assert ended.cpu_s == 0.0


def test_scenarios_say_who_speaks_and_what() -> None:
    caller = caller_scenario(Path("/speech/caller.ul"), "1800")
    assert "INVITE sip:1800@[remote_ip]" in caller
    assert 'rtp_stream="/speech/caller.ul,-1,0"' in caller
    assert caller.count("<send") == 3
    assert 'recv request="OPTIONS" optional="true"' in agent_scenario(Path("/speech/agent.ul"))


def level(late_ticks: int = 0, frames_lost: int = 0, failed: int = 0) -> Level:
    return Level(10, {"gateway": 0.2, "asterisk": 0.1, "engines": 0.0, "sipp": 0.1}, late_ticks, frames_lost, failed, 1e9, 20.0)


def test_calls_are_carried_while_one_tick_in_a_hundred_is_late_at_most() -> None:
    assert level(late_ticks=10, frames_lost=200).carried
    assert not level(late_ticks=11).carried
    assert not level(frames_lost=201).carried
    assert not level(failed=1).carried


def test_a_level_s_row_is_by_call() -> None:
    row = level().row([])
    assert (row["gateway CPU % per call"], row["Asterisk CPU % per call"]) == (2.0, 1.0)
    assert (row["utterances"], row["delay beyond p95 ms"]) == (0, None)


def minutes(memory: Sequence[float]) -> list[Row]:
    return [{"failed calls": 1, "gateway MB": value, "Asterisk MB": 80.0} for value in memory]


def test_growth_is_that_of_the_second_half_in_an_hour() -> None:
    growth, error = slope_rows(minutes([100.0, 150.0, 160.0, 170.0, 180.0, 200.0, 201.0, 202.0, 203.0, 204.0]))
    assert (growth["what"], error["what"]) == (goals.GROWTH, goals.ERROR)
    assert (growth["gateway MB"], error["gateway MB"]) == (pytest.approx(60.0), pytest.approx(0.0))
    assert growth["Asterisk MB"] == pytest.approx(0.0)
    assert growth["failed calls"] == 10
    short, unsure = slope_rows(minutes([1.0] * 8))
    assert (short["gateway MB"], unsure["gateway MB"]) == (None, None)


def test_the_error_of_a_slope_is_that_of_the_regression() -> None:
    rise, error = slope([1.0, 2.0, 1.0, 2.0, 1.0])
    assert rise == pytest.approx(0.0)
    assert error == pytest.approx((1.2 / 3 / 10) ** 0.5)


def test_scatter_without_growth_lies_within_two_errors_and_growth_does_not() -> None:
    rng = np.random.default_rng(1)
    scatter = rng.normal(0.0, 1.0, (400, 15))
    within = [abs(rise) <= 2 * error for rise, error in map(slope, scatter)]
    assert 0.88 < sum(within) / len(within) < 0.98
    grown = [rise > 2 * error for rise, error in map(slope, scatter + np.arange(15))]
    assert all(grown)
