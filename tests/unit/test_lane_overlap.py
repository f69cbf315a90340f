"""Both talk: at once, in between, with a word of assent. What is played is turned down meanwhile, and nothing is lost."""

import numpy as np
import pytest
from lane_rig import Rig
from said import noise, said

from appliance.events import UtterancePlayed
from appliance.interpreter.playout import DUCKED_DB, FASTEST
from appliance.speech.vad import VoiceActivity
from appliance.telephony.media import FRAME_S

TAMIL, TAMIL_HINGLISH = "என் printer வேலை செய்யவில்லை.", "मेरा printer काम नहीं कर रहा है."
AGAIN, AGAIN_HINGLISH = "சீக்கிரம் வேண்டும்.", "जल्दी चाहिए."
REPLY, REPLY_TAMIL = "printer restart कीजिए.", "printer restart செய்யுங்கள்."
REAL = {
    "hi": "हाँ जी मेरा ticket number चार पांच है",
    "ta": "ஆமாம் என் கணினி இன்று வேலை செய்யவில்லை",
    "te": "అవును నా కంప్యూటర్ ఈరోజు పని చేయడం లేదు",
    "kn": "ಹೌದು ನನ್ನ ಕಂಪ್ಯೂಟರ್ ಇವತ್ತು ಕೆಲಸ ಮಾಡುತ್ತಿಲ್ಲ",
    "mr": "हो माझा संगणक आज काम करत नाही",
}
OVER_S = 0.3
"""So long a listener may talk before what he hears is turned down."""


@pytest.fixture
async def rig():
    rig = Rig()
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH)
    rig.script(2200, AGAIN, "ta", AGAIN_HINGLISH, seconds=1.0)
    rig.script(3000, REPLY, "hi", REPLY_TAMIL, seconds=1.5)
    rig.models.speech_s = 4.0
    rig.begin()
    yield rig
    await rig.call.stop()
    assert rig.call.tasks == 0


def level_at(rig: Rig, seconds: float) -> float:
    """Of what the agent hears."""
    return float(np.median(np.abs(rig.agent.frames[round(seconds / FRAME_S)])))


def frames_of(rig: Rig, text: str) -> tuple[int, int]:
    """How many frames of a translation the agent has heard, in full and turned down."""
    level = rig.models.levels[text]
    return len(rig.agent.heard(level, slack=1)), len(rig.agent.heard(round(level * 10 ** (DUCKED_DB / 20)), slack=1))


async def test_a_translation_is_turned_down_while_its_listener_talks_and_goes_on_in_full_after_that(rig: Rig) -> None:
    rig.caller.say(2000, 2.0)
    await rig.run(3.5)
    full = rig.models.levels[TAMIL_HINGLISH]
    assert level_at(rig, 3.4) == pytest.approx(full, abs=1)
    began_s = len(rig.agent.frames) * FRAME_S
    rig.agent.say(3000, 1.5)
    await rig.run(8.0)
    for after_s in np.arange(OVER_S, 1.5, 0.1):
        assert level_at(rig, began_s + after_s) < 0.3 * full, f"{after_s:.1f} s after he began to talk"
    assert level_at(rig, began_s + 1.5 + 0.5) == pytest.approx(full, abs=1)
    whole, ducked = frames_of(rig, TAMIL_HINGLISH)
    assert whole + ducked in (198, 199, 200), "4 s, less the frames in which its level moves"
    assert [event.outcome for event in rig.utterances] == ["interpreted"] * 2, "what he said himself"
    assert len(rig.of(UtterancePlayed)) == 2


@pytest.mark.parametrize("word", ["haan", "seri", "avunu", "ho"])
async def test_a_word_of_assent_costs_nothing_that_was_understood(rig: Rig, word: str) -> None:
    rig.script(3300, word, "hi", seconds=0.35)
    rig.caller.say(2000, 2.0)
    rig.caller.pause(0.9)
    rig.caller.say(2200, 1.0)
    await rig.run(3.2)
    for _ in range(3):
        rig.agent.say(3300, 0.36)
        await rig.run(2.0)
    await rig.run(5.0)
    for text, most in ((TAMIL_HINGLISH, 200), (AGAIN_HINGLISH, 200 / FASTEST)):
        whole, ducked = frames_of(rig, text)
        assert whole + ducked >= 0.95 * most, f"{text}: {whole} frames and {ducked} turned down"
    assert sum(frames_of(rig, text)[1] for text in (TAMIL_HINGLISH, AGAIN_HINGLISH)) > 20, "he was heard"
    to_agent = [event for event in rig.utterances if event.lane == "caller_to_agent"]
    assert [(event.recognised, event.outcome) for event in to_agent] == [(TAMIL, "interpreted"), (AGAIN, "interpreted")]


async def test_both_talk_at_once_and_both_are_interpreted(rig: Rig) -> None:
    rig.models.speech_s = 1.0
    rig.caller.say(2000, 2.0)
    rig.agent.pause(0.3)
    rig.agent.say(3000, 1.5)
    await rig.run(6.0)
    assert sorted((event.recognised, event.translated, event.outcome) for event in rig.utterances) == sorted(
        [(TAMIL, TAMIL_HINGLISH, "interpreted"), (REPLY, REPLY_TAMIL, "interpreted")]
    )
    assert len(rig.of(UtterancePlayed)) == 2


async def test_a_noise_too_short_for_speech_turns_nothing_down(rig: Rig) -> None:
    rig.caller.say(2000, 2.0)
    await rig.run(3.5)
    rig.agent.say(3000, 0.04)
    await rig.run(4.0)
    assert frames_of(rig, TAMIL_HINGLISH) == (200, 0)


@pytest.mark.parametrize(("code", "text"), list(REAL.items()))
async def test_real_speech_turns_the_translation_down_in_time_whatever_the_language(code: str, text: str) -> None:
    """The rest of the 0.3 s is for what waits in Asterisk before it is heard."""
    rig = Rig(detector=VoiceActivity())
    rig.begin()
    rig.call._scope.legs["agent"].playout.add("translation", np.full(6 * 16_000, 3000, np.int16))
    speech = said(text, code)
    quiet = noise(1.0, 20)
    pcm = np.concatenate((quiet, speech, noise(3.0, 20)))
    rig.agent.to_say = list(pcm[: len(pcm) // 320 * 320].reshape(-1, 320))
    await rig.run(5.5)
    levels = np.array([np.median(np.abs(frame)) for frame in rig.agent.frames])
    down = np.flatnonzero(levels[50:] < 1000)[0] * FRAME_S
    assert 0 <= down <= OVER_S - 0.04, f"after {down:.2f} s"
    assert np.median(levels[-20:]) == pytest.approx(3000, abs=5), "and up again"
    await rig.call.stop()
