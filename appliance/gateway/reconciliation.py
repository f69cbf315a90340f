"""Brings a worker and Asterisk to the same view when a control connection has come: after a restart of either, or lost messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

import msgspec

from appliance.gateway.call_control import CallController
from appliance.gateway.departures import Departures
from appliance.gateway.leftovers import Leftovers, left_over
from appliance.telephony import ari_requests as ari
from appliance.telephony.ari_connection import AriConnection
from appliance.telephony.ari_messages import Bridge, Channel
from appliance.telephony.errors import AriError

log = logging.getLogger(__name__)

ORPHAN_WAIT_S = 1.0
"""Between finding a channel of nobody and moving it: its `StasisStart` may be on its way."""
AGENT_WAIT_S = 3.0
"""How long an agent may wait for his caller, who is on his way to another worker or in the dialplan."""
JOINING_S = 0.5
"""How long the dialplan gets to take two joined parties over, before the bridge that held them is removed: meanwhile it fails."""
BOOT_RETRY_S = 0.5
BOOT_TIMEOUT_S = 2.0

_channels = msgspec.json.Decoder(list[Channel])
_bridges = msgspec.json.Decoder(list[Bridge])


class Reconciliation:
    """Of one worker's calls with what Asterisk has.

    Args:
        app: name of the application.
        calls: of the worker, by id.
        owned: every channel of these calls.
        fallback: told of every caller who was found.
    """

    def __init__(
        self,
        connection: AriConnection,
        app: str,
        calls: Mapping[str, CallController],
        owned: Collection[str],
        fallback: Callable[[str], None],
    ) -> None:
        self._ari = connection
        self._app = app
        self._calls = calls
        self._owned = owned
        self._fallback = fallback
        self._departures = Departures(connection)

    async def run(self) -> None:
        """Tells calls what of them is gone, sends callers of no call to where they are taken care of, removes what nobody needs."""
        try:
            await self._when_booted()
            found = await self._look(tell_calls=True)
            await asyncio.sleep(ORPHAN_WAIT_S)
            left = found.still(await self._look())
            await self._clear(left)
            if left.agents:
                await asyncio.sleep(AGENT_WAIT_S)
                for agent in left.agents & (await self._look()).agents:
                    log.warning("agent of no call hung up", extra={"channel": agent})
                    await self._departures.delete(ari.hang_up(agent))
            log.info("what Asterisk has was compared with the calls")
        except (AriError, msgspec.DecodeError) as error:
            log.warning("what Asterisk has could not be compared with the calls: %s", error)

    async def _look(self, *, tell_calls: bool = False) -> Leftovers:
        channels = _channels.decode(await self._ari.fetch(ari.list_channels()))
        if tell_calls:
            self._tell_calls({channel.id for channel in channels})
        bridges = _bridges.decode(await self._ari.fetch(ari.list_bridges()))
        in_use = {bridge for call in self._calls.values() for bridge in call.names.bridges.values()}
        return left_over(channels, bridges, app=self._app, owned=self._owned, in_use=in_use)

    def _tell_calls(self, known: Collection[str]) -> None:
        for call in list(self._calls.values()):
            for role in ("agent", "caller"):
                ringing = role == "agent" and call.state.agent == "ringing"  # it has no channel yet that is known by this name
                if role in call.state.held and call.names.channels[role] not in known and not ringing:
                    call.channel_missing(call.names.channels[role])

    async def _when_booted(self) -> None:
        """Asterisk connects before it is ready, and says 503 or nothing until it is: it is asked while that can help."""
        while True:
            try:
                await self._ari.fetch(ari.list_channels(), timeout_s=BOOT_TIMEOUT_S)
                return
            except AriError as error:
                if not error.retry or not self._ari.connected:
                    raise
                await asyncio.sleep(BOOT_RETRY_S)

    async def _clear(self, left: Leftovers) -> None:
        for channel in left.debris:
            log.warning("channel of no call removed", extra={"channel": channel})
            await self._departures.delete(ari.hang_up(channel))
        for channel in left.callers:
            log.warning("caller of no call sent to another worker, or to an agent", extra={"channel": channel})
            self._fallback("orphan")
            await self._departures.to_dialplan(channel, direct=channel in left.joined)
        if left.joined:
            await asyncio.sleep(JOINING_S)
        for bridge in left.bridges:
            log.warning("bridge of no call removed", extra={"bridge": bridge})
            await self._departures.delete(ari.delete_bridge(bridge))
