"""However a call ends, the other party is not left alone with a dead line, and nothing of the call is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.events import CallEnded, CallStateChanged, KeyPressed, UtteranceInterpreted, UtterancePlayed
from appliance.phone.baresip import Phone
from appliance.phone.call_events import CallEvents, Received
from appliance.phone.demo import speech
from appliance.phone.phone_events import CallClosed, CallEstablished, IncomingCall
from appliance.phone.recording import Recorder
from appliance.phone.station import unused_number
from appliance.store.event_stream import EventStream
from appliance.store.redis_link import RedisLink

from .conftest import RING_S, Running

pytestmark = pytest.mark.timeout(120)
GREETING_S = 20.0
"""Until a call is interpreting, prompts included."""


class Call:
    """A caller who has dialled, an agent's telephone, and what the gateway tells."""

    def __init__(self, caller: Phone, agent: Phone | None, events: CallEvents, recorder: Recorder) -> None:
        self.caller = caller
        self.agent = agent
        self.events = events
        self.recorder = recorder

    async def reaches(self, state: str, timeout_s: float = GREETING_S) -> None:
        def there(received: list[Received]) -> bool:
            return any(isinstance(item.event, CallStateChanged) and item.event.state == state for item in received)

        seen = [item.event.state for item in self.events.received if isinstance(item.event, CallStateChanged)]
        assert await self.events.wait_until(there, timeout_s), f"the call never was {state}, only {seen}"

    async def ended(self, timeout_s: float = 20.0) -> CallEnded:
        await self.events.wait_until(lambda received: any(isinstance(item.event, CallEnded) for item in received), timeout_s)
        ends = [item.event for item in self.events.received if isinstance(item.event, CallEnded)]
        assert len(ends) == 1, "a call ends once"
        return ends[0]


@asynccontextmanager
async def dialled(stack: Running, phones: Path, *, agent: bool = True, answers: bool = True) -> AsyncIterator[Call]:
    """A caller who has just dialled the company number.

    Args:
        agent: whether an agent has registered.
        answers: whether he will answer.
    """
    telephones = stack.station
    number = unused_number()
    link = RedisLink(stack.loaded.config.redis.url)
    account = telephones.account_of_agent()
    if not answers:
        account = replace(account, answer_after_s=None)
    try:
        with Recorder() as recorder:
            async with (
                CallEvents(EventStream(link).read, number) as events,
                Phone.start(phones / "caller", telephones.program, telephones.account_of_caller(number)) as caller,
                _maybe(agent, lambda: Phone.start(phones / "agent", telephones.program, account)) as agent_phone,
            ):
                recorder.follow("caller", phones / "caller")
                recorder.follow("agent", phones / "agent")
                await caller.dial(stack.loaded.config.telephony.company_number)
                yield Call(caller, agent_phone, events, recorder)
    finally:
        await link.aclose()
    stack.settled()


@asynccontextmanager
async def _maybe(wanted: bool, make: Callable[[], object]) -> AsyncIterator[Phone | None]:
    if not wanted:
        yield None
        return
    async with make() as phone:  # type: ignore[attr-defined]
        yield phone


async def test_caller_hangs_up_before_he_is_answered(stack: Running, phones: Path) -> None:
    async with dialled(stack, phones, answers=False) as call:
        await call.caller.hang_up()
        await call.caller.wait_for(CallClosed, 15)


async def test_caller_hangs_up_during_the_greeting(stack: Running, phones: Path) -> None:
    async with dialled(stack, phones, answers=False) as call:
        await call.caller.wait_for(CallEstablished, 15)
        await call.reaches("greeting")
        await call.caller.hang_up()
        assert (await call.ended()).outcome == "caller_gone"


async def test_caller_hangs_up_while_the_agent_rings(stack: Running, phones: Path) -> None:
    async with dialled(stack, phones, answers=False) as call:
        assert call.agent is not None
        await call.agent.wait_for(IncomingCall, GREETING_S)
        await call.reaches("connecting")
        await call.caller.hang_up()
        assert (await call.ended()).outcome == "caller_gone"
        await call.agent.wait_for(CallClosed, 15)


