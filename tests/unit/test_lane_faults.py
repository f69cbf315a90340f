"""What goes wrong inside one call stays small: one utterance, one leg, one tick."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from lane_rig import CODES, LoudDetector, Rig, prompt_level

from appliance.events import UtteranceInterpreted
from appliance.interpreter import scope as scope_module
from appliance.interpreter.outage import LOST_AFTER, SAME_FAULT_S
from appliance.interpreter.playout import Playout
from appliance.modelserver.errors import Unavailable
from appliance.speech.listen import SpeechEnded
from appliance.speech.vad import WINDOW

TAMIL, TAMIL_HINGLISH = "என் printer வேலை செய்யவில்லை.", "मेरा printer काम नहीं कर रहा है."


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope_module, "RETRY_WAIT_S", 0.0)


@pytest.fixture
async def rig():
    rig = Rig()
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH)
    rig.begin()
    yield rig
    await rig.call.stop()
    assert rig.call.tasks == 0


def outcomes(rig: Rig) -> list[tuple[str, str]]:
    return [(event.outcome, event.reason) for event in rig.of(UtteranceInterpreted)]


async def test_the_segments_of_one_utterance_fail_as_one(rig: Rig) -> None:
    sentences = ["பணம் வரவில்லை.", "என்ன செய்வது?", "சொல்லுங்கள் இப்போது.", "காத்திருக்கிறேன் நான்."]
    rig.script(2600, " ".join(sentences), "ta", seconds=2.0)
    rig.models.failures["mt"] = [Unavailable("mt", "gone", False)] * 100
    rig.caller.say(2600, 2.0)
    await rig.run(4.0)
    assert outcomes(rig) == [("failed", "mt-unavailable")] * len(sentences)
    assert rig.lost == []


async def test_utterances_that_fail_one_after_the_other_count_each(rig: Rig) -> None:
    for _ in range(LOST_AFTER):
        assert rig.lost == []
        rig.call._scope.failed("mt-unavailable")
        rig.now += SAME_FAULT_S
    assert rig.lost == ["mt-unavailable"]


async def test_the_audio_of_a_lost_leg_is_closed_so_that_call_control_hears_of_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(pcm: bytes) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(rig.agent, "send", broken)
    await rig.run(0.1)
    assert rig.agent.closed
    assert not rig.caller.closed


async def test_the_start_of_what_is_not_queued_is_passed_over(rig: Rig) -> None:
    rig.call.on_started(rig.call._scope.legs["agent"], "c7.1", rig.now)
    assert rig.events == []


async def test_a_translation_that_cannot_be_played_is_not_the_end_of_the_lane(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    playout = rig.call._scope.legs["agent"].playout
    add, broken = playout.add, [ValueError("no room")]

    def add_later(self: Playout, *args: object, **more: object) -> None:
        if self is playout and broken:
            raise broken.pop()
        add(*args, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Playout, "add", add_later)
        rig.caller.say(2000, 2.0)
        await rig.run(4.0)
    assert "could not be played" in caplog.text
    rig.caller.say(2000, 2.0)
    await rig.run(4.0)
    assert len(rig.agent.heard(rig.models.levels[TAMIL_HINGLISH])) == 50


class FailingDetector(LoudDetector):
    failing = False

    def run(self, streams: list[int], windows: list[np.ndarray]) -> np.ndarray:
        if self.failing:
            raise RuntimeError("no detector")
        return super().run(streams, windows)


async def test_without_voice_activity_the_ticks_go_on(caplog: pytest.LogCaptureFixture) -> None:
    detector = FailingDetector()
    rig = Rig(detector=detector)
    rig.begin()
    ended: list[object] = []
    on_listen = rig.call.on_listen
    rig.call.on_listen = lambda leg, events, now_s: (ended.extend(events), on_listen(leg, events, now_s))  # type: ignore[method-assign,assignment,func-returns-value]
    rig.caller.say(2000, 1.0)
    await rig.run(1.0)
    detector.failing = True
    frames = len(rig.caller.frames)
    said = asyncio.create_task(rig.call.say("agent", "flagged"))
    await rig.run(2.0)
    await said
    assert len(rig.caller.frames) == frames + 100
    assert len(rig.agent.heard(prompt_level("flagged", "hinglish"))) == 25
    assert any(isinstance(event, SpeechEnded) for event in ended), "what was being said does not stay open"
    assert caplog.text.count("voice activity cannot be told") == 1, f"not for each of {2 * 2.0 * 16_000 / WINDOW:.0f} windows"
    await rig.call.stop()


async def test_the_keypad_is_not_asked_for_while_the_caller_speaks(rig: Rig) -> None:
    rig.script(2100, "ஹலோ ஹலோ", "ta", "hello जी", seconds=12.0, scores=dict.fromkeys(CODES, 0.2))
    rig.caller.say(2100, 12.0)
    await rig.run(11.0)
    assert not rig.caller.heard(prompt_level("keypad_menu", "ta"))
    await rig.run(3.0)
    assert rig.caller.heard(prompt_level("keypad_menu", "ta"))


async def test_keys_pressed_in_a_row_repeat_the_translation_once(rig: Rig) -> None:
    rig.caller.say(2000, 2.0)
    await rig.run(5.0)
    for _ in range(10):
        rig.call.key("agent", "*")
    await rig.run(4.0)
    assert len(rig.agent.heard(rig.models.levels[TAMIL_HINGLISH])) == 100
