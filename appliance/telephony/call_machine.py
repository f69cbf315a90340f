"""The life of a call as a pure state machine: what has happened goes in, what is to be done comes out.

    ringing ----> greeting ----> connecting ----> interpreting ----> closing ----> ended
                     |               |                 |
                     +---------------+------ direct <--+

`ringing`: the caller has been answered and gets a media channel. `greeting`: he hears the greeting while agents ring.
`connecting`: he is asked to hold on and hears music until an agent is there. `interpreting`: both parties are on lanes, and only
now the caller is asked to speak. `direct`: their channels are (being) joined in one bridge. `closing`: one party is gone or there
is no agent; the other hears why. `resuming`: the legs of a call that another worker left behind are made anew. An agent who
answers early leads from `greeting` to `interpreting` at once. Every state leads to `ended` when both are gone, and whatever
exists then is released.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.telephony.call_messages import (
    Aborted,
    Adopted,
    AgentAnswered,
    AgentUnavailable,
    Attach,
    CallAction,
    CallAgents,
    CallerArrived,
    CallInput,
    DigitPressed,
    DirectWanted,
    HungUp,
    Interpret,
    Joined,
    JoinFailed,
    LegFailed,
    LegLost,
    LegReady,
    Notice,
    OpenLeg,
    Outcome,
    Party,
    PressKey,
    PromptDone,
    Say,
    StartMusic,
)
from appliance.telephony.call_state import CallState, Step, after, close, end, hold, join, release, silence_music, to_dialplan, to_queue

DIRECT_KEY = "0"


def step(state: CallState, event: CallInput) -> Step:
    """The next state and what to do now. Events that come too late or make no sense in this state change nothing."""
    if state.phase == "ended":
        return state, ()
    match event:
        case CallerArrived():
            return _caller_arrived(state)
        case Adopted(reason):
            return _adopted(state, reason)
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
        case "resuming":
            return _resuming(state, event)
        case "closing":
            return _closing(state, event)
    raise AssertionError(state.phase)


def _caller_arrived(state: CallState) -> Step:
    if state.held or state.phase != "ringing":
        return state, ()
    return hold(state, "caller", "caller-bridge", "caller-media", "interpreter"), (OpenLeg("caller"),)


def _adopted(state: CallState, reason: str) -> Step:
    if state.held or state.phase != "ringing":
        return state, ()
    state = replace(state, phase="resuming", agent="ready", reason=reason)
    state = hold(state, "interpreter", "caller", "agent", "caller-media", "agent-media", "caller-bridge", "agent-bridge")
    return state, (OpenLeg("caller"), OpenLeg("agent"))


def _ringing(state: CallState, event: CallInput) -> Step:
    match event:
        case LegReady("caller") if "caller-media" in state.held:
            state = hold(replace(state, phase="greeting", agent="ringing"), "agent")
            return state, (Attach("caller"), Say("caller", "greeting"), CallAgents())
        case LegFailed("caller", reason) | LegLost("caller", reason):
            return to_queue(state, f"no media to the caller: {reason}")
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
                return join(replace(state, agent="answered"), state.direct, notice, "caller")
            return hold(replace(state, agent="answered"), "agent-bridge", "agent-media"), (OpenLeg("agent"),)
        case LegReady("agent") if state.agent == "answered":
            state = replace(state, agent="ready")
            attach: tuple[CallAction, ...] = (Attach("agent"),)
            if state.direct:
                return after(attach, join(state, state.direct, state.notice, "caller", "agent"))
            state, quiet = silence_music(replace(state, phase="interpreting", reason=""))
            return state, (*attach, *quiet, Interpret(), Say("agent", "agent_greeting"), Say("caller", "speak_now"))
        case LegFailed("agent", reason) | LegLost("agent", reason) if state.agent == "answered":
            return join(state, f"no media to the agent: {reason}", "interpretation_lost", "caller")
        case AgentUnavailable(reason) if state.agent == "ringing":
            state, quiet = silence_music(replace(state, agent="away"))
            state, gone = release(state, "agent")
            return after((*quiet, *gone), close(state, "caller", "no_agent", "no_agent", reason))
        case LegLost("caller", reason):
            if state.agent == "ringing":
                return to_queue(state, f"media to the caller lost: {reason}")
            return join(state, f"media to the caller lost: {reason}")
    return state, ()


def _interpreting(state: CallState, event: CallInput) -> Step:
    match event:
        case LegLost(party, reason):
            other: Party = "agent" if party == "caller" else "caller"
            return join(state, f"media to the {party} lost: {reason}", "interpretation_lost", other)
    return state, ()


def _direct(state: CallState, event: CallInput) -> Step:
    match event:
        case Joined() if not state.joined:
            return release(replace(state, joined=True), "interpreter", "caller-media", "agent-media", "agent-bridge")
        case JoinFailed(reason) if not state.joined:
            return end(state, "failed", f"parties could not be joined: {reason}")
    return state, ()


def _resuming(state: CallState, event: CallInput) -> Step:
    match event:
        case LegReady(party):
            state = replace(state, legs=state.legs | {party})
            if len(state.legs) < 2:
                return state, ()
            state = replace(state, phase="interpreting", reason="")
            return state, (Attach("caller"), Attach("agent"), Interpret(), Say("caller", "speak_now"))
        case LegFailed(party, reason) | LegLost(party, reason):
            return join(state, f"no media to the {party}: {reason}")
    return state, ()


def _closing(state: CallState, event: CallInput) -> Step:
    match event:
        case PromptDone(party, "no_agent") if party in state.held:
            return state, (Say(party, "goodbye"),)
        case PromptDone(party, "goodbye") if party in state.held:
            return end(state, state.outcome, state.reason)
        case LegLost(party, _) if party in state.held:
            return end(state, state.outcome, state.reason)
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
        return end(state, state.outcome, state.reason)
    if state.phase in ("direct", "resuming"):
        return end(state, "direct" if state.joined else outcome, reason)
    if state.phase == "interpreting":
        outcome = "interpreted"
    other: Party = "agent" if party == "caller" else "caller"
    if _can_hear(state, other):
        state, quiet = silence_music(state)
        return after(quiet, close(state, other, "goodbye", outcome, reason))
    return end(state, outcome, reason)


def _can_hear(state: CallState, party: Party) -> bool:
    if "interpreter" not in state.held or party not in state.held:
        return False
    return party == "caller" or state.agent == "ready"


def _aborted(state: CallState, reason: str) -> Step:
    if state.phase == "closing" or "caller" not in state.held:
        return end(state, state.outcome, reason)
    outcome: Outcome = "failed"
    if state.phase == "interpreting":
        outcome = "interpreted"
    elif state.joined:
        outcome = "direct"
    return to_dialplan(state, outcome, reason)


def _digit(state: CallState, party: Party, digit: str) -> Step:
    if state.phase not in ("greeting", "connecting", "interpreting") or party not in state.held:
        return state, ()
    if party == "agent" and state.agent != "ready":
        return state, ()
    press: tuple[CallAction, ...] = (PressKey(party, digit),)
    if digit != DIRECT_KEY:
        return state, press
    return after(press, _direct_wanted(state, f"{party} pressed {DIRECT_KEY}", "direct_bridge"))


def _direct_wanted(state: CallState, reason: str, notice: Notice) -> Step:
    if state.phase == "interpreting":
        return join(state, reason, notice, "caller", "agent")
    if state.phase == "resuming":
        return join(state, reason)
    if state.phase in ("ringing", "greeting", "connecting"):
        return replace(state, direct=state.direct or reason, notice=state.notice or notice), ()
    return state, ()
