"""The call's state machine: what must hold on every path, and the paths a real call takes."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.telephony import call_messages as machine
from appliance.telephony.call_machine import step
from appliance.telephony.call_messages import (
    Aborted,
    Adopted,
    AgentAnswered,
    AgentUnavailable,
    CallAction,
    CallerArrived,
    CallInput,
    DigitPressed,
    DirectWanted,
    Finish,
    HandOver,
    HandToQueue,
    HungUp,
    JoinDirectly,
    Joined,
    JoinFailed,
    LegFailed,
    LegLost,
    LegReady,
    Phase,
    PromptDone,
    Release,
    Say,
)
from appliance.telephony.call_state import CallState

PROMPTS = get_args(machine.Prompt)
EVERY_INPUT: list[CallInput] = [
    CallerArrived(),
    Adopted("x"),
    AgentAnswered(),
    AgentUnavailable("busy"),
    Joined(),
    JoinFailed("x"),
    Aborted("x"),
    DirectWanted("same language"),
    DirectWanted("no models", "interpretation_lost"),
    *(make(party) for party in ("caller", "agent") for make in (LegReady, HungUp)),
    *(make(party, "x") for party in ("caller", "agent") for make in (LegFailed, LegLost)),
    *(DigitPressed(party, digit) for party in ("caller", "agent") for digit in "05*"),
    *(PromptDone(party, prompt) for party in ("caller", "agent") for prompt in PROMPTS),
]
NEXT: dict[Phase, set[Phase]] = {
    "ringing": {"greeting", "resuming", "ended"},
    "greeting": {"connecting", "interpreting", "direct", "closing", "ended"},
    "connecting": {"interpreting", "direct", "closing", "ended"},
    "interpreting": {"direct", "closing", "ended"},
    "direct": {"ended"},
    "resuming": {"interpreting", "direct", "ended"},
    "closing": {"ended"},
    "ended": set(),
}
TAKES = {
    machine.OpenLeg("caller"): {"caller", "caller-bridge", "caller-media", "interpreter"},
    machine.OpenLeg("agent"): {"agent-bridge", "agent-media"},
    machine.CallAgents(): {"agent"},
}


class Replay:
    """Runs inputs and keeps an account of what the actions made, apart from the machine's own."""

    def __init__(self) -> None:
        self.state = CallState()
        self.actions: list[CallAction] = []
        self.exists: set[str] = set()
        self.music = False
        self.talking = False

    def feed(self, *events: CallInput) -> list[CallAction]:
        done: list[CallAction] = []
        for event in events:
            before = self.state
            self.talking = before.agent in ("answered", "ready")
            self.state, actions = step(self.state, event)
            assert self.state.phase == before.phase or self.state.phase in NEXT[before.phase], (before, event)
            if isinstance(event, HungUp) and not (event.party == "agent" and before.agent == "ringing"):
                self.exists.discard(event.party)
            if isinstance(event, Adopted) and before.phase == "ringing" and not before.held:
                self.exists |= {"agent"}  # it comes with the caller
            for action in actions:
                self._account(action)
            assert self.exists == self.state.held, (before, event, actions)
            assert self.music == self.state.music
            done += actions
        self.actions += done
        return done

    def _account(self, action: CallAction) -> None:
        for made in TAKES.get(action, set()):
            self.exists.add(made)
        match action:
            case Release(resource):
                assert resource in self.exists
                self.exists.discard(resource)
            case HandToQueue():
                assert "caller" in self.exists
                self.exists.discard("caller")
            case HandOver():
                assert "caller" in self.exists
                self.exists -= {"caller", "agent"} if self.talking else {"caller"}
            case machine.StartMusic():
                assert not self.music
                self.music = True
            case machine.StopMusic():
                assert self.music
                self.music = False
            case Say(party, _):
                assert party in self.exists
                assert not (party == "caller" and self.music)
            case JoinDirectly():
                assert {"caller", "agent"} <= self.exists
            case machine.PressKey(party, _) | machine.Attach(party):
                assert party in self.exists


def reachable() -> set[CallState]:
    """Every state the machine can get into by any sequence of inputs."""
    seen = {CallState()}
    edge = [CallState()]
    while edge:
        state = edge.pop()
        for event in EVERY_INPUT:
            after, _ = step(state, event)
            if after not in seen:
                seen.add(after)
                edge.append(after)
    return seen


