import asyncio

import msgspec
import numpy as np
import pytest
from lane_rig import CODES, Phone, Rig, prompt_level

from appliance.config.schema import Config
from appliance.events import KeyPressed, LanguageDecided, UtterancePlayed
from appliance.interpreter import call as call_module
from appliance.interpreter import scope as scope_module
from appliance.interpreter import understanding
from appliance.interpreter.clock import LAST_WORDS_S
from appliance.interpreter.playout import DUCKED_DB
from appliance.interpreter.prompts import PromptError
from appliance.modelserver.errors import Unavailable

TAMIL, TAMIL_HINGLISH = "என் printer வேலை செய்யவில்லை.", "मेरा printer काम नहीं कर रहा है."
HELLO, HELLO_HINGLISH = "ஹலோ", "hello जी"
REPLY = "printer restart कीजिए."
EVEN = dict.fromkeys(CODES, 0.2)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope_module, "RETRY_WAIT_S", 0.0)


@pytest.fixture
async def rig():
    rig = Rig()
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH)
    rig.script(2100, HELLO, "ta", HELLO_HINGLISH, seconds=0.5, scores=EVEN)
    rig.script(3000, REPLY, "hi", "printer restart செய்யுங்கள்.", seconds=1.5)
    rig.begin()
    yield rig
    await rig.call.stop()


async def hear(rig: Rig, level: int, seconds: float = 2.0) -> None:
    rig.caller.say(level, seconds)
    await rig.run(seconds + 2.0)


async def test_before_the_start_prompts_are_heard_and_speech_is_not_interpreted() -> None:
    rig = Rig(prior="te")
    rig.call.attach("caller", rig.caller)
    said = asyncio.create_task(rig.call.say("caller", "greeting"))
    rig.caller.say(2000, 2.0)
    await rig.run(0.3)
    assert not said.done()
    await rig.run(2.5)
    assert said.done()
    level = prompt_level("greeting", "te")
    ducked = rig.caller.heard(round(level * 10 ** (DUCKED_DB / 20)))
    assert ducked, "he talks over it"
    assert len(rig.caller.heard(level)) + len(ducked) in (24, 25), "in the remembered language"
    assert rig.utterances == []
    await rig.call.stop()


async def test_a_prompt_gives_way_to_speech_and_counts_as_heard(rig: Rig) -> None:
    said = asyncio.create_task(rig.call.say("caller", "no_agent"))
    rig.caller.say(2000, 2.0)
    await rig.run(0.5)
    rig.call._prompts._audio["goodbye", "hi"] = np.full(160_000, 777, np.int16)  # type: ignore[index]
    long = asyncio.create_task(rig.call.say("caller", "goodbye"))
    await rig.run(0.7)
    await asyncio.sleep(0)
    assert said.done()
    assert long.done()
    assert len(rig.caller.heard(777)) < 60
    await rig.run(3.0)
    assert [event.recognised for event in rig.utterances] == [TAMIL]


async def test_a_prompt_for_a_party_that_is_not_there_returns_at_once(rig: Rig) -> None:
    rig.agent.hang_up()
    await rig.run(0.1)
    await asyncio.wait_for(rig.call.say("agent", "goodbye"), 10)
    with pytest.raises(PromptError, match="no prompt 'hallo'"):
        await rig.call.say("caller", "hallo")


async def test_a_first_hello_waits_for_the_next_utterance_to_decide(rig: Rig) -> None:
    await hear(rig, 2100, 0.5)
    assert rig.utterances == []
    assert rig.call.language is None
    await hear(rig, 2000)
    await rig.run(2.0)
    assert rig.call.language == "ta"
    assert [event.recognised for event in rig.utterances] == [HELLO, TAMIL]
    assert rig.agent.heard(rig.models.levels[HELLO_HINGLISH])[-1] < rig.agent.heard(rig.models.levels[TAMIL_HINGLISH])[0]


