"""A call whose model servers go and come back: both parties are told, hear each other meanwhile, and are interpreted again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
from lane_rig import Phone, Rig, prompt_level

from appliance.events import CallStateChanged
from appliance.interpreter import scope as scope_module
from appliance.interpreter.outage import BACK_S, OUT_S
from appliance.modelserver.errors import Hung

TAMIL, TAMIL_HINGLISH = "என் printer வேலை செய்யவில்லை.", "मेरा printer काम नहीं कर रहा है."
VOICE = 2000
PROMPT_S = 0.5


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope_module, "RETRY_WAIT_S", 0.0)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig(watched=True)
    rig.script(VOICE, TAMIL, "ta", TAMIL_HINGLISH)
    rig.begin()
    yield rig
    await rig.call.stop()
    assert rig.call.tasks == 0
    assert not rig.availability._followers  # type: ignore[union-attr]


def states(rig: Rig) -> list[str]:
    return [event.state for event in rig.of(CallStateChanged)]


def sound(phone: Phone, since: int) -> list[int]:
    return [index for index, frame in enumerate(phone.frames) if index >= since and np.abs(frame).max() > 100]


async def decide(rig: Rig) -> None:
    rig.caller.say(VOICE, 2.0)
    await rig.run(5.0)
    assert rig.call.language == "ta"


async def test_both_are_told_and_hear_each_other_and_are_interpreted_again(rig: Rig) -> None:
    await decide(rig)
    translated = len(rig.agent.heard(rig.models.levels[TAMIL_HINGLISH]))
    rig.servers.away = ("mt",)
    await rig.run(OUT_S + 0.3)
    assert states(rig) == ["direct"]
    await rig.run(PROMPT_S + 0.3)
    assert rig.agent.heard(prompt_level("interpretation_lost", "hinglish"))
    assert rig.caller.heard(prompt_level("interpretation_lost", "ta"))

    asked = len(rig.models.asked)
    rig.caller.say(VOICE, 2.0)
    await rig.run(3.0)
    assert len(rig.agent.heard(VOICE)) >= 95, "his own voice, at full level"
    assert rig.models.asked[asked:] == [], "nothing is asked of servers that are out"

    rig.servers.away = ()
    await rig.run(BACK_S + 0.3)
    assert states(rig) == ["direct", "interpreting"]
    await rig.run(PROMPT_S + 0.3)
    assert rig.agent.heard(prompt_level("interpretation_back", "hinglish"))
    assert rig.caller.heard(prompt_level("interpretation_back", "ta"))
    voice = len(rig.agent.heard(VOICE))
    rig.caller.say(VOICE, 2.0)
    await rig.run(5.0)
    assert len(rig.agent.heard(rig.models.levels[TAMIL_HINGLISH])) == 2 * translated
    assert len(rig.agent.heard(VOICE)) == voice, "the original is not heard at full level any more"
    assert rig.lost == [], "call control has nothing to do with it"


async def test_an_utterance_lost_to_a_dead_server_is_answered_by_the_announcement_at_once(rig: Rig) -> None:
    await decide(rig)
    rig.caller.say(VOICE, 2.0)
    await rig.run(1.8)
    rig.servers.away = ("tts",)
    rig.models.failures["tts"] = [Hung("tts", "hangs", True)] * 10
    await rig.run(0.2)
    ended = len(rig.agent.frames)
    await rig.run(2.0)
    assert states(rig) == ["direct"]
    assert sound(rig.agent, ended)[0] - ended < 50, "within a second of the end of the speech"
    assert not rig.caller.heard(prompt_level("please_repeat", "ta")), "he is not asked to say to nobody what he said"


async def test_what_is_being_said_when_it_is_back_is_interpreted(rig: Rig) -> None:
    await decide(rig)
    rig.servers.away = ("stt",)
    await rig.run(OUT_S + 1.0)
    rig.servers.away = ()
    await rig.run(BACK_S - 1.0)
    translated = len(rig.agent.heard(rig.models.levels[TAMIL_HINGLISH]))
    rig.caller.say(VOICE, 2.0)
    await rig.run(5.0)
    assert states(rig) == ["direct", "interpreting"]
    assert len(rig.agent.heard(rig.models.levels[TAMIL_HINGLISH])) > translated


async def test_a_leg_that_is_made_anew_meanwhile_hears_the_other_too(rig: Rig) -> None:
    await decide(rig)
    rig.servers.away = ("stt",)
    await rig.run(OUT_S + 1.0)
    rig.agent = Phone()
    rig.call.attach("agent", rig.agent)
    rig.caller.say(VOICE, 1.0)
    await rig.run(1.5)
    assert len(rig.agent.heard(VOICE)) >= 45


async def test_who_waits_in_silence_while_a_server_is_replaced_is_told(rig: Rig) -> None:
    await decide(rig)
    rig.models.latency["mt"] = 2.5
    rig.servers.in_trouble = True
    rig.caller.say(VOICE, 1.0)
    await rig.run(1.0)
    ended = len(rig.agent.frames)
    await rig.run(5.0)
    heard = sound(rig.agent, ended)
    assert heard[0] - ended < 95, "less than 2 s after the end of the speech"
    assert max(np.diff(heard)) < 95
    assert rig.agent.heard(prompt_level("one_moment", "hinglish"))
    assert rig.agent.heard(rig.models.levels[TAMIL_HINGLISH])
    assert states(rig) == []


async def test_an_ordinary_wait_is_not_worth_a_word(rig: Rig) -> None:
    await decide(rig)
    rig.models.latency["mt"] = 2.5
    rig.caller.say(VOICE, 1.0)
    await rig.run(6.0)
    assert not rig.agent.heard(prompt_level("one_moment", "hinglish"))


async def test_a_call_that_begins_without_servers_is_told_too(rig: Rig) -> None:
    rig.servers.away = ("stt", "mt", "tts")
    await rig.run(OUT_S + 1.0)
    assert states(rig) == ["direct"]
    rig.agent.say(VOICE, 1.0)
    await rig.run(1.5)
    assert len(rig.caller.heard(VOICE)) >= 45


FIRST, SECOND = "பணம் வரவில்லை.", "என்ன செய்வது இப்போது சொல்லுங்கள் நீங்கள்?"


async def test_an_utterance_that_outlasts_the_outage_is_taken_up_where_it_was_left(rig: Rig) -> None:
    await decide(rig)
    rig.script(2600, f"{FIRST} {SECOND}", "ta", seconds=8.0)
    rig.caller.say(2600, 8.0)
    await rig.run(4.0)
    assert rig.models.count("translate", FIRST) == 1, "committed while he spoke on"
    rig.servers.away = ("mt",)
    await rig.run(OUT_S + 0.3)
    rig.servers.away = ()
    await rig.run(BACK_S + 4.0)
    assert states(rig) == ["direct", "interpreting"]
    assert rig.models.count("translate", FIRST) == 1
    assert rig.models.count("translate", SECOND) == 1


async def test_what_was_being_said_when_it_was_lost_does_not_reach_into_what_is_said_when_it_is_back(rig: Rig) -> None:
    await decide(rig)
    rig.script(2600, f"{FIRST} {SECOND}", "ta", seconds=4.0)
    rig.script(2700, FIRST, "ta", "पैसा नहीं आया.", seconds=3.0)
    rig.caller.say(2600, 4.0)
    await rig.run(3.0)
    assert rig.models.count("translate", FIRST) == 1
    rig.servers.away = ("mt",)
    await rig.run(OUT_S + 2.0)
    rig.servers.away = ()
    await rig.run(BACK_S - 1.0)
    rig.caller.say(2700, 3.0)
    await rig.run(6.0)
    assert states(rig) == ["direct", "interpreting"]
    assert rig.models.count("translate", FIRST) == 2


async def test_who_cannot_be_understood_for_now_is_not_asked_to_say_it_again(rig: Rig) -> None:
    await decide(rig)
    rig.models.latency["mt"] = 4.0
    rig.models.failures["mt"] = [Hung("mt", "hangs", True)] * 2
    rig.caller.say(VOICE, 1.0)
    await rig.run(1.5)
    rig.servers.away = ("mt",)
    await rig.run(9.0)
    assert states(rig) == ["direct"]
    assert [event.outcome for event in rig.utterances][-1] == "failed"
    assert not rig.caller.heard(prompt_level("please_repeat", "ta"))
