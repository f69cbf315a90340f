"""What happens to a call and what is to be done about it: the inputs and the actions of its state machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Party = Literal["caller", "agent"]
Phase = Literal["ringing", "greeting", "connecting", "interpreting", "direct", "resuming", "closing", "ended"]
Outcome = Literal["interpreted", "direct", "no_agent", "caller_gone", "agent_gone", "failed"]
Resource = Literal["caller", "caller-bridge", "caller-media", "agent", "agent-bridge", "agent-media", "interpreter"]
"""What a call holds. A resource is held from the action that asks for it, so what is only half made is released too."""
Prompt = Literal["greeting", "hold_on", "agent_greeting", "speak_now", "no_agent", "goodbye", "direct_bridge", "interpretation_lost"]
Notice = Literal["", "direct_bridge", "interpretation_lost"]
"""What the parties are told before they are joined directly; empty: nothing."""


# Events


@dataclass(frozen=True, slots=True)
class CallerArrived:
    """The caller's channel is in the application."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """The caller of a worker that is gone is in the application; an agent has answered him there."""

    reason: str


@dataclass(frozen=True, slots=True)
class LegReady:
    """The party's channel and its media channel are in one bridge, and audio flows."""

    party: Party


@dataclass(frozen=True, slots=True)
class LegFailed:
    party: Party
    reason: str


@dataclass(frozen=True, slots=True)
class LegLost:
    """The media of a leg that was ready has ended, though the party is still there."""

    party: Party
    reason: str


@dataclass(frozen=True, slots=True)
class PromptDone:
    """The party has heard the prompt, or it could not be played."""

    party: Party
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class AgentAnswered:
    pass


@dataclass(frozen=True, slots=True)
class AgentUnavailable:
    """The call to the agents ended before anybody answered."""

    reason: str


@dataclass(frozen=True, slots=True)
class HungUp:
    party: Party


@dataclass(frozen=True, slots=True)
class DigitPressed:
    party: Party
    digit: str


@dataclass(frozen=True, slots=True)
class DirectWanted:
    """Interpretation is not wanted (same language, key 0) or not possible."""

    reason: str
    notice: Notice = ""


@dataclass(frozen=True, slots=True)
class Joined:
    """The parties' channels are in one bridge."""


@dataclass(frozen=True, slots=True)
class JoinFailed:
    reason: str


@dataclass(frozen=True, slots=True)
class Aborted:
    """The worker stops, Asterisk is gone, or this call broke."""

    reason: str


CallInput = (
    CallerArrived
    | Adopted
    | LegReady
    | LegFailed
    | LegLost
    | PromptDone
    | AgentAnswered
    | AgentUnavailable
    | HungUp
    | DigitPressed
    | DirectWanted
    | Joined
    | JoinFailed
    | Aborted
)


# Actions


@dataclass(frozen=True, slots=True)
class OpenLeg:
    """Make the party's bridge and media channel; leads to `LegReady` or `LegFailed`. For the caller: answer, and make the interpreter.
    For an agent whom another worker left behind: make his channel this worker's."""

    party: Party


@dataclass(frozen=True, slots=True)
class Attach:
    """Give the leg's audio to the interpreter."""

    party: Party


@dataclass(frozen=True, slots=True)
class CallAgents:
    """Leads to `AgentAnswered` or `AgentUnavailable`."""


@dataclass(frozen=True, slots=True)
class Say:
    """Play a prompt; always leads to `PromptDone`."""

    party: Party
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class StartMusic:
    """Music on hold for the caller."""


@dataclass(frozen=True, slots=True)
class StopMusic:
    pass


@dataclass(frozen=True, slots=True)
class Interpret:
    """Start both lanes."""


@dataclass(frozen=True, slots=True)
class PressKey:
    """Tell the interpreter about a keypad digit."""

    party: Party
    digit: str


@dataclass(frozen=True, slots=True)
class JoinDirectly:
    """Move the agent's channel to the caller's bridge and take the media channels out; leads to `Joined` or `JoinFailed`."""

    told: tuple[Party, ...] = ()
    """Who hears the notice before."""
    notice: Notice = ""


@dataclass(frozen=True, slots=True)
class HandToQueue:
    """Send the caller on to the agents' queue in the dialplan: nothing of ours is in his way any more."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """Send the caller on in the dialplan, which gives the call to another worker, or else joins him with the agent he has."""

    direct: bool = False
    """Whether the parties are not to be interpreted again."""


@dataclass(frozen=True, slots=True)
class Release:
    """Remove a resource if it exists."""

    resource: Resource


@dataclass(frozen=True, slots=True)
class Finish:
    """The call is over; always the last action."""

    outcome: Outcome
    reason: str


CallAction = (
    OpenLeg
    | Attach
    | CallAgents
    | Say
    | StartMusic
    | StopMusic
    | Interpret
    | PressKey
    | JoinDirectly
    | HandToQueue
    | HandOver
    | Release
    | Finish
)
