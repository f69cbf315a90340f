"""What is done about a leg from which no audio comes any more, though its socket is open.

Its media channel is made anew, which costs the parties nothing. Did that not help, Asterisk is asked whether it gets audio from
the telephone: a telephone that sends nothing (muted, or silent between words) is left alone; is there audio that we do not get,
the parties are better off without us.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

import msgspec

from appliance.gateway.call_legs import CallLegs
from appliance.gateway.call_services import CallServices
from appliance.gateway.interpretation import Interpretation
from appliance.telephony import ari_requests as ari
from appliance.telephony.call_messages import CallInput, LegLost, Party
from appliance.telephony.errors import AriError

log = logging.getLogger(__name__)

REBUILD_TIMEOUT_S = 3.0
"""0.1 s as a rule."""
MOST_REBUILDS = 2
AGAIN_AFTER_S = 30.0
"""A leg is made anew no more than `MOST_REBUILDS` times in so many seconds, and not again while nothing has come of it."""
_SENDS_S = 0.3
"""A telephone that sends does so fifty times a second."""


class _Received(msgspec.Struct):
    rxcount: int = 0
    """RTP packets."""


class LegWatchdog:
    """Of one call.

    Args:
        post: told of a leg that cannot be helped.
    """

    def __init__(self, legs: CallLegs, interpretation: Interpretation, services: CallServices, post: Callable[[CallInput], None]) -> None:
        self._legs = legs
        self._interpretation = interpretation
        self._services = services
        self._post = post
        self._rebuilt: dict[Party, deque[float]] = {"caller": deque(maxlen=MOST_REBUILDS), "agent": deque(maxlen=MOST_REBUILDS)}
        self._busy: set[Party] = set()

    async def silent(self, party: Party, seconds: float) -> None:
        """No audio has come for so long."""
        if party in self._busy or party not in self._legs.media:
            return
        self._busy.add(party)
        try:
            await self._help(party, seconds)
        finally:
            self._busy.discard(party)

    async def _help(self, party: Party, seconds: float) -> None:
        rebuilt, now = self._rebuilt[party], time.monotonic()
        sends = await self._telephone_sends(party) if rebuilt else None
        if sends is False:
            return
        helped = bool(rebuilt) and now - rebuilt[-1] > seconds  # audio has come since
        if len(rebuilt) < MOST_REBUILDS or (helped and now - rebuilt[0] > AGAIN_AFTER_S):
            rebuilt.append(now)
            await self._rebuild(party, seconds)
        elif sends:
            self._post(LegLost(party, f"the telephone sends, but nothing has come for {seconds:.0f} s"))

    async def _rebuild(self, party: Party, seconds: float) -> None:
        log.warning("no audio from a party: its media channel is made anew", extra={"party": party, "after_s": round(seconds, 1)})
        self._services.fallback("media-rebuilt")
        try:
            async with asyncio.timeout(REBUILD_TIMEOUT_S):
                await self._legs.rebuild(party, lambda media: self._interpretation.rewire(party, media))
        except (AriError, TimeoutError) as error:
            log.warning("a media channel could not be made anew: %s", error or "no answer", extra={"party": party})
            if len(self._rebuilt[party]) == MOST_REBUILDS:
                self._post(LegLost(party, "its audio has stopped and could not be had again"))

    async def _telephone_sends(self, party: Party) -> bool | None:
        """Whether Asterisk receives audio from the party's telephone; None where it cannot tell."""
        first = await self._received(party)
        if first is None:
            return None
        await asyncio.sleep(_SENDS_S)
        then = await self._received(party)
        return None if then is None else then > first

    async def _received(self, party: Party) -> int | None:
        try:
            answer = await self._services.ari.request(ari.rtp_statistics(self._legs.channel(party)))
            return msgspec.json.decode(answer, type=_Received).rxcount
        except (AriError, msgspec.DecodeError):
            return None  # the agent's is a Local channel, which has no RTP
