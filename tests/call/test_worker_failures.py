"""Gateway workers are killed in mid-call: nobody is left alone with a dead line."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tone_interpreter import PITCH_HZ
from tone_stack import ToneStack, tone_stack, two_phones
from tones import STEP_S, has, heard, tone, until_heard

from appliance.phone.baresip import Phone
from appliance.phone.phone_events import CallClosed, CallEstablished, IncomingCall
from appliance.stack.programs import Programs

pytestmark = pytest.mark.timeout(120)
CALLER_HZ, AGENT_HZ = 2100, 2600
BRIDGED_S = 2.0
"""From the death of a worker to the parties' hearing each other."""


@pytest.fixture
def stack(programs: Programs) -> Iterator[ToneStack]:
    with tone_stack(programs, workers=2) as stack:
        yield stack


@pytest.fixture
def lone(programs: Programs) -> Iterator[ToneStack]:
    """One worker only."""
    with tone_stack(programs, workers=1) as stack:
        yield stack


def silence_around(pitches: list[int], pitch_hz: int) -> float:
    """Longest stretch between two that have the pitch, in seconds."""
    places = [place for place, pitch in enumerate(pitches) if abs(pitch - pitch_hz) <= 10]
    return max((later - earlier - 1 for earlier, later in itertools.pairwise(places)), default=0) * STEP_S


async def test_another_worker_adopts_the_call_and_interprets_on(stack: ToneStack, phones: Path) -> None:
    async with two_phones(stack, phones) as (caller, agent):
        dead = await stack.first_call()
        heir = 3 - dead
        (before,) = stack.get(dead, "/api/calls")
        await until_heard(phones / "caller", PITCH_HZ["speak_now"], 0.5)
        await agent.say(tone(AGENT_HZ, 5.0))
        await until_heard(phones / "caller", AGENT_HZ, 0.5)
        stack.kill(f"gateway-{dead}")
        taken_s = await stack.reached(heir, "interpreting")
        (after,) = stack.get(heir, "/api/calls")
        assert after["call_id"] == before["call_id"]
        assert after["caller_number"] == before["caller_number"]
        assert after["called_number"] == before["called_number"] == stack.number
        assert abs(after["started_at"] - before["started_at"]) < 1.0
        assert stack.metric(heir, 'setu_fallbacks_total{reason="adopted"}') == 1
        await until_heard(phones / "caller", AGENT_HZ, 3.0)
        await caller.say(tone(CALLER_HZ))
        await until_heard(phones / "agent", CALLER_HZ)
        await until_heard(phones / "caller", PITCH_HZ["speak_now"], 0.9)  # he is told again to speak
        await caller.hang_up()
        await agent.wait_for(CallClosed, 15)
        stack.settled()
    caller_heard = heard(phones / "caller")
    gap_s = silence_around(caller_heard, AGENT_HZ)
    print(f"interpreted again after {taken_s:.2f} s, gap in the agent's voice {gap_s:.1f} s")
    assert gap_s <= BRIDGED_S


async def test_all_workers_are_gone_and_the_parties_go_on_directly(stack: ToneStack, phones: Path) -> None:
    async with two_phones(stack, phones) as (caller, agent):
        dead = await stack.first_call()
        await until_heard(phones / "caller", PITCH_HZ["speak_now"], 0.5)
        stack.kill(f"gateway-{3 - dead}")
        await agent.say(tone(AGENT_HZ, 5.0))
        await until_heard(phones / "caller", AGENT_HZ, 0.5)
        stack.kill(f"gateway-{dead}")
        await until_heard(phones / "caller", AGENT_HZ, 3.0)
        await caller.say(tone(CALLER_HZ))
        await until_heard(phones / "agent", CALLER_HZ)
        stack.start(f"gateway-{dead}")
        stack.until(lambda: dead in stack.connected(), "the worker's return", 20)
        await asyncio.sleep(5.5)  # it looks for what it left behind
        assert stack.console("core show channels concise").count("PJSIP") == 2, "and leaves the two in peace"
        await agent.hang_up()
        await caller.wait_for(CallClosed, 15)
        stack.settled()
    caller_heard = heard(phones / "caller")
    print(f"gap in the agent's voice {silence_around(caller_heard, AGENT_HZ):.1f} s")
    assert silence_around(caller_heard, AGENT_HZ) <= BRIDGED_S


async def test_a_caller_who_waits_for_an_agent_begins_anew_with_another_worker(stack: ToneStack, phones: Path) -> None:
    async with two_phones(stack, phones, answer_after_s=6.0) as (caller, agent):
        dead = await stack.first_call("connecting")
        await agent.wait_for(IncomingCall, 8)
        stack.kill(f"gateway-{dead}")
        await stack.reached(3 - dead, "connecting")
        await stack.reached(3 - dead, "interpreting", 20.0)
        await caller.hang_up()
        await agent.wait_for(CallClosed, 15)
        stack.start(f"gateway-{dead}")  # it removes the bridge it left
        stack.until(lambda: dead in stack.connected(), "the worker's return", 20)
        stack.settled()
    assert has(heard(phones / "caller"), PITCH_HZ["greeting"], 0.9), "he is greeted twice"


