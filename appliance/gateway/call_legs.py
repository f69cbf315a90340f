"""The legs of one call: for each party a bridge with the party's channel and a media channel, and the socket to the latter."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from appliance.gateway.call_services import CALL_VARIABLE, LEG_LOST, PARTY_LEFT, CallNames, CallServices
from appliance.telephony import ari_requests as ari
from appliance.telephony.call_messages import Party
from appliance.telephony.errors import AriError, AriRefused
from appliance.telephony.websocket_media import WebSocketMedia

CONFLICT = 409
WATCH, FORGET_WATCH = "CHANNEL(hangup_handler_push)", "CHANNEL(hangup_handler_wipe)"


class CallLegs:
    """Opens legs, joins parties; the call removes their channels and bridges.

    Args:
        adopted: whether another worker called the agent, whose channel is still that worker's.
    """

    def __init__(self, names: CallNames, services: CallServices, *, adopted: bool = False) -> None:
        self.media: dict[Party, WebSocketMedia] = {}
        """Sockets of the legs that were opened."""
        self._names = names
        self._services = services
        self._adopted = adopted
        self._bridged: set[Party] = set()
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
            steps = [ari.open_media(media, self._services.app, self._services.media_client)]
            if party == "caller":
                steps = [ari.answer(channel), *steps, ari.set_variable(channel, CALL_VARIABLE, self._names.made_as)]
            elif self._adopted:
                steps = [ari.move(channel, self._services.app), *steps]
            await asyncio.gather(*map(request, steps[:1]), self._make_bridge(bridge), *map(request, steps[1:]))
            await self._entered[media].wait()
            watch = [self._watch(media)] if party == "caller" else []
            await asyncio.gather(*map(request, [*watch, ari.add_to_bridge(bridge, channel, media)]))
            self._bridged.add(party)
            self.media[party] = await socket
        finally:
            self._services.gate.forget(media)
        if self._adopted and party == "agent":
            await self._forget_other_worker()

    def channel(self, party: Party) -> str:
        """The party's own channel."""
        return self._names.leg(party)[0]

    async def rebuild(self, party: Party, use: Callable[[WebSocketMedia], None]) -> None:
        """Make the party's media channel anew; the old one goes when the new one is in the bridge and `use` has taken its socket.

        Raises:
            AriError: Asterisk refused; the old one is still there.
        """
        request = self._services.ari.request
        _, old, bridge = self._names.leg(party)
        media = self._names.another_media(party)
        self._entered[media] = asyncio.Event()
        socket = self._services.gate.expect(media)
        try:
            await request(ari.open_media(media, self._services.app, self._services.media_client))
            await self._entered[media].wait()
            watch = [self._watch(media)] if party == "caller" else []
            await asyncio.gather(*map(request, [*watch, ari.add_to_bridge(bridge, media)]))
            opened = await socket
        except BaseException:
            with contextlib.suppress(AriError):
                await request(ari.hang_up(media))
            raise
        finally:
            self._services.gate.forget(media)
            self._entered.pop(media, None)
        broken, self.media[party] = self.media[party], opened
        self._names.keep_media(party, media)
        use(opened)
        with contextlib.suppress(AriError):
            await request(ari.hang_up(old))
        await broken.close()

    async def closed(self, party: Party) -> None:
        """Returns when the socket of the party's leg has closed, and none was made in its place."""
        media = None
        while media is not self.media.get(party):
            media = self.media.get(party)
            if media is not None:
                await media.closed.wait()

    async def _make_bridge(self, bridge: str) -> None:
        try:
            await self._services.ari.request(ari.create_bridge(bridge))
        except AriRefused as error:
            if error.status != CONFLICT:  # an earlier process of this worker left it behind
                raise

    async def _forget_other_worker(self) -> None:
        """What it made for the parties is of no use any more."""
        for left in {f"{self._names.made_as}-{party}" for party in ("caller", "agent")} - set(self._names.bridges.values()):
            with contextlib.suppress(AriError):
                await self._services.ari.request(ari.delete_bridge(left))

    def _watch(self, media: str) -> ari.AriRequest:
        """When this worker dies, its sockets break, their channels end, and the dialplan takes the caller out of its hands."""
        return self._when_it_ends(media, LEG_LOST, self._names.caller_name, self._names.made_as)

    def _when_it_ends(self, channel: str, place: str, *arguments: str) -> ari.AriRequest:
        """Let the dialplan look whether this worker is still there when the channel ends."""
        handler = f"{place}({','.join([str(self._services.worker), *arguments])})"
        return ari.set_variable(channel, WATCH, handler)

    async def join(self) -> None:
        """Both parties hear each other, without us.

        Raises:
            AriError: Asterisk refused.
        """
        apart: list[Party] = ["agent"] if "caller" in self._bridged else ["caller", "agent"]
        channels = [self._names.leg(party)[0] for party in apart]
        request = self._services.ari.request
        await request(ari.add_to_bridge(self._names.bridges["caller-bridge"], *channels))
        caller, agent = self._names.channels["caller"], self._names.channels["agent"]
        ends = [self._when_it_ends(caller, PARTY_LEFT, agent), self._when_it_ends(agent, PARTY_LEFT, self._names.caller_name)]
        if "caller" in self._bridged:  # should we die before his media channel has ended, he must not be taken out of the common bridge
            ends.append(ari.set_variable(self._names.leg("caller")[1], FORGET_WATCH, ""))
        with contextlib.suppress(AriError):  # one of them has just hung up
            await asyncio.gather(*map(request, ends))

    async def close(self, party: Party) -> None:
        """Close the socket; the media channel goes with it."""
        media = self.media.pop(party, None)
        if media is not None:
            await media.close()
