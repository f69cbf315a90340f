import msgspec
import numpy as np
import pytest
from lane_rig import Rig, prompt_level

from appliance.config.schema import Config
from appliance.events import LanguageDecided, PartialRecognised, UtteranceInterpreted, UtterancePlayed
from appliance.interpreter import scope as scope_module
from appliance.interpreter.belief import Belief
from appliance.interpreter.calibration import Calibration
from appliance.modelserver.errors import Overloaded, TimedOut, Unavailable

TAMIL, TAMIL_HINGLISH = "என் printer வேலை செய்யவில்லை.", "मेरा printer काम नहीं कर रहा है."
REPLY, REPLY_TAMIL = "printer restart कीजिए.", "printer restart செய்யுங்கள்."


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope_module, "RETRY_WAIT_S", 0.0)


@pytest.fixture
async def rig():
    rig = Rig()
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH)
    rig.script(3000, REPLY, "hi", REPLY_TAMIL, seconds=1.5)
    rig.begin()
    yield rig
    await rig.call.stop()
    assert rig.call.tasks == 0


def interpreted(event: UtteranceInterpreted) -> tuple[str, str, str, str, str]:
    return event.lane, event.source_language, event.target_language, event.recognised, event.translated


async def test_both_directions(rig: Rig) -> None:
    rig.caller.say(2000, 2.0)
    await rig.run(4.0)
    rig.agent.say(3000, 1.5)
    await rig.run(4.0)
    assert [interpreted(event) for event in rig.utterances] == [
        ("caller_to_agent", "ta", "hinglish", TAMIL, TAMIL_HINGLISH),
        ("agent_to_caller", "hinglish", "ta", REPLY, REPLY_TAMIL),
    ]
    assert all(event.outcome == "interpreted" and event.last_segment and event.confidence > 0.9 for event in rig.utterances)
    assert rig.call.language == "ta"
    decided = rig.of(LanguageDecided)
    assert [(event.language, event.how) for event in decided] == [("ta", "votes")]
    assert decided[0].after_s < 3.0
    assert len(rig.agent.heard(rig.models.levels[TAMIL_HINGLISH])) == 50, "one second, and only the agent"
    assert not rig.caller.heard(rig.models.levels[TAMIL_HINGLISH])
    assert len(rig.caller.heard(rig.models.levels[REPLY_TAMIL])) == 50
    assert [(event.lane, event.utterance) for event in rig.of(UtterancePlayed)] == [("caller_to_agent", 1), ("agent_to_caller", 1)]
    assert rig.of(PartialRecognised)


async def test_the_delay_is_the_endpoint_wait_when_the_models_are_fast(rig: Rig) -> None:
    rig.caller.say(2000, 2.0)
    await rig.run(4.0)
    delays = rig.utterances[0].delays
    assert 0.35 <= delays.endpoint_wait <= 0.5
    assert delays.total - delays.endpoint_wait <= 0.04, "decoding, translation and speech were ready when the pause was over"
    assert rig.models.count("final") == 1
    assert rig.models.count("speak") == 1
    first_frame = rig.agent.heard(rig.models.levels[TAMIL_HINGLISH])[0]
    assert first_frame * 0.02 == pytest.approx(2.0 + delays.total, abs=0.15)


async def test_slow_models_show_in_their_stage(rig: Rig) -> None:
    rig.models.latency.update(stt=0.3, mt=0.5, tts=0.4)
    rig.caller.say(2000, 2.0)
    await rig.run(5.0)
    delays = rig.utterances[0].delays
    assert delays.speak == pytest.approx(0.4, abs=0.05)
    assert delays.translate == pytest.approx(0.5, abs=0.05)
    stages = delays.endpoint_wait + delays.recognise + delays.identify + delays.translate + delays.render + delays.speak + delays.play
    assert stages == pytest.approx(delays.total, abs=0.06)


async def test_going_on_after_a_pause_is_one_utterance(rig: Rig) -> None:
    rig.caller.say(2000, 1.0)
    rig.caller.pause(0.28)
    rig.caller.say(2000, 1.0)
    await rig.run(4.5)
    assert [event.recognised for event in rig.utterances] == [TAMIL]
    assert len(rig.agent.heard(rig.models.levels[TAMIL_HINGLISH])) == 50
    assert rig.models.count("speak", TAMIL_HINGLISH) == 1