async def test_all_workers_are_gone_and_new_callers_reach_the_agents(lone: ToneStack, phones: Path) -> None:
    lone.kill("gateway-1")
    async with two_phones(lone, phones) as (caller, agent):
        await caller.wait_for(CallEstablished, 15)
        await agent.wait_for(CallEstablished, 20)
        lone.until(lambda: "simple_bridge" in lone.console("bridge show all"), "the two's conversation")
        await caller.say(tone(CALLER_HZ))
        await until_heard(phones / "agent", CALLER_HZ)
        await caller.hang_up()


async def test_a_worker_that_is_stopped_gives_its_call_to_another_one(stack: ToneStack, phones: Path) -> None:
    async with two_phones(stack, phones) as (caller, agent):
        stopped = await stack.first_call()
        await until_heard(phones / "caller", PITCH_HZ["speak_now"], 0.5)
        await agent.say(tone(AGENT_HZ, 3.0))
        await until_heard(phones / "caller", AGENT_HZ, 0.5)
        await asyncio.to_thread(stack.stop, f"gateway-{stopped}")
        await stack.reached(3 - stopped, "interpreting")
        await until_heard(phones / "caller", AGENT_HZ, 1.5)
        await caller.hang_up()
        await agent.wait_for(CallClosed, 15)
        stack.settled()
    assert silence_around(heard(phones / "caller"), AGENT_HZ) <= BRIDGED_S


async def joined(stack: ToneStack, caller: Phone) -> None:
    """The caller wants nobody between him and the agent: the two are in one bridge of the worker's, without its media channels."""
    await stack.first_call()
    await until_heard(caller.folder, PITCH_HZ["speak_now"], 0.5)
    await caller.press("0")
    await stack.reached(1, "direct")
    stack.until(lambda: "media" not in stack.console("core show channels concise"), "the media's release")


def in_the_dialplan(stack: ToneStack) -> bool:
    """Whether the two are joined by `Bridge()`, which has put the agent's telephone in the place of his Local channel."""
    channels = stack.console("core show channels concise").splitlines()
    return len(channels) == 2 and all(channel.startswith("PJSIP/") for channel in channels) and "!Bridge!" in "".join(channels)


@pytest.mark.parametrize("answers", [True, False], ids=["and answers", "and is too slow to answer"])
async def test_a_worker_that_returns_takes_its_own_call_up(lone: ToneStack, phones: Path, answers: bool) -> None:
    """Parties who were joined inside the worker's application are not cut off when it comes back, and their call ends well."""
    async with two_phones(lone, phones) as (caller, agent):
        await joined(lone, caller)
        lone.kill("gateway-1")
        lone.start("gateway-1", *([] if answers else ["--mute"]))
        lone.until(lambda: lone.connected() == {1}, "the worker's return", 20)
        lone.until(lambda: in_the_dialplan(lone), "the two's joining in the dialplan", 20)
        await asyncio.sleep(2.0)  # the end of the Local channel is looked into
        await agent.say(tone(AGENT_HZ))
        await until_heard(phones / "caller", AGENT_HZ)
        await caller.hang_up()
        await agent.wait_for(CallClosed, 15)
        lone.settled()


async def test_parties_are_not_taken_apart_because_their_worker_does_not_answer(lone: ToneStack, phones: Path) -> None:
    """Not even while it lets go of the media, whose end is what shows the death of a worker while they are interpreted."""
    lone.kill("gateway-1")
    lone.start("gateway-1", "--mute")
    lone.until(lambda: lone.connected() == {1}, "the worker's return", 20)
    async with two_phones(lone, phones) as (caller, agent):
        await joined(lone, caller)
        await asyncio.sleep(2.0)  # the end of the media channels would be looked into
        channels = lone.console("core show channels concise")
        assert "worker-gone" not in channels
        assert channels.count("!Stasis!setu-1") == 2
        await caller.hang_up()
        await agent.wait_for(CallClosed, 15)
        lone.settled()


async def test_a_joined_party_is_not_left_alone_when_the_worker_is_gone(lone: ToneStack, phones: Path) -> None:
    async with two_phones(lone, phones) as (caller, agent):
        await joined(lone, caller)
        lone.kill("gateway-1")
        await caller.say(tone(CALLER_HZ))
        await until_heard(phones / "agent", CALLER_HZ)
        await agent.hang_up()
        await caller.wait_for(CallClosed, 15)
        lone.until(lambda: lone.channels() == 0, "the end of all channels")
