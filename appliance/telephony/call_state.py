"""The life of a call as a pure state machine: what has happened goes in, what is to be done comes out.

    ringing ----> greeting ----> connecting ----> interpreting ----> closing ----> ended
                     |               |                 |
                     +---------------+------ direct <--+

`ringing`: the caller has been answered and gets a media channel. `greeting`: he hears the greeting while agents ring.
`connecting`: he is asked to hold on and hears music until an agent is there. `interpreting`: both parties are on lanes, and only
now the caller is asked to speak. `direct`: their channels are (being) joined in one bridge. `closing`: one party is gone or there
is no agent; the other hears why. An agent who answers early leads from `greeting` to `interpreting` at once. Every state leads to
`ended` when both are gone, and whatever exists then is released.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from appliance.telephony.call_messages import (
    Aborted,
    AgentAnswered,
    AgentUnavailable,
    Attach,
    CallAction,
    CallAgents,
    CallerArrived,
    CallInput,
    DigitPressed,
    DirectWanted,
    Finish,
    HandToQueue,
    HungUp,
    Interpret,
    JoinDirectly,
    Joined,
    JoinFailed,
    LegFailed,
    LegLost,
    LegReady,
    Notice,
    OpenLeg,
    Outcome,
    Party,
    Phase,
    PressKey,
    Prompt,
    PromptDone,
    Release,
    Resource,
    Say,
    StartMusic,
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
DIRECT_KEY = "0"


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
    outcome: Outcome = "failed"
    """How the call counts once `closing` or `ended`."""
    reason: str = ""
    """Why the call is in this phase."""


Step = tuple[CallState, tuple[CallAction, ...]]


def step(state: CallState, event: CallInput) -> Step:
    """The next state and what to do now. Events that come too late or make no sense in this state change nothing."""
    if state.phase == "ended":
        return state, ()
    match event:
        case CallerArrived():
            return _caller_arrived(state)
        case HungUp(party):
            return _hung_up(state, party)
        case Aborted(reason):
            return _aborted(state, reason)
        case DigitPressed(party, digit):
            return _digit(state, party, digit)
        case DirectWanted(reason, notice):
            return _direct_wanted(state, reason, notice)
    match state.phase:
        case "ringing":
            return _ringing(state, event)
        case "greeting" | "connecting":
            return _waiting(state, event)
        case "interpreting":
            return _interpreting(state, event)
        case "direct":
            return _direct(state, event)
        case "closing":
            return _closing(state, event)
    raise AssertionError(state.phase)


def _caller_arrived(state: CallState) -> Step:
    if state.held or state.phase != "ringing":
        return state, ()
    return _hold(state, "caller", "caller-bridge", "caller-media", "interpreter"), (OpenLeg("caller"),)


def _ringing(state: CallState, event: CallInput) -> Step:
    match event:
        case LegReady("caller") if "caller-media" in state.held:
            state = _hold(replace(state, phase="greeting", agent="ringing"), "agent")
            return state, (Attach("caller"), Say("caller", "greeting"), CallAgents())
        case LegFailed("caller", reason) | LegLost("caller", reason):
            return _hand_over(state, f"no media to the caller: {reason}")
    return state, ()


def _waiting(state: CallState, event: CallInput) -> Step:
    match event:
        case PromptDone("caller", "greeting") if state.phase == "greeting":
            state = replace(state, phase="connecting", reason="")
            return state, (Say("caller", "hold_on"),) if state.agent == "ringing" else ()
        case PromptDone("caller", "hold_on") if state.phase == "connecting" and state.agent == "ringing" and not state.music:
            return replace(state, music=True), (StartMusic(),)
        case AgentAnswered() if state.agent == "ringing":
            if state.direct:
                # Who asked for it need not be told, and an agent who answers must not listen to silence meanwhile.
                notice: Notice = "" if state.notice == "direct_bridge" else state.notice
                return _join(replace(state, agent="answered"), state.direct, notice, "caller")
            return _hold(replace(state, agent="answered"), "agent-bridge", "agent-media"), (OpenLeg("agent"),)
        case LegReady("agent") if state.agent == "answered":
            state = replace(state, agent="ready")
            attach: tuple[CallAction, ...] = (Attach("agent"),)
            if state.direct:
                return _after(attach, _join(state, state.direct, state.notice, "caller", "agent"))
            state, quiet = _silence_music(replace(state, phase="interpreting", reason=""))
            return state, (*attach, *quiet, Interpret(), Say("agent", "agent_greeting"), Say("caller", "speak_now"))
        case LegFailed("agent", reason) | LegLost("agent", reason) if state.agent == "answered":
            return _join(state, f"no media to the agent: {reason}", "interpretation_lost", "caller")
        case AgentUnavailable(reason) if state.agent == "ringing":
            state, quiet = _silence_music(replace(state, agent="away"))
            state, gone = _release(state, "agent")
            return _after((*quiet, *gone), _close(state, "caller", "no_agent", "no_agent", reason))
        case LegLost("caller", reason):
            if state.agent == "ringing":
                return _hand_over(state, f"media to the caller lost: {reason}")
            return _join(state, f"media to the caller lost: {reason}")
    return state, ()


def _interpreting(state: CallState, event: CallInput) -> Step:
    match event:
        case LegLost(party, reason):
            other: Party = "agent" if party == "caller" else "caller"
            return _join(state, f"media to the {party} lost: {reason}", "interpretation_lost", other)
    return state, ()


def _direct(state: CallState, event: CallInput) -> Step:
    match event:
        case Joined() if not state.joined:
            return _release(replace(state, joined=True), "interpreter", "caller-media", "agent-media", "agent-bridge")
        case JoinFailed(reason) if not state.joined:
            return _end(state, "failed", f"parties could not be joined: {reason}")
    return state, ()


def _closing(state: CallState, event: CallInput) -> Step:
    match event:
        case PromptDone(party, "no_agent") if party in state.held:
            return state, (Say(party, "goodbye"),)
        case PromptDone(party, "goodbye") if party in state.held:
            return _end(state, state.outcome, state.reason)
        case LegLost(party, _) if party in state.held:
            return _end(state, state.outcome, state.reason)
    return state, ()


def _hung_up(state: CallState, party: Party) -> Step:
    if party not in state.held:
        return state, ()
    if party == "agent" and state.agent == "ringing":
        return state, ()  # the call to the agents failed: that is `AgentUnavailable`
    reason = f"{party} hung up"
    state = replace(state, held=state.held - {party})
    if party == "agent":
        state = replace(state, agent="away")
    outcome: Outcome = "caller_gone" if party == "caller" else "agent_gone"
    if state.phase == "closing":
        return _end(state, state.outcome, state.reason)
    if state.phase == "direct":
        return _end(state, "direct" if state.joined else outcome, reason)
    if state.phase == "interpreting":
        outcome = "interpreted"
    other: Party = "agent" if party == "caller" else "caller"
    if _can_hear(state, other):
        state, quiet = _silence_music(state)
        return _after(quiet, _close(state, other, "goodbye", outcome, reason))
    return _end(state, outcome, reason)


def _can_hear(state: CallState, party: Party) -> bool:
    if "interpreter" not in state.held or party not in state.held:
        return False
    return party == "caller" or state.agent == "ready"


def _aborted(state: CallState, reason: str) -> Step:
    if "caller" in state.held and state.phase in ("ringing", "greeting", "connecting"):
        return _hand_over(state, reason)
    if state.phase == "closing":
        return _end(state, state.outcome, state.reason)
    return _end(state, "direct" if state.joined else "failed", reason)


def _digit(state: CallState, party: Party, digit: str) -> Step:
    if state.phase not in ("greeting", "connecting", "interpreting") or party not in state.held:
        return state, ()
    if party == "agent" and state.agent != "ready":
        return state, ()
    press: tuple[CallAction, ...] = (PressKey(party, digit),)
    if digit != DIRECT_KEY:
        return state, press
    return _after(press, _direct_wanted(state, f"{party} pressed {DIRECT_KEY}", "direct_bridge"))


def _direct_wanted(state: CallState, reason: str, notice: Notice) -> Step:
    if state.phase == "interpreting":
        return _join(state, reason, notice, "caller", "agent")
    if state.phase in ("ringing", "greeting", "connecting"):
        return replace(state, direct=state.direct or reason, notice=state.notice or notice), ()
    return state, ()


def _join(state: CallState, reason: str, notice: Notice = "", *told: Party) -> Step:
    state, quiet = _silence_music(replace(state, phase="direct", reason=reason))
    return state, (*quiet, JoinDirectly(told, notice) if notice else JoinDirectly())


def _close(state: CallState, party: Party, prompt: Prompt, outcome: Outcome, reason: str) -> Step:
    """One party stays and hears why; whatever belongs to the other one goes."""
    other: tuple[Resource, ...] = ("agent-media", "agent-bridge") if party == "caller" else ("caller-media", "caller-bridge")
    state, gone = _release(replace(state, phase="closing", outcome=outcome, reason=reason), *other)
    return state, (*gone, Say(party, prompt))


def _hand_over(state: CallState, reason: str) -> Step:
    state, quiet = _silence_music(state)
    state = replace(state, held=state.held - {"caller"})
    return _after((*quiet, HandToQueue()), _end(state, "failed", reason))


def _end(state: CallState, outcome: Outcome, reason: str) -> Step:
    state, quiet = _silence_music(state)
    state, gone = _release(replace(state, phase="ended", outcome=outcome, reason=reason), *_ORDER)
    return state, (*quiet, *gone, Finish(outcome, reason))


def _silence_music(state: CallState) -> Step:
    return (replace(state, music=False), (StopMusic(),)) if state.music else (state, ())


def _hold(state: CallState, *resources: Resource) -> CallState:
    return replace(state, held=state.held | set(resources))


def _release(state: CallState, *resources: Resource) -> Step:
    gone = tuple(Release(resource) for resource in _ORDER if resource in resources and resource in state.held)
    return replace(state, held=state.held - set(resources)), gone


def _after(first: tuple[CallAction, ...], then: Step) -> Step:
    return then[0], (*first, *then[1])