def test_from_every_reachable_state_every_input_leads_to_a_legal_state() -> None:
    states = reachable()
    assert {state.phase for state in states} == set(NEXT)
    for state in states:
        for event in EVERY_INPUT:
            after, actions = step(state, event)
            assert after.phase == state.phase or after.phase in NEXT[state.phase], (state, event, after)
            finished = [action for action in actions if isinstance(action, Finish)]
            if after.phase == "ended" and state.phase != "ended":
                assert finished == [actions[-1]]
                assert not after.held
                released = {action.resource for action in actions if isinstance(action, Release)}
                left = {event.party} if isinstance(event, HungUp) else set()
                sent_on = {"caller"} if HandToQueue() in actions else set()
                if any(isinstance(action, HandOver) for action in actions):
                    sent_on = {"caller", "agent"} if state.agent in ("answered", "ready") else {"caller"}
                assert released | left | sent_on >= state.held
            else:
                assert not finished
            if state.phase == "ended":
                assert after == state
                assert not actions


def test_every_reachable_state_can_end_and_nothing_keeps_a_call_alive_without_parties() -> None:
    for state in reachable():
        assert step(state, Aborted("x"))[0].phase == "ended"
        caller_gone = step(state, HungUp("caller"))[0]
        both_gone = step(caller_gone, HungUp("agent"))[0]
        if state.phase != "ringing" or state.held:
            assert both_gone.phase == "ended", state


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(EVERY_INPUT), max_size=25))
def test_whatever_happens_what_exists_is_released(events: list[CallInput]) -> None:
    replay = Replay()
    replay.feed(CallerArrived(), *events, Aborted("end of the story"))
    assert replay.state.phase == "ended"
    assert not replay.exists
    assert not replay.music
    assert sum(isinstance(action, Finish) for action in replay.actions) == 1


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(EVERY_INPUT), max_size=12))
def test_a_call_that_got_far_is_released_too(events: list[CallInput]) -> None:
    replay = Replay()
    replay.feed(CallerArrived(), LegReady("caller"), AgentAnswered(), LegReady("agent"))
    replay.feed(*events, HungUp("caller"), HungUp("agent"))
    assert replay.state.phase == "ended"
    assert not replay.exists


def waiting() -> Replay:
    replay = Replay()
    replay.feed(CallerArrived(), LegReady("caller"), PromptDone("caller", "greeting"), PromptDone("caller", "hold_on"))
    assert replay.state.phase == "connecting"
    assert replay.music
    return replay


def interpreting() -> Replay:
    replay = waiting()
    replay.feed(AgentAnswered(), LegReady("agent"))
    assert replay.state.phase == "interpreting"
    assert not replay.music
    return replay


def finish(replay: Replay) -> Finish:
    last = replay.actions[-1]
    assert isinstance(last, Finish)
    return last


def test_agents_ring_while_the_greeting_is_heard() -> None:
    replay = Replay()
    actions = replay.feed(CallerArrived(), LegReady("caller"))
    assert actions.index(Say("caller", "greeting")) < actions.index(machine.CallAgents())


def test_music_stops_before_interpretation_starts() -> None:
    replay = waiting()
    actions = replay.feed(AgentAnswered(), LegReady("agent"))
    assert actions.index(machine.StopMusic()) < actions.index(machine.Interpret()) < actions.index(Say("agent", "agent_greeting"))


def test_the_caller_is_asked_to_speak_once_somebody_listens() -> None:
    replay = waiting()
    asked = Say("caller", "speak_now")
    assert asked not in replay.actions
    actions = replay.feed(AgentAnswered(), LegReady("agent"))
    assert actions.index(machine.Interpret()) < actions.index(asked)


def test_an_agent_who_answers_during_the_greeting_is_interpreted_at_once_and_without_music() -> None:
    replay = Replay()
    replay.feed(CallerArrived(), LegReady("caller"), AgentAnswered(), LegReady("agent"))
    assert replay.state.phase == "interpreting"
    assert machine.StartMusic() not in replay.feed(PromptDone("caller", "greeting"), PromptDone("caller", "hold_on"))


def test_no_agent_is_said_and_the_caller_is_hung_up() -> None:
    replay = waiting()
    assert replay.feed(AgentUnavailable("no answer"))[-1] == Say("caller", "no_agent")
    assert replay.feed(PromptDone("caller", "no_agent")) == [Say("caller", "goodbye")]
    replay.feed(PromptDone("caller", "goodbye"))
    assert finish(replay) == Finish("no_agent", "no answer")


@pytest.mark.parametrize(("leaves", "stays"), [("caller", "agent"), ("agent", "caller")])
def test_the_party_that_stays_hears_goodbye(leaves: machine.Party, stays: machine.Party) -> None:
    replay = interpreting()
    actions = replay.feed(HungUp(leaves))
    assert actions[-1] == Say(stays, "goodbye")
    assert replay.state.phase == "closing"
    assert Release(stays) in replay.feed(PromptDone(stays, "goodbye"))
    assert finish(replay) == Finish("interpreted", f"{leaves} hung up")


