"""How many keypad digits of a party are taken. Pure; times are seconds of one monotonic clock.

A telephone that sends digits without end would have prompts spoken, utterances kept and events written for each of them.
"""

from __future__ import annotations

from appliance.telephony.call_messages import Party

BURST = 8.0
"""Digits at once: more than any menu asks for, and about what a hand can press in a second."""
PER_SECOND = 1.0
"""Digits on and on."""


class KeyRate:
    """The digits of one call."""

    def __init__(self) -> None:
        self._left: dict[Party, tuple[float, float]] = {}
        """By party: digits that may come at once, and the time at which that was so."""

    def take(self, party: Party, now_s: float) -> bool:
        """Whether a digit pressed now is taken."""
        left, since = self._left.get(party, (BURST, now_s))
        left = min(BURST, left + PER_SECOND * max(0.0, now_s - since))
        taken = left >= 1.0
        self._left[party] = (left - taken, now_s)
        return taken