async def test_a_long_utterance_is_interpreted_before_it_ends(rig: Rig) -> None:
    first, second = "हाँ जी मेरा printer खराब है.", "उस पर error 407 दिख रहा है और काम रुका है."
    rig.script(2500, f"{first} {second}", "hi", seconds=8.0)
    rig.models.translations |= {first: "நான் ஒன்று.", second: "error 407 தெரிகிறது."}
    rig.call._identifier.choose("ta")
    rig.agent.say(2500, 8.0)
    await rig.run(12.0)
    assert [(event.segment, event.last_segment, event.recognised) for event in rig.utterances] == [(1, False, first), (2, True, second)]
    assert rig.caller.heard(rig.models.levels["நான் ஒன்று."])[0] * 0.02 < 7.0
    assert rig.caller.heard(rig.models.levels["error 407 தெரிகிறது."])[0] * 0.02 > 8.0


async def test_what_was_said_first_is_heard_first(rig: Rig) -> None:
    rig.models.slow[TAMIL] = 3.0
    second = "வேண்டும் சீக்கிரம்."
    rig.script(2200, second, "ta", "जल्दी चाहिए.", seconds=1.0)
    rig.caller.say(2000, 2.0)
    rig.caller.pause(1.0)
    rig.caller.say(2200, 1.0)
    await rig.run(9.0)
    assert [event.recognised for event in rig.utterances] == [TAMIL, second]
    one, two = rig.agent.heard(rig.models.levels[TAMIL_HINGLISH]), rig.agent.heard(rig.models.levels["जल्दी चाहिए."])
    assert one[-1] < two[0]
    assert len(one) == len(two) == 50


async def test_sentences_are_translated_one_by_one_and_the_next_is_made_while_one_is_played(rig: Rig) -> None:
    rig.models.speech_s = 3.0
    rig.script(2600, "பணம் வரவில்லை. என்ன செய்வது?", "ta", seconds=2.0)
    rig.models.translations |= {"பணம் வரவில்லை.": "पैसा नहीं आया.", "என்ன செய்வது?": "क्या करूँ?"}
    rig.caller.say(2600, 2.0)
    await rig.run(3.5)
    assert rig.models.count("speak", "क्या करूँ?") == 1, "while the first is still played"
    await rig.run(6.0)
    assert [event.recognised for event in rig.utterances] == ["பணம் வரவில்லை.", "என்ன செய்வது?"]
    assert [event.last_segment for event in rig.utterances] == [False, True]
    assert rig.models.count("translate") == 2


async def test_unclear_speech_is_asked_for_again_in_the_speakers_language_only(rig: Rig) -> None:
    rig.caller.say(2000, 2.0)
    await rig.run(4.0)
    rig.script(2700, "புரியாத பேச்சு இங்கே", "ta", avg_logprob=-2.0)
    rig.caller.say(2700, 1.0)
    await rig.run(3.0)
    refused = rig.utterances[-1]
    assert (refused.outcome, refused.reason, refused.translated) == ("refused", "unclear-speech", "")
    assert len(rig.caller.heard(prompt_level("please_repeat", "ta"))) == 25
    assert not rig.agent.heard(prompt_level("please_repeat", "hinglish"))
    rig.caller.say(2700, 1.0)
    await rig.run(2.5)
    assert rig.utterances[-1].outcome == "refused"
    assert len(rig.caller.heard(prompt_level("please_repeat", "ta"))) == 25, "not again so soon"


def calibrated(threshold: float) -> Belief:
    weights = {"avg_logprob": 1.0, "log_agreement": 2.0, "translation_score": 1.0}
    typical = {"avg_logprob": -0.1, "log_agreement": -0.1, "translation_score": -0.1}
    made = Calibration(weights=weights, bias=2.0, threshold=threshold, typical=typical, in_domain=2, out_of_domain=2, curve=[])
    return Belief(Config(), made)


async def test_a_sentence_that_is_recited_and_not_heard_is_refused_before_its_translation() -> None:
    rig = Rig(belief=calibrated(0.5))
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH, support=0.1)
    rig.script(2100, TAMIL, "ta", TAMIL_HINGLISH, support=0.8)
    rig.begin()
    rig.caller.say(2000, 2.0)
    await rig.run(4.0)
    assert [(event.outcome, event.reason) for event in rig.utterances] == [("refused", "unsupported-speech")]
    assert rig.utterances[0].confidence == pytest.approx(1 / (1 + np.exp(-(2 - 0.05 + 2 * np.log(0.1)))), abs=1e-3)
    assert rig.models.count("translate") == 0
    rig.caller.say(2100, 2.0)
    await rig.run(4.0)
    assert rig.utterances[1].outcome == "interpreted"
    assert rig.utterances[1].confidence == pytest.approx(1 / (1 + np.exp(-(2 - 0.05 + 2 * np.log(0.8) - 0.05))), abs=1e-3)
    await rig.call.stop()


