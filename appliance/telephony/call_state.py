"""The state of a call and its elementary moves: join, close, hand over, end, hold, release. Which move when: `call_machine`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from appliance.telephony.call_messages import (
    CallAction,
    Finish,
    HandOver,
    HandToQueue,
    JoinDirectly,
    Notice,
    Outcome,
    Party,
    Phase,
    Prompt,
    Release,
    Resource,
    Say,
    StopMusic,
)

_ORDER: tuple[Resource, ...] = (
    "interpreter",
    "caller-media",
    "agent-media",
    "agent",
    "caller",
    "caller-bridge",
    "agent-bridge",
)
"""First what sends audio, last the bridges."""


@dataclass(frozen=True, slots=True)
class CallState:
    phase: Phase = "ringing"
    held: frozenset[Resource] = frozenset()
    agent: Literal["away", "ringing", "answered", "ready"] = "away"
    music: bool = False
    direct: str = ""
    """Why the parties are to be joined as soon as both are there; empty: they are to be interpreted."""
    notice: Notice = ""
    joined: bool = False
    legs: frozenset[Party] = frozenset()
    """Whose audio flows (again), while `resuming`."""
    outcome: Outcome = "failed"
    """How the call counts once `closing` or `ended`."""
    reason: str = ""
    """Why the call is in this phase."""


Step = tuple[CallState, tuple[CallAction, ...]]


def join(state: CallState, reason: str, notice: Notice = "", *told: Party) -> Step:
    state, quiet = silence_music(replace(state, phase="direct", reason=reason, joined=False))
    return state, (*quiet, JoinDirectly(told, notice) if notice else JoinDirectly())


def close(state: CallState, party: Party, prompt: Prompt, outcome: Outcome, reason: str) -> Step:
    """One party stays and hears why; whatever belongs to the other one goes."""
    other: tuple[Resource, ...] = ("agent-media", "agent-bridge") if party == "caller" else ("caller-media", "caller-bridge")
    state, gone = release(replace(state, phase="closing", outcome=outcome, reason=reason), *other)
    return state, (*gone, Say(party, prompt))


def to_queue(state: CallState, reason: str) -> Step:
    state, quiet = silence_music(state)
    state = replace(state, held=state.held - {"caller"})
    return after((*quiet, HandToQueue()), end(state, "failed", reason))


def to_dialplan(state: CallState, outcome: Outcome, reason: str) -> Step:
    """Leave the parties to the dialplan: nothing of ours is in their way any more."""
    state, quiet = silence_music(state)
    direct = state.phase == "direct" or bool(state.direct)
    kept: set[Resource] = {"caller", "agent"} if state.agent in ("answered", "ready") else {"caller"}
    state = replace(state, held=state.held - kept)
    return after((*quiet, HandOver(direct)), end(state, outcome, reason))


def end(state: CallState, outcome: Outcome, reason: str) -> Step:
    state, quiet = silence_music(state)
    state, gone = release(replace(state, phase="ended", outcome=outcome, reason=reason), *_ORDER)
    return state, (*quiet, *gone, Finish(outcome, reason))


def silence_music(state: CallState) -> Step:
    return (replace(state, music=False), (StopMusic(),)) if state.music else (state, ())


def hold(state: CallState, *resources: Resource) -> CallState:
    return replace(state, held=state.held | set(resources))


def release(state: CallState, *resources: Resource) -> Step:
    gone = tuple(Release(resource) for resource in _ORDER if resource in resources and resource in state.held)
    return replace(state, held=state.held - set(resources)), gone


def after(first: tuple[CallAction, ...], then: Step) -> Step:
    return then[0], (*first, *then[1])
