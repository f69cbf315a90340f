"""What a call with the starter models tells the other party of what one telephone sends; `appliance bench lines` sends noise."""

from collections.abc import Iterator

import numpy as np
import pytest

from appliance.audio import noise
from appliance.bench import clips
from appliance.bench.lines import SPEECH_RMS, at_level, trimmed
from appliance.bench.noise_call import Appliance, Told, starter_appliance
from appliance.speech.vad import RATE


@pytest.fixture(scope="module")
def appliance() -> Iterator[Appliance]:
    with starter_appliance() as started:
        yield started


def said(text: str, code: str) -> np.ndarray:
    speech = at_level(trimmed(clips.spoken(text, code)), SPEECH_RMS)
    quiet = np.random.default_rng(3).normal(0, 8, RATE).astype(np.int16)
    return np.concatenate([quiet, speech, quiet, quiet])


def test_a_sentence_is_told_whichever_party_says_it(appliance: Appliance) -> None:
    assert appliance.told(said(clips.sentences("hi")[0], "hi"), "caller").spoken
    assert appliance.told(said(clips.sentences("hinglish")[0], "hinglish"), "agent").spoken


def test_what_no_model_knows_is_refused(appliance: Appliance) -> None:
    backwards = np.ascontiguousarray(said(clips.sentences("hi")[0], "hi")[::-1])
    told = appliance.told(backwards, "agent")
    assert (told.spoken, told.refused) == (0, 1)


def test_hum_is_nothing_at_all(appliance: Appliance) -> None:
    hum = noise.make("hum", 5 * RATE, RATE, np.random.default_rng(2)) * (SPEECH_RMS * 10 ** (-10 / 20))
    assert appliance.told(hum.astype(np.int16), "caller") == Told(5 / 60, 0, 0)
