"""Lanes with the real detector on espeak-ng speech; only the models are scripted."""

from collections.abc import Sequence

import numpy as np
import pytest
from lane_rig import Rig, ScriptedModels
from said import noise, said

from appliance.events import LanguageDecided
from appliance.modelserver.messages import Transcript
from appliance.speech.vad import VoiceActivity
from appliance.telephony.media import FRAME_SAMPLES

SENTENCES = {
    "ta": "என் கணினி இன்று வேலை செய்யவில்லை.",
    "te": "నా కంప్యూటర్ ఈరోజు పని చేయడం లేదు.",
    "kn": "ನನ್ನ ಕಂಪ್ಯೂಟರ್ ಇವತ್ತು ಕೆಲಸ ಮಾಡುತ್ತಿಲ್ಲ.",
    "mr": "माझा संगणक आज काम करत नाही.",
    "hi": "मेरा कंप्यूटर आज काम नहीं कर रहा है.",
}
HINGLISH = "मेरा computer आज काम नहीं कर रहा है."


class OneSentence(ScriptedModels):
    """Hears the sentence in any speech, word by word as time goes on."""

    code = "hi"
    seconds = 1.0
    lengths: list[float]

    async def transcribe(
        self,
        pcm: np.ndarray,
        *,
        language: str | None,
        languages: Sequence[str] = (),
        partial: bool = False,
        stream: str = "",
        timeout_s: float,
    ) -> Transcript:
        await self._work("stt")
        words = SENTENCES[self.code].split()
        heard_s = len(pcm) / 16_000 - 0.35
        if not partial:
            self.lengths.append(heard_s)
        text = " ".join(words[: round(len(words) * min(1.0, heard_s / self.seconds + 0.1))])
        return self._transcript(text, language or self.code, {} if language else {self.code: 1.0}, -0.05, 0.0)


def frames(pcm: np.ndarray) -> list[np.ndarray]:
    return [pcm[start : start + FRAME_SAMPLES] for start in range(0, len(pcm) - FRAME_SAMPLES, FRAME_SAMPLES)]


@pytest.mark.parametrize("code", list(SENTENCES))
async def test_utterances_are_found_and_interpreted_without_delay(code: str) -> None:
    rig = Rig(detector=VoiceActivity())
    models = OneSentence(rig)
    models.code, models.lengths = code, []
    models.translations[SENTENCES[code]] = HINGLISH
    rig.models = rig.call._scope.models = models
    speech = said(SENTENCES[code], code)
    models.seconds = len(speech) / 16_000
    pcm = np.concatenate((noise(2.0, 25, 1), speech, noise(2.0, 25, 2), speech, noise(2.5, 25, 3)))
    rig.begin()
    rig.caller.to_say = frames(pcm)
    await rig.run(len(pcm) / 16_000)
    assert [(event.outcome, event.recognised) for event in rig.utterances] == [("interpreted", SENTENCES[code])] * 2
    assert [event.language for event in rig.of(LanguageDecided)] == [code]
    for event, start_s in zip(rig.utterances, (2.0, 4.0 + models.seconds), strict=True):
        end_s = start_s + models.seconds
        assert event.started_s == pytest.approx(start_s, abs=0.15)
        assert event.ended_s == pytest.approx(end_s, abs=0.15)
    level = models.levels[HINGLISH]
    played = np.array(rig.agent.heard(level))
    starts = played[np.flatnonzero(np.diff(played, prepend=-9) > 1)] * 0.02
    true_delays = [start - end for start, end in zip(starts, (2.0 + models.seconds, 4.0 + 2 * models.seconds), strict=True)]
    assert all(0.3 < delay < 0.75 for delay in true_delays), true_delays
    await rig.call.stop()


async def test_line_noise_alone_is_no_utterance() -> None:
    rig = Rig(detector=VoiceActivity())
    rig.begin()
    rig.caller.to_say = frames(noise(20.0, 60, 5))
    rig.agent.to_say = frames(noise(20.0, 200, 6))
    await rig.run(20.0)
    assert rig.utterances == []
    assert rig.models.asked == []
    await rig.call.stop()
