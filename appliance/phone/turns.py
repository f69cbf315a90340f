"""When the next party may speak: once the other has heard what was made of the last speech. Decisions without I/O.

Times are seconds on one clock, whichever the caller uses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.events import Event, LaneName, UtteranceInterpreted, UtterancePlayed

SETTLE_S = 1.2
"""After the end of speech: by then the interpreter has found its last utterance (longest pause 0.7 s, then recognition)."""
PAUSE_S = 0.35
"""What a person waits before answering."""
QUIET_S = 1.5
"""Silence of the listener's line that ends a turn when the interpreter tells nothing."""
REFUSED_S = 2.5
"""The speaker is asked to say it again: he listens to that before anything else is said."""
GIVE_UP_S = 12.0
"""After the end of speech."""


@dataclass
class TurnWatch:
    """Watches one turn: what the interpreter tells about it, and whether the listener's line is quiet."""

    lane: LaneName
    speech_end_s: float
    """When the speech ends, or ended."""
    told: bool = True
    """Whether the interpreter's events can be read; otherwise only the listener's line tells."""
    _segments: dict[tuple[int, int], UtteranceInterpreted] = field(default_factory=dict)
    _played: set[tuple[int, int]] = field(default_factory=set)
    _complete_since: float | None = None
    _quiet_since: float | None = None
    _sounded: bool = False

    def take(self, event: Event) -> None:
        if isinstance(event, UtteranceInterpreted) and event.lane == self.lane and event.outcome != "silence":
            self._segments[event.utterance, event.segment] = event
        elif isinstance(event, UtterancePlayed) and event.lane == self.lane:
            self._played.add((event.utterance, event.segment))

    @property
    def complete(self) -> bool:
        """Whether every utterance found so far has been interpreted to its end and heard, or has failed."""
        finished = {utterance for (utterance, _), segment in self._segments.items() if segment.last_segment}
        unheard = [
            key for key, item in self._segments.items() if item.outcome == "interpreted" and item.translated and key not in self._played
        ]
        return bool(self._segments) and not unheard and all(utterance in finished for utterance, _ in self._segments)

    def over(self, now_s: float, *, listener_quiet: bool) -> bool:
        """Whether the next party may speak; to be asked again and again.

        Args:
            listener_quiet: whether the listener has heard nothing in the last moment.
        """
        self._complete_since = (self._complete_since or now_s) if self.complete else None
        self._sounded = self._sounded or (not listener_quiet and now_s > self.speech_end_s)
        self._quiet_since = (self._quiet_since or now_s) if listener_quiet and self._sounded else None
        if now_s >= self.speech_end_s + GIVE_UP_S:
            return True
        if now_s < self.speech_end_s + SETTLE_S:
            return False
        if not self.told:
            return self._quiet_since is not None and now_s >= self._quiet_since + QUIET_S
        if self._complete_since is None:
            return False
        refused = any(segment.outcome == "refused" for segment in self._segments.values())
        return now_s >= max(self._complete_since, self.speech_end_s) + (REFUSED_S if refused else PAUSE_S)
