import wave
from pathlib import Path

import numpy as np
import pytest

from appliance.evaluation import audio
from appliance.evaluation.audio import Line
from appliance.evaluation.errors import EvaluationError


def tone(hz: float, rate: int, seconds: float = 1.0) -> audio.Samples:
    return (10_000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


def level(samples: audio.Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples[400:-400].astype(np.float64)))))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_width_holds_the_same_sound(tmp_path: Path, width: int) -> None:
    expected = tone(300, 8000) // 256 * 256
    wide = expected.astype(np.int32) * 65_536
    data = {
        1: (expected // 256 + 128).astype(np.uint8).tobytes(),
        2: expected.astype("<i2").tobytes(),
        3: wide.astype("<i4").view(np.uint8).reshape(-1, 4)[:, 1:].tobytes(),
        4: wide.astype("<i4").tobytes(),
    }[width]
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(data)
    samples, rate = audio.read(tmp_path / "a.wav")
    assert rate == 8000
    assert samples.dtype == np.int16
    np.testing.assert_array_equal(samples, expected)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(EvaluationError, match=r"text\.wav: cannot be read as a PCM WAV file"):
        audio.read(tmp_path / "text.wav")
    with wave.open(str(tmp_path / "stereo.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(8))
    with pytest.raises(EvaluationError, match="2 channels, allowed: 1"):
        audio.read(tmp_path / "stereo.wav")
    audio.write(tmp_path / "empty.wav", np.zeros(0, np.int16), 8000)
    with pytest.raises(EvaluationError, match="holds no samples"):
        audio.read(tmp_path / "empty.wav")
    audio.write(tmp_path / "silence.wav", np.zeros(10, np.int16), 8000)
    assert not audio.read(tmp_path / "silence.wav")[0].any()


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 48_000])
def test_any_rate_arrives_at_16_khz(rate: int) -> None:
    heard = Line().heard(tone(440, rate), rate, 1)
    assert len(heard) == pytest.approx(16_000, abs=2)
    assert level(heard) == pytest.approx(10_000 / 2**0.5, rel=0.05)


def test_the_telephone_takes_what_is_above_4_khz_and_leaves_the_rest() -> None:
    line = Line(bandlimit=True)
    assert level(line.heard(tone(6000, 16_000), 16_000, 1)) < 100
    assert level(line.heard(tone(1000, 16_000), 16_000, 1)) == pytest.approx(10_000 / 2**0.5, rel=0.05)
    assert level(Line().heard(tone(6000, 16_000), 16_000, 1)) > 6000


def test_noise_has_its_ratio_and_is_the_same_every_time() -> None:
    clean = tone(440, 16_000, 3)
    line = Line.parse(False, "white:10")
    noisy = line.heard(clean, 16_000, 7)
    added = noisy.astype(np.int32) - clean
    assert 20 * np.log10(level(clean) / level(added.astype(np.int16))) == pytest.approx(10, abs=0.5)
    np.testing.assert_array_equal(noisy, line.heard(clean, 16_000, 7))
    assert (noisy != line.heard(clean, 16_000, 8)).any()
    assert (noisy != Line.parse(False, "white:10", seed=2).heard(clean, 16_000, 7)).any()


def test_options_of_the_line() -> None:
    assert str(Line.parse(True, "babble:-5")) == "8 kHz G.711, babble noise at -5 dB"
    assert str(Line.parse(False, "")) == "as recorded"
    assert Line.parse(False, "mixed:7.5").snr_db == 7.5
    for wrong in ("babble", "rain:10", "babble:", "babble:x", ":10"):
        with pytest.raises(EvaluationError, match=r"allowed is KIND:DB.*babble, traffic"):
            Line.parse(False, wrong)
