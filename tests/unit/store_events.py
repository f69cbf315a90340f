"""Events of one call, as a gateway publishes them, for the tests of the store."""

from appliance.events import (
    CallEnded,
    CallStarted,
    CallStateChanged,
    Event,
    KeyPressed,
    LaneName,
    LanguageDecided,
    LanguageVote,
    PartialRecognised,
    StageDelays,
    UtteranceInterpreted,
    UtterancePlayed,
)

START = 1_795_000_000.0


def utterance(call: str, number: int, *, lane: LaneName = "caller_to_agent", at: float = START + 10.0) -> UtteranceInterpreted:
    return UtteranceInterpreted(
        call_id=call,
        at=at,
        lane=lane,
        utterance=number,
        segment=1,
        last_segment=True,
        started_s=2.0 * number,
        ended_s=2.0 * number + 1.5,
        source_language="ta",
        target_language="hinglish",
        recognised=f"சொல் {number}",
        translated=f"वाक्य {number}",
        confidence=0.9,
        outcome="interpreted",
        delays=StageDelays(recognise=0.2, translate=0.1, total=0.9),
    )


def one_call(call: str = "call-1") -> list[Event]:
    votes = [
        LanguageVote(source="audio", scores={"ta": 0.8, "te": 0.2}, weight=1.0),
        LanguageVote(source="script", scores={"ta": 1.0}, weight=0.5),
    ]
    return [
        CallStarted(call_id=call, at=START, caller_number="+919876543210", called_number="1800", worker="gateway-1"),
        CallStateChanged(call_id=call, at=START + 1, state="greeting"),
        PartialRecognised(call_id=call, at=START + 2, lane="caller_to_agent", utterance=1, text="சொல்"),
        LanguageDecided(call_id=call, at=START + 3, language="ta", confidence=0.97, after_s=1.2, votes=votes, how="votes"),
        utterance(call, 1),
        UtterancePlayed(call_id=call, at=START + 12, lane="caller_to_agent", utterance=1, segment=1),
        utterance(call, 1, lane="agent_to_caller", at=START + 14),
        KeyPressed(call_id=call, at=START + 15, party="caller", digit="*"),
        KeyPressed(call_id=call, at=START + 16, party="agent", digit="9"),
        CallEnded(call_id=call, at=START + 60, outcome="interpreted", reason="caller hung up", duration_s=59.0),
    ]