async def test_a_doubtful_translation_counts_with_the_recognition() -> None:
    rig = Rig(belief=calibrated(0.75))
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH, support=0.8)
    rig.models.score = -1.0
    rig.begin()
    rig.caller.say(2000, 2.0)
    await rig.run(4.0)
    assert rig.models.count("translate") == 1, "its recognition alone would do"
    assert [(event.outcome, event.reason) for event in rig.utterances] == [("refused", "unsure-translation")]
    await rig.call.stop()


@pytest.mark.parametrize(("support", "segments"), [(1.0, 2), (0.75, 1)])
async def test_only_what_is_well_supported_is_interpreted_before_the_end(support: float, segments: int) -> None:
    rig = Rig(belief=calibrated(0.7))
    first, second = "हाँ जी मेरा printer खराब है.", "उस पर error 407 दिख रहा है और काम रुका है."
    rig.script(2500, f"{first} {second}", "hi", seconds=8.0, support=support)
    rig.models.translations |= {first: "நான் ஒன்று.", second: "error 407 தெரிகிறது."}
    rig.begin()
    rig.call._identifier.choose("ta")
    rig.agent.say(2500, 8.0)
    await rig.run(7.5)
    assert rig.models.count("translate", first) == segments - 1
    await rig.run(5.0)
    assert [(event.recognised, event.outcome) for event in rig.utterances] == [(first, "interpreted"), (second, "interpreted")]
    await rig.call.stop()


async def test_noise_without_words_is_passed_over_in_silence(rig: Rig) -> None:
    rig.caller.say(9000, 1.0)
    await rig.run(3.0)
    assert [(event.outcome, event.reason) for event in rig.utterances] == [("silence", "no-speech")]
    assert rig.models.count("translate") == 0
    assert not any(np.any(frame) for frame in rig.caller.frames)


async def test_speech_without_a_word_that_is_understood_is_to_be_said_again(rig: Rig) -> None:
    rig.script(2900, "", "ta")
    rig.caller.say(2900, 1.5)
    await rig.run(3.5)
    assert [(event.outcome, event.reason) for event in rig.utterances] == [("refused", "unclear-speech")]
    assert rig.caller.heard(prompt_level("please_repeat", "ta"))


async def test_a_murmur_is_not(rig: Rig) -> None:
    rig.script(2900, "", "ta")
    rig.caller.say(2900, 0.4)
    await rig.run(3.0)
    assert [(event.outcome, event.reason) for event in rig.utterances] == [("silence", "no-speech")]


async def test_a_wrong_number_is_never_spoken(rig: Rig) -> None:
    rig.script(2800, "ticket 45721 closed இல்லை.", "ta", "ticket 45712 बंद नहीं है.")
    rig.caller.say(2800, 2.0)
    await rig.run(4.0)
    assert [(event.outcome, event.reason) for event in rig.utterances] == [("refused", "number-lost")]
    assert rig.models.count("speak") == 0
    assert rig.caller.heard(prompt_level("please_repeat", "ta"))


async def test_a_server_that_stumbles_once_is_asked_again(rig: Rig) -> None:
    rig.models.failures["mt"] = [Unavailable("mt", "restarting", True)]
    rig.models.failures["tts"] = [Overloaded("tts", "queue full", True)]
    rig.caller.say(2000, 2.0)
    await rig.run(4.0)
    assert [event.outcome for event in rig.utterances] == ["interpreted"]


async def test_work_ahead_that_failed_is_done_again_at_the_end(rig: Rig) -> None:
    rig.caller.say(2000, 2.0)
    await rig.run(2.0)
    rig.models.failures["stt"] = [Overloaded("stt", "given up for a newer one", True)] * 2
    await rig.run(2.0)
    assert [event.outcome for event in rig.utterances] == ["interpreted"]


@pytest.mark.parametrize("kind", ["stt", "mt", "tts"])
async def test_a_server_that_is_gone_is_told_to_the_speaker_and_in_the_end_to_call_control(rig: Rig, kind: str) -> None:
    rig.caller.say(2000, 2.0)
    await rig.run(4.0)
    rig.models.failures[kind] = [Unavailable(kind, "gone", False)] * 100
    for _ in range(3):
        rig.caller.say(2000, 2.0)
        await rig.run(4.0)
    assert [event.outcome for event in rig.utterances] == ["interpreted", "failed", "failed", "failed"]
    assert rig.utterances[1].reason == f"{kind}-unavailable"
    assert rig.caller.heard(prompt_level("please_repeat", "ta"))
    assert rig.lost == [f"{kind}-unavailable"]


