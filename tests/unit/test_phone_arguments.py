"""Arguments of `appliance call`: several files after one flag, speech of any rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from appliance.phone import wav
from appliance.phone.cli import _taking_turns, call_command
from appliance.phone.errors import AudioFileError
from appliance.phone.spread import spread


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--a 1 2 3 --b 4", "--a 1 --a 2 --a 3 --b 4"),
        ("--a 1 --a 2", "--a 1 --a 2"),
        ("--c 1 2 --a 3", "--c 1 2 --a 3"),
        ("--a 1 --c x 5", "--a 1 --c x 5"),
        ("", ""),
    ],
)
def test_a_flag_spreads_over_its_values(given: str, expected: str) -> None:
    assert list(spread(given.split(), {"--a", "--b"})) == expected.split()


def tone(path: Path, rate: int = 8000, length_s: float = 0.5, channels: int = 1) -> Path:
    samples = (8000 * np.sin(2 * np.pi * 440 * np.arange(round(length_s * rate)) / rate)).astype(np.int16)
    wav.write(path, samples if channels == 1 else np.column_stack([samples] * channels), rate)
    return path


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_speech_of_any_rate_is_read_at_telephone_rate(tmp_path: Path, rate: int) -> None:
    samples = wav.read(tone(tmp_path / "a.wav", rate))
    assert len(samples) == pytest.approx(4000, abs=2)
    spectrum = np.abs(np.fft.rfft(samples.astype(float)))
    assert int(np.argmax(spectrum)) * 8000 / len(samples) == pytest.approx(440, abs=3)


def test_files_that_cannot_be_said_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    wav.write(tmp_path / "silent.wav", np.zeros(800, np.int16))
    tone(tmp_path / "stereo.wav", channels=2)
    for name, problem in (
        ("none.wav", "no such file"),
        ("text.wav", "cannot be read"),
        ("silent.wav", "no sound"),
        ("stereo.wav", "allowed: 1"),
    ):
        with pytest.raises(AudioFileError, match=problem) as refused:
            wav.read(tmp_path / name)
        assert name in str(refused.value)


def test_the_sides_take_turns_and_the_rest_follows(tmp_path: Path) -> None:
    files = {name: tone(tmp_path / f"{name}.wav") for name in ("a", "b", "c", "x")}
    turns = _taking_turns((files["a"], files["b"], files["c"]), (files["x"],))
    assert [(turn.speaker, turn.file.stem) for turn in turns] == [("caller", "a"), ("agent", "x"), ("caller", "b"), ("caller", "c")]


def test_both_sides_must_be_given() -> None:
    result = CliRunner().invoke(call_command, ["--caller-audio", "a.wav", "b.wav"])
    assert result.exit_code == 2
    assert "--agent-audio" in result.output


def test_silence_takes_no_room(tmp_path: Path) -> None:
    wav.write_silence(tmp_path / "s.wav", 600)
    stat = (tmp_path / "s.wav").stat()
    assert stat.st_size > 9_000_000
    assert stat.st_blocks * 512 < 100_000
