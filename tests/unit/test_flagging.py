"""Key 9 of the agent: what he heard last is kept with its audio."""

import wave
from pathlib import Path

import numpy as np
import pytest
from lane_rig import Rig

from appliance.gateway import flagging
from appliance.gateway.flagging import Flagging
from appliance.store.errors import StoreError
from appliance.store.flagged_audio import FlaggedAudio

FIRST, SECOND = "என் printer வேலை செய்யவில்லை.", "சீக்கிரம் வேண்டும்."


@pytest.fixture
async def rig():
    rig = Rig()
    rig.script(2000, FIRST, "ta", "मेरा printer काम नहीं कर रहा है.")
    rig.script(2200, SECOND, "ta", "जल्दी चाहिए.", seconds=1.0)
    rig.begin()
    rig.kept = []  # type: ignore[attr-defined]
    rig.call._keep = lambda *flagged: rig.kept.append(flagged)  # type: ignore[attr-defined]
    yield rig
    await rig.call.stop()


def level(pcm: np.ndarray) -> int:
    return int(np.bincount(np.abs(pcm[np.abs(pcm) > 500])).argmax())


async def test_what_the_agent_heard_last_is_kept_not_what_was_said_last(rig: Rig) -> None:
    rig.models.speech_s = 4.0
    rig.caller.say(2000, 2.0)
    rig.caller.pause(0.9)
    rig.caller.say(2200, 1.0)
    await rig.run(5.2)
    assert rig.models.count("speak", "जल्दी चाहिए.") == 1, "understood, and it waits behind the first"
    rig.call.key("agent", "9")
    await rig.run(5.0)
    rig.call.key("agent", "9")
    first, second = rig.kept  # type: ignore[attr-defined]
    assert [flagged[:3] for flagged in (first, second)] == [("call-1", "caller_to_agent", 1), ("call-1", "caller_to_agent", 2)]
    assert (level(first[3]), level(second[3])) == (2000, 2200)
    assert len(first[3]) / 16_000 == pytest.approx(2.3, abs=0.2), "all of it, with a little before and after"


async def test_of_what_is_still_being_said_the_part_so_far_is_kept(rig: Rig) -> None:
    rig.script(2500, "मेरा printer खराब है. उस पर error 407 दिख रहा है और काम रुका है.", "hi", seconds=8.0)
    rig.call._identifier.choose("hi")
    rig.caller.say(2500, 8.0)
    await rig.run(6.0)
    assert rig.utterances, "its first sentence is heard"
    rig.call.key("agent", "9")
    ((_, _, number, pcm),) = rig.kept  # type: ignore[attr-defined]
    assert number == 1
    assert 5.0 < len(pcm) / 16_000 < 6.1


async def test_nothing_heard_is_nothing_kept_and_a_callers_nine_is_no_flag(rig: Rig) -> None:
    rig.call.key("agent", "9")
    rig.caller.say(2000, 2.0)
    await rig.run(4.0)
    rig.call.key("caller", "9")
    assert rig.kept == []  # type: ignore[attr-defined]


async def test_only_a_few_utterances_are_held_in_memory(rig: Rig) -> None:
    for _ in range(8):
        rig.caller.say(2200, 1.0)
        await rig.run(2.5)
    assert len(rig.call._lanes["caller"]._understanding.recent) == 4
    rig.call.key("agent", "9")
    assert rig.kept[0][2] == 8  # type: ignore[attr-defined]


async def test_the_file_is_written_in_the_background(tmp_path: Path) -> None:
    keeper = Flagging(FlaggedAudio(tmp_path))
    keeper.keep("call-1", "caller_to_agent", 3, np.arange(320, dtype=np.int16))
    await keeper.close()
    with wave.open(str(tmp_path / "flagged" / "call-1" / "caller_to_agent-3.wav")) as file:
        np.testing.assert_array_equal(np.frombuffer(file.readframes(320), "<i2"), np.arange(320))


async def test_a_disk_that_takes_nothing_is_told_of_and_disturbs_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flagged").write_text("a file where the folder should be")
    audio = FlaggedAudio(tmp_path)
    with pytest.raises(StoreError, match="cannot be written"):
        audio.keep("call-1", "caller_to_agent", 1, np.zeros(3, np.int16))
    counted: list[str] = []
    monkeypatch.setattr(flagging.counting, "fallback", counted.append)
    keeper = Flagging(audio)
    keeper.keep("call-1", "caller_to_agent", 1, np.zeros(3, np.int16))
    await keeper.close()
    assert counted == ["flag-without-audio"]
    assert "cannot be written" in caplog.text
