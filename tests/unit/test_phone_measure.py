"""A call whose every edge is known is measured right: delays, divided utterances, silences, values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appliance.events import LaneName, LanguageDecided, Party, StageDelays, UtteranceInterpreted
from appliance.phone import measure
from appliance.phone.call_events import Received
from appliance.phone.conversation import CallPlan, CallRecord, Spoken, Turn
from appliance.phone.phone_config import PhoneAccount
from appliance.phone.recording import Track
from appliance.phone.timeline import timeline

RATE = 8000
DIALLED = 500.0
LENGTH_S = 20.0


def voice(length_s: float, dbfs: float, pitch: float) -> np.ndarray:
    time = np.arange(round(length_s * RATE)) / RATE
    wander = 2 * np.pi * np.cumsum(pitch + 15 * np.sin(2 * np.pi * (0.5 + pitch / 1000) * time)) / RATE
    wave = sum(np.sin(k * wander) / k for k in range(1, 10)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    return wave / np.sqrt(np.mean(wave**2)) * 32768 * 10 ** (dbfs / 20)


def track(*pieces: tuple[float, np.ndarray], starts_s: float = 0.2) -> Track:
    """A stream that starts `starts_s` after the INVITE, with sounds at times from the INVITE."""
    samples = np.zeros(round((LENGTH_S - starts_s) * RATE))
    for at_s, piece in pieces:
        begin = round((at_s - starts_s) * RATE)
        samples[begin : begin + len(piece)] += piece
    polls = [(DIALLED + starts_s + count / RATE + 0.001, count) for count in range(160, len(samples) + 1, 160)]
    return Track(samples.astype(np.int16), timeline(RATE, polls))


def segment(
    lane: LaneName,
    utterance: int,
    number: int = 1,
    *,
    last: bool = True,
    ended_s: float = 1.0,
    recognised: str = "r",
    translated: str = "t",
) -> UtteranceInterpreted:
    return UtteranceInterpreted(
        call_id="call-7",
        at=0.0,
        lane=lane,
        utterance=utterance,
        segment=number,
        last_segment=last,
        started_s=0.0,
        ended_s=ended_s,
        source_language="ta",
        target_language="hinglish",
        recognised=recognised,
        translated=translated,
        confidence=0.8,
        outcome="interpreted",
        delays=StageDelays(endpoint_wait=0.4, recognise=0.1, total=0.6),
    )


def turn(speaker: Party, length_s: float, reference: str | None = None, values: tuple[str, ...] = ()) -> Turn:
    return Turn(speaker, Path(f"{speaker}.wav"), np.ones(round(length_s * RATE), np.int16), reference, None, values)


def record(spoken: list[Spoken], received: list[Received], tracks: dict[tuple[Party, str], Track]) -> CallRecord:
    phone = PhoneAccount("98", "127.0.0.2", "127.0.0.1:5060")
    plan = CallPlan("1800", phone, phone, [item.turn for item in spoken], "ta")
    empty = track()
    all_tracks = {(party, direction): empty for party in measure.PARTIES for direction in ("said", "heard")} | tracks
    return CallRecord(plan, DIALLED, DIALLED + 0.1, DIALLED + 0.8, DIALLED + LENGTH_S, "", spoken, received, all_tracks)


def test_the_delay_runs_from_the_end_of_sent_speech_to_the_first_translated_sound() -> None:
    caller, agent = turn("caller", 2.0, "one two."), turn("agent", 1.5)
    spoken = [Spoken(caller, DIALLED + 2.0, DIALLED + 7.0), Spoken(agent, DIALLED + 7.5, DIALLED + 12.0)]
    received = [Received(DIALLED + 5.0, segment("caller_to_agent", 1)), Received(DIALLED + 10.0, segment("agent_to_caller", 1))]
    tracks = {
        ("caller", "said"): track((2.1, voice(2.0, -18, 110))),
        ("agent", "heard"): track((2.17, voice(2.0, -38, 110)), (4.95, voice(1.6, -16, 170))),  # the original beneath, then the translation
        ("agent", "said"): track((7.6, voice(1.5, -18, 140))),
        ("caller", "heard"): track((1.0, voice(0.5, -16, 200)), (7.67, voice(1.5, -38, 140)), (10.4, voice(1.2, -16, 180))),
    }
    call = record(spoken, received, tracks)
    audio = measure.lay_out(call)
    first, second = measure.measure(call, audio, {})
    assert first.heard_from_s is not None
    assert second.heard_from_s is not None
    assert first.heard_from_s - first.speech.end_s == pytest.approx(0.85, abs=0.03)
    assert second.heard_from_s - second.speech.end_s == pytest.approx(1.3, abs=0.03)
    assert (first.speech.start_s, first.speech.end_s) == pytest.approx((2.1, 4.1), abs=0.03)
    assert first.heard_to_s == pytest.approx(6.55, abs=0.03)
    assert first.reference == "one two."
    assert first.last_part_from_s == first.heard_from_s
    assert measure.first_audio(audio) == pytest.approx(1.0, abs=0.02)
    silence = measure.longest_silences(audio, [first, second])
    assert silence.agent == pytest.approx(0.85 - 0.07, abs=0.06), "between the end of the original beneath and the translation"
    assert silence.caller == pytest.approx(1.3 - 0.07, abs=0.06)


def test_a_file_of_two_utterances_is_divided_and_each_translation_found_by_its_sound() -> None:
    both = turn("caller", 4.0, "First one. Second one?", ("4711",))
    first_sound, second_sound = voice(1.5, -16, 170), voice(1.5, -16, 205)
    received = [
        Received(DIALLED + 5.0, segment("caller_to_agent", 1, ended_s=3.0)),
        Received(DIALLED + 7.2, segment("caller_to_agent", 2, ended_s=5.5)),
    ]
    tracks = {
        ("caller", "said"): track((2.1, voice(1.4, -18, 110)), (4.5, voice(1.5, -18, 110))),
        ("agent", "heard"): track((5.8, first_sound), (7.3, second_sound)),  # one right after the other
    }
    call = record([Spoken(both, DIALLED + 2.0, DIALLED + 9.0)], received, tracks)
    audio = measure.lay_out(call)
    sounds = {
        ("caller_to_agent", 1, 1): first_sound[:9600].astype(np.int16),
        ("caller_to_agent", 2, 1): second_sound[:9600].astype(np.int16),
    }
    first, second = measure.measure(call, audio, sounds)  # type: ignore[arg-type]
    assert (first.reference, second.reference) == ("First one.", "Second one?")
    assert (first.speech.end_s, second.speech.start_s, second.speech.end_s) == pytest.approx((3.5, 4.5, 6.0), abs=0.03)
    assert first.heard_from_s == pytest.approx(5.8, abs=0.03)
    assert second.heard_from_s == pytest.approx(7.3, abs=0.01)
    assert first.heard_to_s == pytest.approx(7.3, abs=0.03)
    assert second.heard_to_s == pytest.approx(8.8, abs=0.03)
    assert (first.last_of_turn, second.last_of_turn) == (False, True)
    unknown = measure.measure(call, audio, {})
    assert unknown[1].heard_from_s is None, "without its sound nobody can tell where the second translation begins"


def test_a_clause_that_went_ahead_gives_a_delay_below_zero_and_the_last_part_its_own() -> None:
    long = turn("caller", 4.0)
    clause, rest = voice(1.2, -16, 170), voice(1.5, -16, 205)
    received = [
        Received(DIALLED + 4.9, segment("caller_to_agent", 1, 1, last=False, recognised="a b", translated="x")),
        Received(DIALLED + 7.0, segment("caller_to_agent", 1, 2, recognised="c", translated="y")),
    ]
    tracks = {
        ("caller", "said"): track((2.1, voice(4.0, -18, 110))),
        ("agent", "heard"): track((2.17, voice(4.0, -38, 110)), (5.2, clause), (6.9, rest)),
    }
    call = record([Spoken(long, DIALLED + 2.0, DIALLED + 9.0)], received, tracks)
    sounds = {("caller_to_agent", 1, 1): clause.astype(np.int16), ("caller_to_agent", 1, 2): rest[:9600].astype(np.int16)}
    (row,) = measure.measure(call, measure.lay_out(call), sounds)  # type: ignore[arg-type]
    assert row.heard_from_s is not None
    assert row.last_part_from_s is not None
    assert row.heard_from_s - row.speech.end_s == pytest.approx(-0.9, abs=0.04)
    assert row.last_part_from_s - row.speech.end_s == pytest.approx(0.8, abs=0.03)
    assert len(row.parts) == 2


def test_a_turn_the_gateway_never_told_of_is_a_row_without_parts() -> None:
    call = record([Spoken(turn("agent", 1.0), DIALLED + 2.0, DIALLED + 9.0)], [], {("agent", "said"): track((2.1, voice(1.0, -18, 110)))})
    (row,) = measure.measure(call, measure.lay_out(call), {})
    assert row.parts == ()
    assert row.heard_from_s is None
    assert row.lane == "agent_to_caller"


def test_the_language_decided_last_counts_with_the_utterance_it_came_in() -> None:
    def decided(language: str) -> LanguageDecided:
        return LanguageDecided(call_id="call-7", at=0.0, language=language, confidence=0.9, after_s=2.5, votes=[], how="votes")

    received = [
        Received(1.0, decided("hi")),
        Received(1.1, segment("caller_to_agent", 1)),
        Received(3.0, decided("mr")),
        Received(3.1, segment("caller_to_agent", 2)),
    ]
    language = measure.language_of(received, "mr")
    assert (language.detected, language.detected_in_utterance, language.expected) == ("mr", 2, "mr")
    assert measure.language_of([], "mr").detected is None


@pytest.mark.parametrize(
    ("text", "sentences"),
    [("One two. Three?", ["One two.", "Three?"]), ("no stop", ["no stop"]), ("A. b", ["A.", "b"]), ("", [])],
)
def test_sentences_are_divided_at_their_stops(text: str, sentences: list[str]) -> None:
    assert measure.sentences_of(text) == sentences
