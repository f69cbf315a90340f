"""A call without interpreter, for as long as that lasts: its parties hear each other's own voice at full level.

The voices still go through this process, which has them anyway: nothing has to be built in Asterisk first, so neither party is
left with silence, and the way back is a word.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from appliance.events import CallStateChanged
from appliance.interpreter.lane import Lane
from appliance.interpreter.scope import CallScope
from appliance.telemetry import metrics

log = logging.getLogger(__name__)


class Direct:
    def __init__(self, scope: CallScope, lanes: Sequence[Lane]) -> None:
        self._scope = scope
        self._lanes = lanes

    def begin(self, reason: str) -> None:
        """Tell both parties, and let them hear each other."""
        log.warning("the call goes on without interpreter", extra={"call": self._scope.call_id, "reason": reason})
        metrics.FALLBACKS.labels(metrics.label("reason", "interpretation-lost")).inc()
        self._turn("direct", reason, "interpretation_lost")

    def end(self) -> None:
        """Tell both parties, and interpret again."""
        log.info("the call is interpreted again", extra={"call": self._scope.call_id})
        self._turn("interpreting", "model servers are back", "interpretation_back")

    def _turn(self, state: str, reason: str, prompt: str) -> None:
        scope = self._scope
        scope.publish(CallStateChanged(call_id=scope.call_id, at=scope.wall(), state=state, reason=reason))
        for lane in self._lanes:
            if scope.outage.direct:
                lane.suspend()
            else:
                lane.resume()
        for party, leg in scope.legs.items():
            leg.playout.original("alone" if scope.outage.direct else "under")
            scope.flush_prompts(party)
            scope.say(party, prompt)