async def test_caller_hangs_up_while_he_speaks(stack: Running, phones: Path) -> None:
    async with dialled(stack, phones) as call:
        assert call.agent is not None
        await call.reaches("interpreting")
        await call.caller.say(speech.say("मेरे printer में समस्या है.", "hi", "Storm"))
        await asyncio.sleep(0.8)
        await call.caller.hang_up()
        ended = await call.ended()
        assert ended.outcome in ("interpreted", "caller_gone")
        await call.agent.wait_for(CallClosed, 15)


async def test_caller_hangs_up_while_his_words_are_translated(stack: Running, phones: Path) -> None:
    async with dialled(stack, phones) as call:
        assert call.agent is not None
        await call.reaches("interpreting")
        await asyncio.sleep(2.0)
        said = speech.say("मेरे printer में समस्या है.", "hi", "Storm")
        await call.caller.say(said)
        await asyncio.sleep(len(said) / 8000 + 0.5)  # the endpoint is about to be found
        await call.caller.hang_up()
        await call.ended()
        await call.agent.wait_for(CallClosed, 15)


async def test_agent_hangs_up_first(stack: Running, phones: Path) -> None:
    async with dialled(stack, phones) as call:
        assert call.agent is not None
        await call.reaches("interpreting")
        await asyncio.sleep(1.0)
        await call.agent.hang_up()
        closed = await call.caller.wait_for(CallClosed, 15)
        assert closed.at - (call.agent.seen(CallClosed) or closed).at > 0.5, "he is told before he is hung up"
        assert (await call.ended()).outcome in ("interpreted", "agent_gone")


async def test_agent_never_answers(stack: Running, phones: Path) -> None:
    async with dialled(stack, phones, answers=False) as call:
        await call.caller.wait_for(CallEstablished, 15)
        await call.reaches("closing", RING_S + 10)
        since = time.monotonic() + 0.2  # after the last of the music
        await call.caller.wait_for(CallClosed, 30)
        told = call.recorder.track("caller", "heard").on_clock(since, time.monotonic())
        assert np.any(np.abs(told) > 500), "he is told that nobody is free"
        assert (await call.ended()).outcome == "no_agent"


async def test_no_agent_is_there(stack: Running, phones: Path) -> None:
    async with dialled(stack, phones, agent=False) as call:
        await call.caller.wait_for(CallEstablished, 15)
        await call.caller.wait_for(CallClosed, RING_S + 20)
        assert (await call.ended()).outcome == "no_agent"


async def test_a_caller_who_says_nothing_still_hears_the_agent(stack: Running, phones: Path) -> None:
    async with dialled(stack, phones) as call:
        assert call.agent is not None
        await call.reaches("interpreting")
        await asyncio.sleep(3.0)
        await call.agent.say(speech.say("please line पर रहिए, हम देख रहे हैं.", "hinglish", "klatt6"))

        def played(received: list[Received]) -> bool:
            return any(isinstance(item.event, UtterancePlayed) and item.event.lane == "agent_to_caller" for item in received)

        assert await call.events.wait_until(played, 15), "the caller's silence must not keep the agent from being heard"
        said = [item.event for item in call.events.received if isinstance(item.event, UtteranceInterpreted)]
        assert {event.lane for event in said} == {"agent_to_caller"}, "silence is no utterance"
        await call.caller.hang_up()
        await call.agent.wait_for(CallClosed, 15)
        assert (await call.ended()).outcome == "interpreted"


async def test_keypad_digits_reach_the_gateway(stack: Running, phones: Path) -> None:
    async with dialled(stack, phones) as call:
        await call.reaches("interpreting")
        await call.caller.press("7")

        def pressed(received: list[Received]) -> bool:
            return any(isinstance(item.event, KeyPressed) and (item.event.party, item.event.digit) == ("caller", "7") for item in received)

        assert await call.events.wait_until(pressed, 15)
        await call.caller.hang_up()
        await call.ended()
