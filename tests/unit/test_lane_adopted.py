"""A call that another worker has begun to interpret: what is told of it must not be mistaken for what that one has told."""

from __future__ import annotations

from lane_rig import Rig

from appliance.events import LanguageDecided

TAMIL, TAMIL_HINGLISH = "என் printer வேலை செய்யவில்லை.", "मेरा printer काम नहीं कर रहा है."
AGE_S = 42.0


async def test_utterances_get_numbers_that_were_not_given_and_times_since_the_call_began() -> None:
    rig = Rig(before={"decided": "ta", "age_s": AGE_S})
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH)
    rig.begin()
    for _ in range(2):
        rig.caller.say(2000, 2.0)
        await rig.run(4.0)
    await rig.call.stop()
    numbers = [event.utterance for event in rig.utterances]
    assert len(set(numbers)) == 2
    assert min(numbers) > AGE_S, "more than one a second nobody begins"
    assert AGE_S <= rig.utterances[0].started_s < AGE_S + 1
    assert rig.utterances[0].ended_s > AGE_S + 1.5


async def test_a_language_chosen_by_a_key_is_kept_whatever_is_heard() -> None:
    rig = Rig(before={"decided": "mr", "chosen": True})
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH)
    rig.begin()
    for _ in range(3):
        rig.caller.say(2000, 2.0)
        await rig.run(4.0)
    await rig.call.stop()
    assert rig.call.language == "mr"
    assert rig.of(LanguageDecided) == []
    assert {asked for asked in rig.models.asked if asked[0] == "final"} == {("final", "mr")}
