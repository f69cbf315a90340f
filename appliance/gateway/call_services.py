"""What all calls of a worker share, and how everything of a call is called in Asterisk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.events import Event
from appliance.gateway.interpretation import MakeInterpreter
from appliance.telephony.ari_connection import AriConnection
from appliance.telephony.call_messages import Party, Resource
from appliance.telephony.media_gate import MediaGate

QUEUE_CONTEXT, QUEUE_EXTENSION = "without-interpreter", "s"
"""Where the dialplan connects a caller to the agents by itself."""
AGENTS = "Local/it@agents"


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
    """Ids in Asterisk by role, whether the thing exists or not."""

    def __init__(self, prefix: str, call_id: str, caller: str) -> None:
        name = f"{prefix}{call_id}"
        self.channels: dict[Resource, str] = {
            "caller": caller,
            "agent": f"{name}-agent",
            "caller-media": f"{name}-caller-media",
            "agent-media": f"{name}-agent-media",
        }
        self.bridges: dict[Resource, str] = {"caller-bridge": f"{name}-caller", "agent-bridge": f"{name}-agent"}
        self.agent_in_queue = f"{name}-agent-queue"
        """The half of the agent's Local channel that runs the queue."""

    @property
    def all_channels(self) -> tuple[str, ...]:
        return (*self.channels.values(), self.agent_in_queue)

    def leg(self, party: Party) -> tuple[str, str, str]:
        """Channel, media channel and bridge of a party."""
        if party == "caller":
            return self.channels["caller"], self.channels["caller-media"], self.bridges["caller-bridge"]
        return self.channels["agent"], self.channels["agent-media"], self.bridges["agent-bridge"]