@pytest.mark.parametrize(
    ("before", "outcome"),
    [
        ([CallerArrived()], "caller_gone"),
        ([CallerArrived(), LegReady("caller")], "caller_gone"),
        ([CallerArrived(), LegReady("caller"), PromptDone("caller", "greeting")], "caller_gone"),
        ([CallerArrived(), LegReady("caller"), AgentAnswered()], "caller_gone"),
    ],
)
def test_a_caller_who_gives_up_early_ends_the_call_at_once(before: list[CallInput], outcome: str) -> None:
    replay = Replay()
    replay.feed(*before, HungUp("caller"))
    assert finish(replay).outcome == outcome


def test_key_zero_joins_the_parties_and_frees_media_and_interpreter() -> None:
    replay = interpreting()
    assert replay.feed(DigitPressed("caller", "0")) == [machine.PressKey("caller", "0"), JoinDirectly(("caller", "agent"), "direct_bridge")]
    replay.feed(Joined())
    assert replay.exists == {"caller", "agent", "caller-bridge"}
    replay.feed(HungUp("agent"))
    assert finish(replay) == Finish("direct", "agent hung up")


def test_other_keys_go_to_the_interpreter() -> None:
    assert interpreting().feed(DigitPressed("agent", "9")) == [machine.PressKey("agent", "9")]


def test_without_interpreter_the_parties_are_told_and_joined() -> None:
    replay = interpreting()
    assert replay.feed(DirectWanted("models are gone", "interpretation_lost")) == [JoinDirectly(("caller", "agent"), "interpretation_lost")]


def test_without_interpreter_from_the_start_the_agent_is_joined_when_he_answers() -> None:
    replay = Replay()
    replay.feed(CallerArrived(), DirectWanted("no models", "interpretation_lost"), LegReady("caller"))
    replay.feed(PromptDone("caller", "greeting"), PromptDone("caller", "hold_on"))
    assert replay.feed(AgentAnswered()) == [machine.StopMusic(), JoinDirectly(("caller",), "interpretation_lost")]


def test_key_zero_while_waiting_joins_the_agent_at_once_when_he_answers() -> None:
    replay = waiting()
    replay.feed(DigitPressed("caller", "0"))
    assert replay.feed(AgentAnswered()) == [machine.StopMusic(), JoinDirectly()]


def test_no_media_to_the_caller_sends_him_to_the_queue_before_anything_is_released() -> None:
    replay = Replay()
    replay.feed(CallerArrived())
    actions = replay.feed(LegFailed("caller", "no socket"))
    assert actions[0] == HandToQueue()
    assert Release("caller") not in actions
    assert finish(replay).outcome == "failed"


def test_no_media_to_the_agent_joins_directly() -> None:
    replay = waiting()
    replay.feed(AgentAnswered())
    assert replay.feed(LegFailed("agent", "no socket")) == [machine.StopMusic(), JoinDirectly(("caller",), "interpretation_lost")]


def test_a_stopping_worker_leaves_its_calls_to_the_dialplan() -> None:
    actions = waiting().feed(Aborted("stop"))
    assert HandOver() in actions
    assert Release("agent") in actions, "who has not answered does not ring on"
    actions = interpreting().feed(Aborted("stop"))
    assert HandOver() in actions
    assert not {Release("agent"), Release("caller")} & set(actions)


def test_who_wanted_no_interpreter_gets_none_from_the_next_worker() -> None:
    replay = interpreting()
    replay.feed(DigitPressed("caller", "0"), Joined())
    assert HandOver(direct=True) in replay.feed(Aborted("stop"))
    assert finish(replay).outcome == "direct"


def adopted() -> Replay:
    replay = Replay()
    assert replay.feed(Adopted("its worker is gone")) == [machine.OpenLeg("caller"), machine.OpenLeg("agent")]
    return replay


def test_a_call_left_behind_is_interpreted_again_when_both_legs_are_there() -> None:
    replay = adopted()
    assert replay.feed(LegReady("agent")) == []
    actions = replay.feed(LegReady("caller"))
    assert actions[:3] == [machine.Attach("caller"), machine.Attach("agent"), machine.Interpret()]
    assert replay.state.phase == "interpreting"
    replay.feed(LegLost("caller", "closed"), Joined())
    assert replay.exists == {"caller", "agent", "caller-bridge"}


@pytest.mark.parametrize("trouble", [LegFailed("agent", "no socket"), LegLost("caller", "closed"), DirectWanted("no models", "")])
def test_a_call_left_behind_that_cannot_be_interpreted_is_joined(trouble: CallInput) -> None:
    replay = adopted()
    replay.feed(LegReady("caller"))
    assert replay.feed(trouble) == [JoinDirectly()], "at once: they have heard nothing for a while"
    replay.feed(Joined())
    assert replay.exists == {"caller", "agent", "caller-bridge"}
    replay.feed(HungUp("agent"))
    assert finish(replay).outcome == "direct"


def test_media_of_one_party_lost_while_interpreting() -> None:
    assert interpreting().feed(LegLost("caller", "closed"))[-1] == JoinDirectly(("agent",), "interpretation_lost")
