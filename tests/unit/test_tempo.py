import numpy as np
import pytest
from said import RATE, said

from appliance.audio.tempo import faster


@pytest.mark.parametrize("factor", [1.05, 1.2, 1.35, 2.0])
def test_it_is_as_much_shorter_and_as_loud(factor: float) -> None:
    speech = said("आपका ticket number चार पांच छह है और engineer कल आएगा", "hi")
    quick = faster(speech, factor)
    assert len(speech) / len(quick) == pytest.approx(factor, rel=0.02)
    assert np.std(quick.astype(float)) == pytest.approx(np.std(speech.astype(float)), rel=0.1)


@pytest.mark.parametrize("pitch_hz", [90, 220, 440])
def test_the_pitch_stays(pitch_hz: int) -> None:
    tone = (8000 * np.sin(2 * np.pi * pitch_hz * np.arange(2 * RATE) / RATE)).astype(np.int16)
    quick = faster(tone, 1.3)[:RATE]
    spectrum = np.abs(np.fft.rfft(quick * np.hanning(RATE)))
    assert np.argmax(spectrum) == pytest.approx(pitch_hz, abs=2)
    assert np.abs(np.diff(quick[1000:-1000].astype(int))).max() < 1.3 * np.abs(np.diff(tone.astype(int))).max(), (
        "no clicks where pieces meet"
    )


def test_what_nobody_would_hear_is_left_as_it_is() -> None:
    speech = said("ठीक है", "hi")
    assert faster(speech, 1.02) is speech
    short = np.ones(100, np.int16)
    assert faster(short, 1.5) is short
    with pytest.raises(ValueError, match="tempo of 3"):
        faster(speech, 3.0)
