"""Gateway workers are killed in mid-call: nobody is left alone with a dead line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from stalls import Stalls
from tone_interpreter import PITCH_HZ
from tone_stack import ToneStack, tone_stack, two_phones
from tones import has, heard, longest_gap, tone, until_heard

from appliance.phone.baresip import Phone
from appliance.phone.phone_events import CallClosed, CallEstablished, IncomingCall
from appliance.phone.recording import Recorder
from appliance.stack.programs import Programs

pytestmark = pytest.mark.timeout(120)
CALLER_HZ, AGENT_HZ = 2100, 2600
BRIDGED_S = 2.0
"""From the death of a worker to the parties' hearing each other."""
SPEECH_S = 8.0
"""Long enough to be heard before and after."""
COMPARED = "what Asterisk has was compared with the calls"


@pytest.fixture
def stack(programs: Programs) -> Iterator[ToneStack]:
    with tone_stack(programs, workers=2) as stack:
        yield stack


@pytest.fixture
def line() -> Iterator[Line]:
    with Stalls() as stalls, Recorder() as recorder:
        yield Line(recorder, stalls)


@pytest.fixture
def lone(programs: Programs) -> Iterator[ToneStack]:
    """One worker only."""
    with tone_stack(programs, workers=1) as stack:
        yield stack


@dataclass
class Line:
    """What the caller hears, on the clock, and when the machine stood still."""

    recorder: Recorder
    stalls: Stalls

    def follow(self, phone: Phone) -> None:
        self.recorder.follow("caller", phone.folder)

    def assert_bridged(self, speaker_hz: int, since_s: float) -> None:
        """From then on the speaker's voice was away for no longer than it may; stalls of the machine are not counted."""
        now = time.monotonic()
        begin, end = longest_gap(self.recorder.track("caller", "heard").on_clock(since_s, now), speaker_hz)
        took_s = self.stalls.took_s(since_s + begin, since_s + end)
        print(f"gap in the speaker's voice {end - begin:.2f} s, {took_s:.2f} s of a machine that does not stand still")
        assert took_s <= BRIDGED_S


async def test_another_worker_adopts_the_call_and_interprets_on(stack: ToneStack, phones: Path, line: Line) -> None:
    async with two_phones(stack, phones) as (caller, agent):
        dead = await stack.first_call()
        heir = 3 - dead
        (before,) = stack.get(dead, "/api/calls")
        await until_heard(phones / "caller", PITCH_HZ["speak_now"], 0.5)
        line.follow(caller)
        spoken_at = await agent.say(tone(AGENT_HZ, SPEECH_S))
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
        line.assert_bridged(AGENT_HZ, spoken_at)
        await caller.say(tone(CALLER_HZ))
        await until_heard(phones / "agent", CALLER_HZ)
        await until_heard(phones / "caller", PITCH_HZ["speak_now"], 0.9)  # he is told again to speak
        await caller.hang_up()
        await agent.wait_for(CallClosed, 15)
        stack.settled()
    print(f"interpreted again after {taken_s:.2f} s")


async def test_all_workers_are_gone_and_the_parties_go_on_directly(stack: ToneStack, phones: Path, line: Line) -> None:
    async with two_phones(stack, phones) as (caller, agent):
        dead = await stack.first_call()
        await until_heard(phones / "caller", PITCH_HZ["speak_now"], 0.5)
        stack.kill(f"gateway-{3 - dead}")
        line.follow(caller)
        spoken_at = await agent.say(tone(AGENT_HZ, SPEECH_S))
        await until_heard(phones / "caller", AGENT_HZ, 0.5)
        stack.kill(f"gateway-{dead}")
        await until_heard(phones / "caller", AGENT_HZ, 3.0)
        line.assert_bridged(AGENT_HZ, spoken_at)
        await caller.say(tone(CALLER_HZ))
        await until_heard(phones / "agent", CALLER_HZ)
        before = stack.log(f"gateway-{dead}").count(COMPARED)
        stack.start(f"gateway-{dead}")
        stack.until(lambda: dead in stack.connected(), "the worker's return", 20)
        stack.until(lambda: stack.log(f"gateway-{dead}").count(COMPARED) > before, "its look for what it left behind", 20)
        assert stack.console("core show channels concise").count("PJSIP") == 2, "and leaves the two in peace"
        await agent.hang_up()
        await caller.wait_for(CallClosed, 15)
        stack.settled()


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


async def test_a_worker_that_is_stopped_gives_its_call_to_another_one(stack: ToneStack, phones: Path, line: Line) -> None:
    async with two_phones(stack, phones) as (caller, agent):
        stopped = await stack.first_call()
        await until_heard(phones / "caller", PITCH_HZ["speak_now"], 0.5)
        line.follow(caller)
        spoken_at = await agent.say(tone(AGENT_HZ, SPEECH_S))
        await until_heard(phones / "caller", AGENT_HZ, 0.5)
        await asyncio.to_thread(stack.stop, f"gateway-{stopped}")
        await stack.reached(3 - stopped, "interpreting")
        await until_heard(phones / "caller", AGENT_HZ, 3.0)
        line.assert_bridged(AGENT_HZ, spoken_at)
        await caller.hang_up()
        await agent.wait_for(CallClosed, 15)
        stack.settled()


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
