"""What Asterisk has of a worker's application that belongs to no call of it: left by a process that died, or after messages were lost.

Who has what can be told by the bridges, whose names begin with their worker's: a channel in somebody else's bridge, or in one that the
dialplan made, is in good hands, whatever its own name and the arguments it came in with say.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from appliance.telephony.ari_messages import Bridge, Channel

UP = "Up"
_AGENT, _QUEUE = "-agent", "-agent-queue"


@dataclass(frozen=True, slots=True)
class Leftovers:
    callers: frozenset[str] = frozenset()
    """Channels that wait for somebody to take them out of the application."""
    joined: frozenset[str] = frozenset()
    """Those of them who hear their agent already."""
    agents: frozenset[str] = frozenset()
    """Channels of agents in conversation: their caller's next worker, or the dialplan, needs them for a while."""
    debris: frozenset[str] = frozenset()
    """Channels nobody needs."""
    bridges: frozenset[str] = frozenset()

    def still(self, later: Leftovers) -> Leftovers:
        """What is left over at both times."""
        return Leftovers(
            self.callers & later.callers,
            self.joined & later.joined,
            self.agents & later.agents,
            self.debris & later.debris,
            self.bridges & later.bridges,
        )


def left_over(
    channels: Sequence[Channel], bridges: Sequence[Bridge], *, app: str, owned: Collection[str], in_use: Collection[str]
) -> Leftovers:
    """What belongs to no call.

    Args:
        app: name of the application; with a dash behind it, the prefix of every id its worker makes.
        owned: channels of the worker's calls.
        in_use: bridges of the worker's calls.
    """
    prefix = f"{app}-"
    bridge_of = {channel: bridge for bridge in bridges for channel in bridge.channels}
    callers, joined, agents, debris = set(), set(), set(), set()
    for channel in channels:
        bridge = bridge_of.get(channel.id)
        if channel.id in owned or (bridge is not None and not bridge.id.startswith(prefix)):
            continue
        in_app = channel.dialplan.app_name == "Stasis" and channel.dialplan.app_data.split(",")[0] == app
        if channel.id.endswith(_QUEUE):
            continue  # goes with its other half
        if channel.id.startswith(prefix) and channel.id.endswith(_AGENT) and channel.state == UP:
            agents.add(channel.id)
        elif channel.id.startswith(prefix):
            debris.add(channel.id)
        elif in_app:
            callers.add(channel.id)
            if bridge is not None and any(member.endswith(_AGENT) for member in bridge.channels):
                joined.add(channel.id)
    stale = {bridge.id for bridge in bridges if bridge.id.startswith(prefix) and bridge.id not in in_use}
    return Leftovers(frozenset(callers), frozenset(joined), frozenset(agents), frozenset(debris), frozenset(stale))
