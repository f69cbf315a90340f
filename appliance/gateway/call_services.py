"""What all calls of a worker share, and how everything of a call is called in Asterisk."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.events import Event
from appliance.gateway.interpretation import MakeInterpreter
from appliance.telephony.ari_connection import AriConnection
from appliance.telephony.ari_messages import Channel
from appliance.telephony.call_messages import Party, Resource
from appliance.telephony.media_gate import MediaGate

QUEUE_CONTEXT, QUEUE_EXTENSION = "without-interpreter", "s"
"""Where the dialplan connects a caller to the agents by itself."""
FULL_CONTEXT, FULL_EXTENSION = "full", "s"
"""Where it does with a caller what is configured for more calls than the node can carry."""
GONE_CONTEXT, GONE_EXTENSION, GONE_DIRECT_EXTENSION = "worker-gone", "s", "direct"
"""Where it finds another worker for a call, or joins caller and agent by itself; the second one never finds a worker."""
ADOPT = "adopt"
"""First argument of a caller who comes from there, before the name of the call and the number that was called."""
CALL_VARIABLE = "setu_call"
"""Variable of the caller's channel: the name of the call, by which the dialplan finds the agent."""
LEG_LOST, PARTY_LEFT = "leg-lost,s,1", "party-left,s,1"
"""Where the dialplan looks whether its worker is still there when a caller's media channel has ended, or one of two joined parties."""
AGENTS = "Local/it@agents"
PARTIES: tuple[Party, ...] = ("caller", "agent")
SPARE_MEDIA = 3
"""Ids for media channels that are made in place of one that broke; an id is free again once Asterisk has let go of it."""
_ID_TIME = "%Y%m%d-%H%M%S"
_MADE_AS = re.compile(r"setu-[0-9]+-(?P<call>[0-9]{8}-[0-9]{6}-[0-9a-f]{4})")


@dataclass(frozen=True, slots=True)
class CallServices:
    worker: int
    ari: AriConnection
    gate: MediaGate
    make_interpreter: MakeInterpreter
    publish: Callable[[Event], None]
    fallback: Callable[[str], None]
    """Called with a code word whenever a call goes on with less than it should have."""
    company_number: str
    ring_s: float
    direct_policy: bool
    """Whether a caller who speaks the agents' language is bridged to them."""

    @property
    def app(self) -> str:
        """Name of the Stasis application."""
        return f"setu-{self.worker}"

    @property
    def media_client(self) -> str:
        """Id of Asterisk's `websocket_client` whose address leads to this worker."""
        return f"setu-media-{self.worker}"

    @property
    def prefix(self) -> str:
        """Of every channel and bridge id that this worker makes."""
        return f"setu-{self.worker}-"


class CallNames:
    """Ids in Asterisk by role, whether the thing exists or not.

    Args:
        prefix: of the worker that has the call.
        caller: the caller's channel.
        made_as: name of the call at the worker that called the agents, when that was another one.
        caller_name: Asterisk's name of the caller's channel.
    """

    def __init__(self, prefix: str, call_id: str, caller: str, made_as: str = "", caller_name: str = "") -> None:
        name = f"{prefix}{call_id}"
        self.caller_name = caller_name or caller
        """For the dialplan, which finds channels by the beginning of an id or a name: an id of Asterisk's own may be that of another."""
        self.made_as = made_as or name
        self.channels: dict[Resource, str] = {
            "caller": caller,
            "agent": f"{self.made_as}-to-agent",
            "caller-media": f"{name}-caller-media",
            "agent-media": f"{name}-agent-media",
        }
        self.bridges: dict[Resource, str] = {"caller-bridge": f"{name}-caller", "agent-bridge": f"{name}-agent"}
        self._spare_media = {party: [f"{name}-{party}-media-{number}" for number in range(2, 2 + SPARE_MEDIA)] for party in PARTIES}
        self.agent_in_queue = f"{self.made_as}-agent-queue"
        """The half of the agent's Local channel that runs the queue."""

    @property
    def all_channels(self) -> tuple[str, ...]:
        spare = (channel for channels in self._spare_media.values() for channel in channels)
        return (*self.channels.values(), *spare, self.agent_in_queue)

    def another_media(self, party: Party) -> str:
        """Id of another media channel of the party than the present one, not used lately."""
        spare = self._spare_media[party]
        spare.append(spare.pop(0))
        return spare[-1]

    def keep_media(self, party: Party, channel: str) -> None:
        """From now on this is the party's media channel; the one before is spare."""
        role: Resource = "caller-media" if party == "caller" else "agent-media"
        spare = self._spare_media[party]
        spare[spare.index(channel)] = self.channels[role]
        self.channels[role] = channel

    def leg(self, party: Party) -> tuple[str, str, str]:
        """Channel, media channel and bridge of a party."""
        if party == "caller":
            return self.channels["caller"], self.channels["caller-media"], self.bridges["caller-bridge"]
        return self.channels["agent"], self.channels["agent-media"], self.bridges["agent-bridge"]


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is known of a call from its beginning."""

    call_id: str
    caller_number: str
    called_number: str
    started_at: float
    """Seconds since the epoch."""
    names: CallNames
    adopted: bool = False
    """Whether another worker had it before."""


def new_call(prefix: str, caller: Channel) -> CallFacts:
    """A call that begins now."""
    now = time.time()
    call_id = f"{time.strftime(_ID_TIME, time.localtime(now))}-{secrets.token_hex(2)}"
    return CallFacts(call_id, _digits(caller.caller.number), caller.dialplan.exten, now, _names(prefix, call_id, caller))


def adopted_call(prefix: str, caller: Channel, args: Sequence[str]) -> CallFacts | None:
    """A call that another worker began, from the arguments its caller enters the application with; None when they name none."""
    match = _MADE_AS.fullmatch(args[1]) if len(args) == 3 and args[0] == ADOPT else None
    if match is None:
        return None
    call_id = match["call"]
    try:
        started_at = time.mktime(time.strptime(call_id.rsplit("-", 1)[0], _ID_TIME))
    except (ValueError, OverflowError):
        return None
    names = _names(prefix, call_id, caller, match[0])
    return CallFacts(call_id, _digits(caller.caller.number), args[2], started_at, names, adopted=True)


def _names(prefix: str, call_id: str, caller: Channel, made_as: str = "") -> CallNames:
    return CallNames(prefix, call_id, caller.id, made_as, caller.name)


def _digits(number: str) -> str:
    return re.sub(r"[^0-9+]", "", number)[:32]