async def test_undecided_after_two_utterances_the_menu_is_spoken_and_a_key_decides(rig: Rig) -> None:
    await hear(rig, 2100, 0.5)
    await hear(rig, 2100, 0.5)
    levels = [prompt_level("keypad_menu", code) for code in CODES]
    await rig.run(1.0)
    assert rig.caller.heard(levels[0])
    assert not rig.agent.heard(levels[0])
    rig.call.key("caller", "1")
    await rig.run(3.0)
    assert rig.call.language == "ta"
    decided = rig.of(LanguageDecided)[-1]
    assert (decided.how, decided.confidence, decided.votes[-1].source) == ("keypad", 1.0, "keypad")
    assert not rig.caller.heard(levels[4]), "the rest of the menu is not spoken"
    assert rig.caller.heard(prompt_level("language_set", "ta"))
    assert [event.recognised for event in rig.utterances] == [HELLO, HELLO]


async def test_nobody_presses_a_key_and_the_default_is_taken(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "ANSWER_S", 0.05)
    rig.models.spoken[2100].language = "hi"
    await hear(rig, 2100, 0.5)
    await hear(rig, 2100, 0.5)
    await rig.run(5.0)
    await asyncio.sleep(0.1)
    await rig.run(2.0)
    decided = rig.of(LanguageDecided)
    assert [(event.language, event.how) for event in decided] == [("hi", "default")]
    assert [event.source_language for event in rig.utterances] == ["hi", "hi"]


async def test_one_undecided_utterance_and_then_silence_is_not_left_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(understanding, "_UNDECIDED_S", 0.05)
    await hear(rig, 2100, 0.5)
    await asyncio.sleep(0.1)
    await rig.run(0.6)
    assert rig.caller.heard(prompt_level("keypad_menu", "ta"))


async def test_speech_that_decides_ends_the_menu(rig: Rig) -> None:
    await hear(rig, 2100, 0.5)
    await hear(rig, 2100, 0.5)
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH, seconds=1.0)
    rig.caller.say(2000, 1.0)
    await rig.run(5.0)
    assert rig.call.language == "ta"
    assert not rig.caller.heard(prompt_level("keypad_menu", "hi"))
    assert rig.of(LanguageDecided)[0].how == "votes"


async def test_a_text_recognised_in_the_wrong_language_is_recognised_again(rig: Rig) -> None:
    rig.script(2050, "మాట తెలుగు ఇది.", "te", "बात Telugu है.", scores={"kn": 0.5, "te": 0.45, "ta": 0.03, "mr": 0.01, "hi": 0.01})
    await hear(rig, 2050)
    await hear(rig, 2050)
    await rig.run(0.5)
    rig.call.key("caller", "2")
    await rig.run(3.0)
    assert rig.models.count("final", "te") == 2
    assert [event.recognised for event in rig.utterances] == ["మాట తెలుగు ఇది."] * 2


async def test_refusals_in_a_row_put_the_language_in_doubt(rig: Rig) -> None:
    await hear(rig, 2000)
    await hear(rig, 2000)
    assert ("final", "ta") in rig.models.asked
    rig.script(2300, "తెలుగు మాట ఇది కదా.", "te", "ठीक है यह बात.")
    rig.models.spoken[2300].avg_logprob = -3.0
    await hear(rig, 2300)
    await hear(rig, 2300)
    rig.models.spoken[2300].avg_logprob = -0.05
    for _ in range(4):
        await hear(rig, 2300)
    assert rig.call.language == "te"
    assert rig.utterances[-1].outcome == "interpreted"


async def test_star_repeats_the_last_translation(rig: Rig) -> None:
    rig.call.key("agent", "*")
    await hear(rig, 2000)
    level = rig.models.levels[TAMIL_HINGLISH]
    await rig.run(1.0)
    assert len(rig.agent.heard(level)) == 50
    rig.call.key("agent", "*")
    rig.call.key("caller", "*")
    await rig.run(1.5)
    assert len(rig.agent.heard(level)) == 100
    assert not rig.caller.heard(level)
    assert len(rig.of(UtterancePlayed)) == 1
    assert [(event.party, event.digit) for event in rig.of(KeyPressed)] == [("agent", "*"), ("agent", "*"), ("caller", "*")]


async def test_hash_changes_the_language(rig: Rig) -> None:
    await hear(rig, 2000)
    rig.call.key("caller", "3")
    assert rig.call.language == "ta", "a digit alone means nothing"
    rig.call.key("caller", "#")
    await rig.run(0.3)
    assert rig.caller.heard(prompt_level("keypad_menu", "ta"))
    rig.call.key("caller", "3")
    await rig.run(1.0)
    assert rig.call.language == "kn"
    assert rig.caller.heard(prompt_level("language_set", "kn"))
    rig.models.translations[REPLY] = "printer restart ಮಾಡಿ."
    rig.agent.say(3000, 1.5)
    await rig.run(3.0)
    assert rig.utterances[-1].target_language == "kn"


