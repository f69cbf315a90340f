"""What SIPp counts, and what follows from rows of a soak."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance.bench.sip_levels import Level
from appliance.bench.sipp import Sipp, Tally, agent_scenario, caller_scenario
from appliance.bench.soak import slope_row


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


def test_growth_is_that_of_the_second_half_in_an_hour() -> None:
    memory = [100.0, 150.0, 200.0, 201.0, 202.0, 203.0]
    row = slope_row([{"failed calls": 1, "gateway MB": value, "Asterisk MB": 80.0} for value in memory])
    assert row["gateway MB"] == pytest.approx(60.0)
    assert row["Asterisk MB"] == pytest.approx(0.0)
    assert row["failed calls"] == 6
    assert slope_row([{"failed calls": 0, "gateway MB": 1.0, "Asterisk MB": 1.0}])["gateway MB"] is None
