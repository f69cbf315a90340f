"""What a party said before it hung up is heard by the other one, and only then the goodbye."""

from __future__ import annotations

import asyncio

import pytest
from lane_rig import Phone, Rig, prompt_level

from appliance.events import UtteranceInterpreted, UtterancePlayed
from appliance.interpreter import call as call_module
from appliance.interpreter.call import LAST_WORDS_WAIT_S
from appliance.interpreter.clock import LAST_WORDS_S
from appliance.modelserver.errors import Unavailable

TAMIL, TAMIL_HINGLISH = "என் printer வேலை செய்யவில்லை.", "मेरा printer काम नहीं कर रहा है."
GOODBYE = prompt_level("goodbye", "hinglish")


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(call_module, "_LAST_WORDS_STEP_S", 0.0)  # the rig's time is not the loop's
    rig = Rig()
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH)
    rig.begin()
    yield rig
    await rig.call.stop()
    assert rig.call.tasks == 0
    assert rig.clock.legs == 0


async def hang_up_and_say_goodbye(rig: Rig, phone: Phone, seconds: float) -> None:
    phone.hang_up()
    await rig.run(0.1)
    saying = asyncio.create_task(rig.call.say("agent", "goodbye"))
    await rig.run(seconds)
    assert saying.done()


async def test_what_was_said_last_is_heard_before_the_goodbye(rig: Rig) -> None:
    rig.caller.say(2000, 2.0)
    await rig.run(2.0)
    await hang_up_and_say_goodbye(rig, rig.caller, 5.0)
    words, goodbye = rig.agent.heard(rig.models.levels[TAMIL_HINGLISH]), rig.agent.heard(GOODBYE)
    assert len(words) == 50
    assert words[-1] < goodbye[0]
    assert len(goodbye) == 25
    assert len(rig.of(UtterancePlayed)) == 1


async def test_words_that_are_still_translated_are_waited_for(rig: Rig) -> None:
    rig.models.slow[TAMIL] = 2.0
    rig.caller.say(2000, 2.0)
    rig.caller.pause(1.0)
    await rig.run(3.0)
    await hang_up_and_say_goodbye(rig, rig.caller, 6.0)
    assert rig.agent.heard(rig.models.levels[TAMIL_HINGLISH])[-1] < rig.agent.heard(GOODBYE)[0]


async def test_words_that_do_not_come_are_not_waited_for_without_end(rig: Rig) -> None:
    rig.models.slow[TAMIL] = 60.0
    rig.caller.say(2000, 2.0)
    await rig.run(2.0)
    await hang_up_and_say_goodbye(rig, rig.caller, LAST_WORDS_WAIT_S + 2.0)
    assert len(rig.agent.heard(GOODBYE)) == 25


async def test_words_that_failed_are_not_waited_for(rig: Rig) -> None:
    rig.models.failures["stt"] = [Unavailable("stt", "gone", False)] * 100
    rig.caller.say(2000, 2.0)
    await rig.run(2.0)
    await hang_up_and_say_goodbye(rig, rig.caller, 3.0)
    assert rig.of(UtteranceInterpreted)[0].outcome == "failed"
    assert len(rig.agent.heard(GOODBYE)) == 25


async def test_when_nothing_was_said_the_goodbye_comes_at_once(rig: Rig) -> None:
    await rig.run(1.0)
    await hang_up_and_say_goodbye(rig, rig.caller, 1.0)
    assert len(rig.agent.heard(GOODBYE)) == 25


async def test_a_leg_that_is_gone_is_sent_nothing_and_soon_forgotten(rig: Rig) -> None:
    await rig.run(0.5)
    rig.caller.hang_up()
    await rig.run(0.1)
    frames = len(rig.caller.frames)
    assert rig.clock.legs == 2, "its last words may not be over"
    await rig.run(LAST_WORDS_S)
    assert len(rig.caller.frames) == frames
    assert rig.clock.legs == 1
