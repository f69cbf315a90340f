"""The next party speaks when the last speech has been heard in the other language, and not for ever later."""

from __future__ import annotations

from appliance.events import LaneName, StageDelays, UtteranceInterpreted, UtterancePlayed
from appliance.phone import turns
from appliance.phone.turns import TurnWatch

END = 10.0


def interpreted(
    utterance: int, segment: int = 1, *, last: bool = True, outcome: str = "interpreted", lane: LaneName = "caller_to_agent"
) -> UtteranceInterpreted:
    return UtteranceInterpreted(
        call_id="c",
        at=0.0,
        lane=lane,
        utterance=utterance,
        segment=segment,
        last_segment=last,
        started_s=0.0,
        ended_s=1.0,
        source_language="ta",
        target_language="hinglish",
        recognised="a",
        translated="b" if outcome == "interpreted" else "",
        confidence=0.9,
        outcome=outcome,  # type: ignore[arg-type]
        delays=StageDelays(),
    )


def played(utterance: int, segment: int = 1) -> UtterancePlayed:
    return UtterancePlayed(call_id="c", at=0.0, lane="caller_to_agent", utterance=utterance, segment=segment)


def over_at(watch: TurnWatch, happenings: list[tuple[float, object]], *, loud: tuple[float, float] = (0.0, 0.0)) -> float:
    """When the turn is over, asked every 50 ms."""
    waiting = sorted(happenings, key=lambda item: item[0])
    now = END - 2
    while now < END + 60:
        while waiting and waiting[0][0] <= now:
            watch.take(waiting.pop(0)[1])  # type: ignore[arg-type]
        if watch.over(now, listener_quiet=not loud[0] <= now < loud[1]):
            return now
        now += 0.05
    raise AssertionError("the turn never ended")


def test_a_turn_ends_a_moment_after_its_translation_was_heard() -> None:
    end = over_at(TurnWatch("caller_to_agent", END), [(11.0, interpreted(1)), (13.0, played(1))])
    assert 13.0 + turns.PAUSE_S <= end < 13.5


def test_every_utterance_and_segment_is_waited_for() -> None:
    told = [
        (9.0, interpreted(1)),
        (9.5, interpreted(2, 1, last=False)),
        (10.2, played(1)),
        (11.0, played(2)),
        (11.1, interpreted(2, 2)),
        (14.0, played(2, 2)),
    ]
    assert over_at(TurnWatch("caller_to_agent", END), told) >= 14.0


def test_what_ended_early_may_not_be_all() -> None:
    end = over_at(TurnWatch("caller_to_agent", END), [(8.0, interpreted(1)), (9.0, played(1))])
    assert end >= END + turns.SETTLE_S


def test_the_other_lane_and_silence_do_not_count() -> None:
    told = [
        (10.5, interpreted(1, lane="agent_to_caller")),
        (10.6, interpreted(2, outcome="silence")),
        (11.0, interpreted(3)),
        (15.0, played(3)),
    ]
    assert over_at(TurnWatch("caller_to_agent", END), told) >= 15.0


def test_a_speaker_who_is_asked_again_hears_that_first() -> None:
    end = over_at(TurnWatch("caller_to_agent", END), [(11.0, interpreted(1, outcome="refused"))])
    assert end >= 11.0 + turns.REFUSED_S


def test_a_turn_nobody_tells_of_ends_all_the_same() -> None:
    end = over_at(TurnWatch("caller_to_agent", END), [])
    assert END + turns.GIVE_UP_S <= end < END + turns.GIVE_UP_S + 0.1


def test_without_events_the_listeners_line_decides() -> None:
    end = over_at(TurnWatch("caller_to_agent", END, told=False), [], loud=(11.0, 14.0))
    assert 14.0 + turns.QUIET_S <= end < 14.2 + turns.QUIET_S
