"""Speech by the real espeak-ng library."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from appliance.engines.base import EngineUnavailable, JobRejected, SynthesiseJob
from appliance.engines.espeak import LEAD_S, RATE_HZ, TAIL_S, Espeak, trim
from appliance.text.languages import BY_CODE
from appliance.training import speech

SENTENCES = {
    "ta": "என் laptop மெதுவாக ஓடுகிறது",
    "te": "నా laptop నెమ్మదిగా ఉంది",
    "kn": "ನನ್ನ laptop ನಿಧಾನವಾಗಿದೆ",
    "mr": "माझा laptop हळू चालतो",
    "hi": "मेरा laptop धीमा है",
    "hinglish": "आपका password reset हो गया है",
}


@pytest.fixture(scope="module")
def engine() -> Espeak:
    return Espeak()


def say(engine: Espeak, text: str, language: str = "hi", voice: str = "") -> np.ndarray:
    (result,) = engine.speak([SynthesiseJob(text, language, voice)])
    assert result.rate == RATE_HZ
    assert result.samples.dtype == np.int16
    return result.samples


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two recordings are of the same words by the same voice: never quite equal, since espeak-ng dithers
    and lets the language before it change a length by some 3 %.

    Spectra of 20 equal parts are compared: 0.82 and more for the same, 0.66 and less for others.
    """
    if abs(len(one) - len(other)) > 0.05 * len(one):
        return False
    spectra = []
    for samples in (one, other):
        bands = [np.abs(np.fft.rfft(part.astype(float), 4096))[:1024].reshape(32, 32).mean(axis=1) for part in np.array_split(samples, 20)]
        spectra.append(np.log1p(np.concatenate(bands)))
    return bool(np.corrcoef(spectra[0], spectra[1])[0, 1] > 0.75)


@pytest.mark.parametrize("code", list(BY_CODE))
def test_every_language_is_spoken(engine: Espeak, code: str) -> None:
    samples = say(engine, SENTENCES[code], code)
    assert 1.0 < len(samples) / RATE_HZ < 4.0
    assert 5000 < np.abs(samples.astype(int)).max() < 32767


def test_ids_are_said_digit_by_digit(engine: Espeak) -> None:
    assert len(say(engine, "40723")) > 1.3 * len(say(engine, "40"))
    assert alike(say(engine, "407"), say(engine, "चार शून्य सात"))
    assert not alike(say(engine, "407"), say(engine, "चार सौ सात"))


def test_voices_differ_and_a_rate_is_kept(engine: Espeak) -> None:
    plain, other = say(engine, SENTENCES["hi"]), say(engine, SENTENCES["hi"], voice="hi+f3")
    assert not alike(plain, other)
    assert alike(plain, say(engine, SENTENCES["hi"]))
    assert len(say(Espeak(rate_wpm=250), SENTENCES["hi"])) < 0.8 * len(plain)


def test_a_language_has_the_voice_it_was_given(engine: Espeak) -> None:
    given = say(Espeak(voices={"hinglish": "hi+f3"}), SENTENCES["hinglish"], "hinglish")
    assert alike(given, say(engine, SENTENCES["hinglish"], "hinglish", "hi+f3"))
    assert not alike(given, say(engine, SENTENCES["hinglish"], "hinglish"))


@pytest.mark.parametrize("voice", ["xx", "hi+nosuch", "hi+../hi"])
def test_an_unknown_voice_is_named(engine: Espeak, voice: str) -> None:
    with pytest.raises(JobRejected, match=voice.replace("+", r"\+")):
        say(engine, "नमस्ते", voice=voice)
    with pytest.raises(EngineUnavailable, match=voice.replace("+", r"\+")):
        Espeak(voices={"hi": voice})
    assert len(say(engine, "नमस्ते"))


def test_a_voice_for_an_unknown_language_is_refused() -> None:
    with pytest.raises(EngineUnavailable, match="'xx', allowed: ta"):
        Espeak(voices={"xx": "hi"})


@pytest.mark.parametrize("text", ["", " ", "?!", "\0"])
def test_nothing_to_say_is_no_audio(engine: Espeak, text: str) -> None:
    assert len(say(engine, text)) == 0


def test_a_zero_byte_does_not_end_the_text(engine: Espeak) -> None:
    assert alike(say(engine, "नमस्ते\0आप"), say(engine, "नमस्ते आप"))


def test_only_a_little_silence_is_left_at_the_ends() -> None:
    samples = np.zeros(16_000, np.int16)
    samples[4000:8000] = 9000
    assert len(trim(samples)) == 4000 + int(LEAD_S * RATE_HZ) + int(TAIL_S * RATE_HZ)
    assert len(trim(np.full(1000, 30, np.int16))) == 0
    loudest_negative = np.full(100, -32768, np.int16)
    assert len(trim(loudest_negative)) == 100


def test_threads_do_not_mix_their_sentences(engine: Espeak) -> None:
    expected = {code: say(engine, text, code) for code, text in SENTENCES.items()}
    with ThreadPoolExecutor(4) as pool:
        for code, samples in pool.map(lambda code: (code, say(engine, SENTENCES[code], code)), list(SENTENCES) * 5):
            assert alike(samples, expected[code])


def test_another_speaker_in_the_same_process_changes_nothing(engine: Espeak) -> None:
    before = say(engine, SENTENCES["hi"])
    assert len(speech.say("எல்லாம் வேறு", speech.Manner("ta+klatt", words_per_minute=120, pitch=90, word_gap=5)).samples)
    after = say(engine, SENTENCES["hi"])
    assert len(after) == pytest.approx(len(before), rel=0.01)  # no two renderings are quite the same
    assert np.std(after) == pytest.approx(np.std(before), rel=0.05)
