"""The verdict on acceptance calls: what passes, and that each figure out of bounds is told."""

from pathlib import Path

import msgspec
import pytest

from appliance.cli.accept import shown
from appliance.config.load import load
from appliance.events import LaneName
from appliance.node.acceptance import Acceptance, Bounds, judge, words_heard
from appliance.node.acceptance_calls import agent_of, keep, kept, lines_of
from appliance.node.errors import NodeError
from appliance.phone.demo.scripts import LANGUAGES
from appliance.phone.report import CallReport, Delays, Language, Silence, Utterance
from appliance.stack.defaults import write_config

EXPECTED: dict[LaneName, str] = {
    "caller_to_agent": "router पर error 177 आ रहा है.",
    "agent_to_caller": "error 177 network பிரச்சனையால் வருகிறது.",
}
BOUNDS = Bounds(delay_s=2.0, words=0.7, first_audio_s=1.0)


def utterance(lane: LaneName, heard: str | None = None, delay_s: float | None = 0.8) -> Utterance:
    delays = Delays(
        total=delay_s, last_part=delay_s, endpoint_wait=0, recognise=0, identify=0, translate=0, render=0, speak=0, play=0, line=None
    )
    return Utterance(
        lane=lane, source_file="x.wav", reference=None, expected=None, recognised="r", translated="t",
        heard=EXPECTED[lane] if heard is None else heard, outcome="interpreted", segments=1, delay_s=delays, confidence=0.9,
        started_s=1.0, ended_s=2.0, heard_from_s=2.5, heard_to_s=3.0, values_expected=(), values_heard=(),
    )  # fmt: skip


def report(utterances: list[Utterance] | None = None, **change: object) -> CallReport:
    call = CallReport(
        id="c1", number="1800",
        language=Language(expected="ta", detected="ta", detected_after_s=1.0, detected_in_utterance=1, how="votes", votes=[]),
        outcome="interpreted", through=True, closed_early="", first_audio_s=0.4, connected_s=1.0, duration_s=9.0,
        utterances=[utterance("caller_to_agent"), utterance("agent_to_caller")] if utterances is None else utterances,
        audio=None, longest_silence_s=Silence(1.0, 1.0),
    )  # fmt: skip
    return msgspec.structs.replace(call, **change)


def test_a_good_call_passes() -> None:
    figures = judge(report(), "ta", EXPECTED, BOUNDS)
    assert (figures.passed, figures.problems) == (True, [])
    assert figures.lanes["caller_to_agent"].words == 1.0
    assert figures.lanes["agent_to_caller"].delay_s == 0.8


def other_language(detected: str | None) -> Language:
    return Language(expected="ta", detected=detected, detected_after_s=None, detected_in_utterance=None, how=None, votes=[])


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (report(through=False, closed_early="closed while the caller spoke: 500"), "did not go through: closed while the caller spoke"),
        (report(language=other_language("te")), "language te, expected ta"),
        (report(language=other_language(None)), "language not decided"),
        (report(first_audio_s=1.2), "greeting after 1.20 s, allowed 1 s"),
        (report(first_audio_s=None), "greeting after never"),
        (report([utterance("caller_to_agent", delay_s=2.1), utterance("agent_to_caller")]), "caller to agent: delay 2.10 s, allowed 2 s"),
        (report([utterance("caller_to_agent"), utterance("agent_to_caller", delay_s=None)]), "agent to caller: delay never"),
        (report([utterance("caller_to_agent")]), "agent to caller: delay never"),
        (report([utterance("caller_to_agent"), utterance("agent_to_caller", "error 177")]), "agent to caller: 40% of the words heard"),
    ],
)
def test_each_figure_out_of_bounds_is_a_problem(call: CallReport, problem: str) -> None:
    figures = judge(call, "ta", EXPECTED, BOUNDS)
    assert not figures.passed
    assert any(problem in line for line in figures.problems), figures.problems


def test_an_utterance_heard_in_two_parts_counts_as_a_whole_with_its_worse_delay() -> None:
    parts = [utterance("caller_to_agent", "router पर error"), utterance("caller_to_agent", "177 आ रहा है", 1.5)]
    figures = judge(report([*parts, utterance("agent_to_caller")]), "ta", EXPECTED, BOUNDS)
    assert figures.passed
    assert (figures.lanes["caller_to_agent"].words, figures.lanes["caller_to_agent"].delay_s) == (1.0, 1.5)


@pytest.mark.parametrize(
    ("expected", "heard", "share"),
    [
        ("a b c d", "a b c d", 1.0),
        ("A, b; c. d?", "a b c d", 1.0),
        ("a b c d", "", 0.0),
        ("a b c d", "a x c", 0.5),
        ("a b c d", "d c b a", 0.25),
        ("a b", "x y a z b", 1.0),
        ("", "x", 1.0),
        ("கிளை", "கிளை", 1.0),
    ],
)
def test_words_are_counted_in_their_order(expected: str, heard: str, share: float) -> None:
    assert words_heard(expected, heard) == share


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_a_sentence_each_way(language: str) -> None:
    caller, agent = lines_of(language)
    assert (caller.speaker, agent.speaker) == ("caller", "agent")
    assert ";" not in caller.sentences
    assert sum(letter.isalpha() and not letter.isascii() for letter in caller.said) >= 8


def test_real_agents_do_not_ring(tmp_path: Path) -> None:
    file = write_config(tmp_path)
    assert agent_of(load(file)) == "agent1", "the demo's stack is on loopback: nobody is disturbed"
    text = file.read_text().replace('address = "127.0.0.2"', 'address = "10.1.2.3"')
    file.write_text(text)
    with pytest.raises(NodeError, match="has no agent 'acceptance'"):
        agent_of(load(file))
    file.write_text(text.replace("agents = [\n", 'agents = [\n    { name = "acceptance", password = "x1y2z3" },\n'))
    assert agent_of(load(file)) == "acceptance"


def result(passed: bool = True) -> Acceptance:
    call = judge(report(), "ta", EXPECTED, BOUNDS if passed else Bounds(delay_s=0.5))
    return Acceptance(at=1.0, took_s=20.0, version="1", release="r1", node="n", passed=passed, bounds=BOUNDS, calls=[call])


def test_the_result_is_kept_for_the_doctor(tmp_path: Path) -> None:
    assert kept(tmp_path) is None
    keep(result(), tmp_path)
    assert kept(tmp_path) == result()
    (tmp_path / "acceptance.json").write_text("{")
    with pytest.raises(NodeError, match="cannot be read"):
        kept(tmp_path)


def test_what_people_see() -> None:
    lines = shown(result()).splitlines()
    assert lines[1].split() == ["ta", "caller", "to", "agent", "ta", "0.80", "s", "100%", "ok"]
    assert lines[-1] == "accepted: 1 of 1 calls within delay 2 s, words 70%, greeting 1 s; took 20 s"
    bad = shown(result(passed=False))
    assert "FAIL" in bad
    assert "ta: caller to agent: delay 0.80 s, allowed 0.5 s" in bad
    assert "not accepted: 0 of 1" in bad