async def test_the_agent_may_choose_the_callers_language(rig: Rig) -> None:
    rig.call.key("agent", "#")
    await rig.run(0.3)
    assert rig.agent.heard(prompt_level("keypad_menu", "hinglish"))
    rig.call.key("agent", "4")
    assert rig.call.language == "mr"


async def test_nine_flags_and_only_for_the_agent(rig: Rig) -> None:
    rig.call.key("caller", "9")
    rig.call.key("agent", "9")
    await rig.run(1.0)
    assert rig.agent.heard(prompt_level("flagged", "hinglish"))
    assert not rig.caller.heard(prompt_level("flagged", "hi"))
    assert len(rig.of(KeyPressed)) == 2


async def test_an_agent_who_speaks_first_is_heard_in_the_default_language(rig: Rig) -> None:
    rig.models.translations[REPLY] = "printer restart कीजिए."
    rig.agent.say(3000, 1.5)
    await rig.run(3.5)
    assert rig.utterances[0].target_language == "hi"
    assert rig.utterances[0].outcome == "interpreted"


async def test_the_original_voice_is_heard_quietly_by_the_other_party() -> None:
    rig = Rig(config=msgspec.convert({"play": {"original_voice_db": -20.0}}, Config))
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH)
    rig.begin()
    rig.caller.say(2000, 2.0)
    await rig.run(1.5)
    assert len(rig.agent.heard(200, slack=2)) > 40
    assert not any(np.any(frame) for frame in rig.caller.frames)
    await rig.call.stop()


async def test_frames_never_stop(rig: Rig) -> None:
    await hear(rig, 2000)
    assert len(rig.caller.frames) == len(rig.agent.frames) == 200 + 2


async def test_stop_leaves_nothing_behind(rig: Rig) -> None:
    rig.models.latency.update(stt=5.0, mt=5.0)
    waiting = asyncio.create_task(rig.call.say("caller", "no_agent"))
    rig.caller.say(2000, 2.0)
    rig.agent.say(3000, 3.0)
    await rig.run(2.6)
    await hear(rig, 2100, 0.5)
    assert rig.call.tasks > 3
    await rig.call.stop()
    await asyncio.wait_for(waiting, 10)
    assert rig.call.tasks == 0
    assert rig.clock.legs == 0
    assert rig.caller.closed
    assert rig.agent.closed
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    rig.call.key("caller", "*")
    await rig.call.say("caller", "goodbye")
    await rig.call.stop()


async def test_stop_without_anything_attached() -> None:
    rig = Rig()
    rig.call.start()
    await rig.call.stop()
    assert rig.call.tasks == 0


async def test_a_transport_that_breaks_ends_its_leg_only(rig: Rig) -> None:
    class Broken(Phone):
        async def events(self):
            raise OSError("broken pipe")
            yield

    rig.call.attach("agent", Broken())
    await rig.run(LAST_WORDS_S + 0.2)
    assert rig.clock.legs == 1
    await rig.call.say("agent", "goodbye")
    rig.call.attach("agent", rig.agent)
    await hear(rig, 2000)
    assert [event.outcome for event in rig.utterances] == ["interpreted"]


async def test_a_prompt_that_is_never_reported_as_heard_does_not_hang(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "_PLAY_GRACE_S", -0.4)
    monkeypatch.setattr(rig.caller, "mark", lambda mark: None)
    said = asyncio.create_task(rig.call.say("caller", "goodbye"))
    await rig.run(1.0)
    await asyncio.wait_for(said, 10)


async def test_models_that_are_away_while_the_language_is_open(rig: Rig) -> None:
    rig.models.failures["stt"] = [Unavailable("stt", "gone", False)] * 20
    await hear(rig, 2000)
    assert [event.outcome for event in rig.utterances] == ["failed"]
    assert rig.caller.heard(prompt_level("please_repeat", "hi"))
    rig.models.failures["stt"] = []
    await hear(rig, 2000)
    assert rig.call.language == "ta"
