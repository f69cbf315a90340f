from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.bench import batching, calls, window
from appliance.bench.batching import Answers
from appliance.bench.counted import Counted
from appliance.bench.fixed_engines import ENGINES_S
from appliance.bench.load import Spoken
from appliance.bench.window import Window
from appliance.config.load import load
from appliance.phone.report import Audio, CallReport, Delays, Language, Silence, Utterance
from appliance.stack.defaults import write_config
from appliance.store.transcripts import UtteranceText

WALL_OFFSET_S = 1_000_000.0
WINDOW = Window(
    offered=10,
    calls=10,
    legs=20,
    began_s=100.0,
    ended_s=110.0,
    gateway_cpu=0.123,
    load_cpu=0.5,
    counted=Counted(),
    frames_late=3,
    frames_lost=0,
    load_late=0,
    memory_mb_per_call=1.5,
)


def recorded(at_s: float, outcome: str = "interpreted", endpoint_wait: float = 0.35) -> UtteranceText:
    return UtteranceText(
        lane="caller_to_agent",
        utterance=1,
        segment=1,
        last_segment=True,
        started_s=0.0,
        ended_s=0.0,
        recorded_at=datetime.fromtimestamp(at_s + WALL_OFFSET_S, UTC),
        played_at=None,
        source_language="ta",
        target_language="hinglish",
        recognised="",
        translated="",
        confidence=1.0,
        outcome=outcome,
        reason="",
        delays={"endpoint_wait": endpoint_wait},
        flagged=False,
    )


def test_a_row_of_the_gateway_counts_its_own_window_and_leaves_out_what_nobody_can_explain() -> None:
    engines_s = 0.16 + ENGINES_S
    spoken = [
        Spoken("x", "caller_to_agent", 99.9, 100.5),  # before
        Spoken("x", "caller_to_agent", 101.0, 101.0 + engines_s + 0.030),
        Spoken("x", "caller_to_agent", 104.0, 104.0 + 0.70 + 0.010),  # a long wait for the end
        Spoken("x", "agent_to_caller", 105.0, 105.4),  # nothing recorded
        Spoken("y", "caller_to_agent", 106.0, None),  # nothing heard
        Spoken("x", "caller_to_agent", 109.0, 112.0),  # recorded only long before
    ]
    records = {("x", "caller_to_agent"): [recorded(101.44), recorded(104.70, endpoint_wait=0.70), recorded(105.0, "refused")]}
    row = window.row(WINDOW, spoken, records, WALL_OFFSET_S)
    assert row["utterances"] == 5
    assert row["not heard"] == 1
    assert (row["delay p50 ms"], row["delay p99 ms"]) == (pytest.approx(10.0, abs=0.1), pytest.approx(30.0, abs=0.1))
    assert (row["calls"], row["gateway CPU %"], row["frames late"], row["memory per call MB"]) == (10, 12.3, 3, 1.5)


def test_a_few_late_frames_are_no_reason_to_stop_and_many_are() -> None:
    assert WINDOW.frames == 10_000
    assert not WINDOW.late
    assert replace(WINDOW, frames_late=60, frames_lost=60).late
    assert replace(WINDOW, counted=Counted(late_ticks=6)).late


def test_a_row_of_the_gateway_tells_of_ticks_and_of_calls_that_were_turned_away() -> None:
    row = window.row(WINDOW, [], {}, WALL_OFFSET_S)
    assert (row["offered"], row["turned away"], row["tick p99 ms"]) == (10, "none", None)
    seen = replace(WINDOW, offered=15, turned_away={"busy": 4, "full": 1}, counted=Counted(ticks={0.004: 50, 0.008: 100}))
    row = window.row(seen, [], {}, WALL_OFFSET_S)
    assert (row["offered"], row["calls"], row["turned away"]) == (15, 10, "4 busy, 1 full")
    assert (row["tick p50 ms"], row["tick p99 ms"], row["tick max ms"]) == (4.0, 7.9, 8.0)


def test_a_row_of_batching_sets_both_servers_side_by_side() -> None:
    batched = Answers([0.025] * 40, [0.003] * 40, [0.0004] * 40, [0.001] * 40, [4] * 40, span_s=1.0)
    single = Answers([0.080] * 10, [0.060] * 10, [0.0004] * 10, [0.001] * 10, [1] * 10, span_s=1.0)
    row = batching.row(4, batched, single)
    assert (row["callers"], row["requests/s"], row["one by one requests/s"], row["times"]) == (4, 40.0, 10.0, 4.0)
    assert (row["batch mean"], row["batcher overhead ms"], row["p95 ms"], row["one by one p95 ms"]) == (4.0, 0.4, 25.0, 80.0)
    assert batching.row(64, batched, Answers(span_s=1.0))["times"] is None


def utterance(total: float | None, outcome: str = "interpreted") -> Utterance:
    stages = dict.fromkeys(("endpoint_wait", "recognise", "identify", "translate", "render", "speak", "play"), 0.0)
    return Utterance(
        lane="caller_to_agent",
        source_file="a.wav",
        reference=None,
        expected=None,
        recognised="",
        translated="",
        heard="",
        outcome=outcome,
        segments=1,
        delay_s=Delays(total=total, last_part=total, line=None, **stages),
        confidence=1.0,
        started_s=0.0,
        ended_s=1.0,
        heard_from_s=None,
        heard_to_s=None,
        values_expected=(),
        values_heard=(),
    )


def report(first_audio_s: float | None, *rows: Utterance, through: bool = True) -> CallReport:
    return CallReport(
        id="x",
        number="1800",
        language=Language(expected="ta", detected="ta", detected_after_s=1.0, detected_in_utterance=1, how="votes", votes=[]),
        outcome="interpreted",
        through=through,
        closed_early="",
        first_audio_s=first_audio_s,
        connected_s=1.0,
        duration_s=30.0,
        utterances=list(rows),
        audio=Audio("a.wav", "b.wav"),
        longest_silence_s=Silence(0.0, 0.0),
    )


def test_the_total_of_calls_has_all_their_utterances_and_the_slowest_greeting() -> None:
    reports = [report(0.2, utterance(0.5), utterance(0.7)), report(0.3, utterance(None), utterance(2.0, "refused"), through=False)]
    row = calls.total_row(reports)
    assert (row["utterances"], row["lost"], row["went through"], row["INVITE to greeting s"]) == (4, 2, False, 0.3)
    assert row["lost how"] == "1 not heard, 1 refused"
    assert (row["delay p50 s"], row["delay max s"]) == (0.7, 2.0)
    assert calls.total_row([report(None)])["delay p50 s"] is None
    assert calls.total_row([report(None)])["lost how"] is None


def test_agents_are_added_to_a_configuration_once(tmp_path: Path) -> None:
    file = write_config(tmp_path)
    calls.add_agents(file, ["agent1", "agent2", "agent3", "agent4"])
    agents = load(file).config.telephony.agents
    assert sorted(agent.name for agent in agents) == ["agent1", "agent2", "agent3", "agent4"]
    assert len({agent.password for agent in agents}) == 4
    before = file.read_text()
    calls.add_agents(file, ["agent3"])
    assert file.read_text() == before
