"""What a speaker is told when he could not be interpreted: to say it again, and not more often than it helps."""

from __future__ import annotations

from collections.abc import Callable

from appliance.events import Party
from appliance.interpreter.rendition import Result
from appliance.interpreter.scope import CallScope

ASK_PAUSE_S = 5.0
"""A party is not asked to say it again more often than this."""
DOUBT_AFTER = 2
"""So many refusals in a row and the language is in doubt."""


class Refusals:
    """Of one lane.

    Args:
        doubt: called when what the speaker says is not understood again and again.
    """

    def __init__(self, speaker: Party, scope: CallScope, doubt: Callable[[], None]) -> None:
        self._speaker = speaker
        self._scope = scope
        self._doubt = doubt
        self._in_a_row = 0
        self._asked_s: float | None = None

    def told(self, result: Result) -> None:
        """Take note of how a segment ended."""
        if result.reason == "no-listener":
            return
        if result.outcome == "failed":
            self._scope.failed(result.reason)
        else:
            self._scope.worked()
        self._in_a_row = self._in_a_row + 1 if result.outcome == "refused" else 0
        if self._in_a_row >= DOUBT_AFTER:
            self._in_a_row = 0
            self._doubt()
        if result.outcome in ("refused", "failed"):
            self._ask_again()

    def _ask_again(self) -> None:
        leg = self._scope.legs.get(self._speaker)
        now_s = self._scope.now()
        just_asked = self._asked_s is not None and now_s - self._asked_s < ASK_PAUSE_S
        if leg is None or leg.lost or leg.playout.prompting or just_asked or self._scope.outage.direct:
            return
        self._asked_s = now_s
        self._scope.say(self._speaker, "please_repeat")
