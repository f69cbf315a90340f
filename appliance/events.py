"""What happens in a call, as typed events: the flow of a lane can be read from their names.

They are published as JSON (`type` is the tag) to the Redis stream `setu:events`, written to the store, counted in metrics
and shown by `appliance call` and `appliance demo`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

LaneName = Literal["caller_to_agent", "agent_to_caller"]
Party = Literal["caller", "agent"]
Outcome = Literal["interpreted", "direct", "no_agent", "caller_gone", "agent_gone", "failed"]


class CallEvent(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    call_id: str
    at: float
    """Seconds since the epoch (UTC)."""


class CallStarted(CallEvent, frozen=True, tag="call-started", kw_only=True):
    caller_number: str
    called_number: str
    worker: str


class CallStateChanged(CallEvent, frozen=True, tag="call-state", kw_only=True):
    state: str
    reason: str = ""


class LanguageVote(msgspec.Struct, frozen=True):
    source: Literal["audio", "text", "script", "memory", "keypad", "default"]
    scores: dict[str, float]
    weight: float


class LanguageDecided(CallEvent, frozen=True, tag="language-decided", kw_only=True):
    language: str
    confidence: float
    """0..1."""
    after_s: float
    """From the first speech of the caller."""
    votes: list[LanguageVote]
    how: Literal["votes", "keypad", "default", "memory"]


class PartialRecognised(CallEvent, frozen=True, tag="partial", kw_only=True):
    lane: LaneName
    utterance: int
    text: str


class StageDelays(msgspec.Struct, frozen=True):
    """Seconds of each stage, of the first segment of the utterance that was heard after the speaker stopped."""

    endpoint_wait: float = 0.0
    """End of speech to the decision that it has ended."""
    recognise: float = 0.0
    identify: float = 0.0
    translate: float = 0.0
    render: float = 0.0
    speak: float = 0.0
    play: float = 0.0
    """First audio in hand to its first frame on the wire (waiting behind earlier audio included)."""
    total: float = 0.0
    """End of speech to the first translated frame sent, by the gateway's clock."""


class UtteranceInterpreted(CallEvent, frozen=True, tag="utterance", kw_only=True):
    """One segment: what was said, what was made of it, and that its audio has been queued for the listener."""

    lane: LaneName
    utterance: int
    """Number of the utterance within the lane, from 1; with another worker, who takes the call over, it goes on further up."""
    segment: int
    """Number of the segment within the utterance, from 1."""
    last_segment: bool
    started_s: float
    """Start of the utterance, seconds since the call was answered."""
    ended_s: float
    """End of its speech so far."""
    source_language: str
    target_language: str
    recognised: str
    translated: str
    """Empty when refused."""
    confidence: float
    """0..1 calibrated from the recogniser and the translator."""
    outcome: Literal["interpreted", "refused", "failed", "silence"]
    reason: str = ""
    delays: StageDelays


class UtterancePlayed(CallEvent, frozen=True, tag="utterance-played", kw_only=True):
    """The listener has heard the translation to its end (a media mark)."""

    lane: LaneName
    utterance: int
    segment: int


class KeyPressed(CallEvent, frozen=True, tag="key", kw_only=True):
    party: Party
    digit: str


class CallEnded(CallEvent, frozen=True, tag="call-ended", kw_only=True):
    outcome: Outcome
    reason: str
    duration_s: float


Event = (
    CallStarted | CallStateChanged | LanguageDecided | PartialRecognised | UtteranceInterpreted | UtterancePlayed | KeyPressed | CallEnded
)