async def test_one_success_between_failures_is_not_the_end(rig: Rig) -> None:
    for _ in range(3):
        rig.models.failures["mt"] = [TimedOut("mt", "no answer", True)]
        rig.caller.say(2000, 2.0)
        await rig.run(4.0)
        rig.models.failures["mt"] = []
        rig.caller.say(2000, 2.0)
        await rig.run(4.0)
    assert [event.outcome for event in rig.utterances] == ["failed", "interpreted"] * 3
    assert rig.lost == []


async def test_only_one_partial_decode_at_a_time(rig: Rig) -> None:
    rig.models.latency["stt"] = 1.0
    rig.caller.say(2000, 6.0)
    await rig.run(9.0)
    assert rig.models.most_partials == 1
    assert 3 <= rig.models.count("partial") <= 6


async def test_own_playback_heard_back_is_not_interpreted(rig: Rig) -> None:
    """A speakerphone at the agent's: -20 dB would be loud enough for the detector."""
    rig.models.levels[TAMIL_HINGLISH] = 20_000
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH)
    rig.agent.echo_db = -20.0
    for _ in range(3):
        rig.caller.say(2000, 2.0)
        await rig.run(5.0)
    assert max(int(np.abs(frame).max()) for frame in rig.agent.frames) * 0.1 > 1000, "the detector does hear the echo"
    assert [event.lane for event in rig.utterances if event.outcome != "silence"] == ["caller_to_agent"] * 3
    assert [event.reason for event in rig.utterances if event.lane == "agent_to_caller"] == ["echo"] * 3
    assert rig.models.count("translate", REPLY) == 0


async def test_a_phone_that_falls_silent_on_the_wire_still_ends_its_utterance(rig: Rig) -> None:
    rig.caller.say(2000, 2.0)
    await rig.run(2.1)
    rig.caller.sending = False
    await rig.run(2.0)
    assert [event.outcome for event in rig.utterances] == ["interpreted"]


async def test_nobody_there_to_hear_it(rig: Rig) -> None:
    rig.agent.hang_up()
    rig.caller.say(2000, 2.0)
    await rig.run(4.0)
    assert [(event.outcome, event.reason) for event in rig.utterances] == [("failed", "no-listener")]
    assert not rig.caller.heard(prompt_level("please_repeat", "ta"))
    assert rig.lost == []


async def test_what_was_never_begun_is_told_when_the_call_ends() -> None:
    rig = Rig()
    rig.models.speech_s = 10.0
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH)
    rig.begin()
    for _ in range(2):
        rig.caller.say(2000, 2.0)
        await rig.run(3.5)
    await rig.call.stop()
    assert [(event.outcome, event.reason) for event in rig.utterances] == [("interpreted", ""), ("failed", "call-ended")]


async def test_a_final_decode_unlike_the_partial_before_it_is_believed_less() -> None:
    rig = Rig(config=msgspec.convert({"recognise": {"partial_every_s": 1.2}}, Config))
    rig.script(2000, TAMIL, "ta", TAMIL_HINGLISH)
    rig.begin()
    rig.caller.say(2000, 2.0)
    await rig.run(1.6)
    rig.script(2000, "முற்றிலும் வேறு சொற்கள் இவை.", "ta", "बिल्कुल अलग बात है.")
    await rig.run(2.5)
    rig.caller.say(2000, 2.0)
    await rig.run(4.5)
    first, second = rig.utterances
    assert first.recognised == second.recognised
    assert first.confidence < second.confidence - 0.05
    await rig.call.stop()


async def test_hinglish_reaches_the_translator_in_canonical_form(rig: Rig) -> None:
    rig.call._identifier.choose("ta")
    rig.script(3100, "मेरा प्रिंटर देखिए ।", "hi")
    rig.models.translations["मेरा printer देखिए."] = "என் printer பாருங்கள்."
    rig.agent.say(3100, 2.0)
    await rig.run(4.0)
    assert ("translate", "मेरा printer देखिए.", "hinglish", "ta") in rig.models.asked
    assert rig.utterances[0].translated == "என் printer பாருங்கள்."
