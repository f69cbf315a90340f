"""The legs of one call: for each party a bridge with the party's channel and a media channel, and the socket to the latter."""

from __future__ import annotations

import asyncio

from appliance.gateway.call_services import CallNames, CallServices
from appliance.telephony import ari_requests as ari
from appliance.telephony.call_messages import Party
from appliance.telephony.websocket_media import WebSocketMedia


class CallLegs:
    """Opens legs; the call removes their channels and bridges."""

    def __init__(self, names: CallNames, services: CallServices) -> None:
        self.media: dict[Party, WebSocketMedia] = {}
        """Sockets of the legs that were opened."""
        self._names = names
        self._services = services
        self._entered = {names.channels["caller-media"]: asyncio.Event(), names.channels["agent-media"]: asyncio.Event()}

    def entered(self, channel: str) -> None:
        """A channel is in the application; only then can it be put into a bridge."""
        if channel in self._entered:
            self._entered[channel].set()

    async def open(self, party: Party) -> None:
        """Answer the caller, make bridge and media channel, all at once; returns when audio flows.

        Raises:
            AriError: Asterisk refused.
        """
        request = self._services.ari.request
        channel, media, bridge = self._names.leg(party)
        socket = self._services.gate.expect(media)
        try:
            made = [request(ari.answer(channel))] if party == "caller" else []
            made += [request(ari.create_bridge(bridge)), request(ari.open_media(media, self._services.app, self._services.media_client))]
            await asyncio.gather(*made)
            await self._entered[media].wait()
            await request(ari.add_to_bridge(bridge, channel, media))
            self.media[party] = await socket
        finally:
            self._services.gate.forget(media)

    async def close(self, party: Party) -> None:
        """Close the socket; the media channel goes with it."""
        media = self.media.pop(party, None)
        if media is not None:
            await media.close()
