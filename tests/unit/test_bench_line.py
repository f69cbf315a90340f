import pytest

from appliance.bench.line import FRAME_S, Clip, PlayOut, Talk, missing

CLIP = Clip(speech=[b"s0", b"s1", b"s2"], pause=[b"p0", b"p1"], end=1)


def test_a_leg_speaks_in_its_turn_of_the_period_and_tells_where_speech_ends() -> None:
    talk = Talk(CLIP, period=5)
    assert [talk.next().frame for _ in range(3)] == [b"p0", b"p1", b"p0"]
    assert not talk.begun
    talk.begin(2)
    sent = [talk.next() for _ in range(12)]
    assert [turn.frame for turn in sent] == [b"p1", b"p0", b"s0", b"s1", b"s2", b"p0", b"p1", b"s0", b"s1", b"s2", b"p1", b"p0"]
    assert [number for number, turn in enumerate(sent) if turn.ends_speech] == [3, 8]
    assert talk.begun
    talk.stop()
    assert talk.next().frame in CLIP.pause


def test_frames_in_time_leave_no_gap() -> None:
    line = PlayOut()
    for _ in range(3):  # sent ahead at the start
        line.take(10.0)
    for number in range(1, 100):
        line.take(10.0 + number * FRAME_S + 0.030 * (number % 2))  # 30 ms of jitter, 40 ms ahead
    assert (line.received, line.gaps) == (102, 0)
    assert line.played_in_s(10.0 + 99 * FRAME_S) == pytest.approx(0.060)


def test_a_stall_is_as_many_gaps_as_turns_without_a_frame() -> None:
    line = PlayOut()
    for _ in range(3):
        line.take(10.0)
    line.take(10.130)  # due at 10.060; the turns at 10.060, .080, .100 and .120 had nothing
    assert line.gaps == 4
    line.take(10.160)
    assert line.gaps == 4


def test_missing_frames_are_counted_but_not_the_cut_of_the_window() -> None:
    assert missing(500, 10.0) == 0
    assert missing(499, 10.0) == 0
    assert missing(480, 10.0) == 20
    assert missing(510, 10.0) == 0
