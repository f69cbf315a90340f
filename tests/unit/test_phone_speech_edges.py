"""Edges of speech are found in synthetic audio whose edges are known."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.phone import speech_edges
from appliance.phone.speech_edges import Stretch

RATE = 8000
SEED = np.random.default_rng(20)


def voice(length_s: float, dbfs: float = -18.0) -> np.ndarray:
    """Something like speech: harmonics of a wandering pitch that swell four times a second and never quite stop."""
    time = np.arange(round(length_s * RATE)) / RATE
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    wave = sum(np.sin(k * phase) / k for k in range(1, 12)) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * time + 0.4))
    return wave / np.sqrt(np.mean(wave**2)) * 32768 * 10 ** (dbfs / 20)


def place(total_s: float, *pieces: tuple[float, np.ndarray], noise_dbfs: float | None = None) -> np.ndarray:
    track = np.zeros(round(total_s * RATE))
    if noise_dbfs is not None:
        track += SEED.standard_normal(len(track)) * 32768 * 10 ** (noise_dbfs / 20)
    for start_s, piece in pieces:
        begin = round(start_s * RATE)
        track[begin : begin + len(piece)] += piece
    return np.clip(track, -32768, 32767).astype(np.int16)


@pytest.mark.parametrize("noise_dbfs", [None, -70.0, -45.0])
@pytest.mark.parametrize("dbfs", [-12.0, -25.0])
def test_stretches_of_speech_are_found_to_a_few_frames(dbfs: float, noise_dbfs: float | None) -> None:
    said = place(6, (1.0, voice(1.5, dbfs)), (3.2, voice(1.0, dbfs)), noise_dbfs=noise_dbfs)
    first, second = speech_edges.speech_stretches(said, RATE)
    assert [first.start_s, first.end_s, second.start_s, second.end_s] == pytest.approx([1.0, 2.5, 3.2, 4.2], abs=0.03)


def test_short_pauses_do_not_divide_a_stretch() -> None:
    said = place(4, (1.0, voice(0.8)), (1.95, voice(0.8)))
    assert len(speech_edges.speech_stretches(said, RATE)) == 1
    assert len(speech_edges.speech_stretches(said, RATE, pause_s=0.1)) == 2


def test_silence_holds_no_speech() -> None:
    quiet = place(2, noise_dbfs=-75.0)
    assert speech_edges.speech_stretches(quiet, RATE) == []
    assert speech_edges.sound_onset(quiet, RATE) is None


def onset(heard: np.ndarray, original: tuple[float, float]) -> float | None:
    return speech_edges.translation_onset(
        heard, RATE, from_s=original[0] + 0.3, until_s=len(heard) / RATE, original_start_s=original[0], original_end_s=original[1]
    )


@pytest.mark.parametrize("ducked_db", [-20.0, -15.0, None])
@pytest.mark.parametrize("translation_db", [-12.0, -18.0, -22.0])
def test_translation_is_told_from_the_quiet_original(translation_db: float, ducked_db: float | None) -> None:
    original = [] if ducked_db is None else [(1.08, voice(2.0, -16.0 + ducked_db))]  # what is said from 1.0 to 3.0 arrives a little later
    heard = place(8, *original, (3.9, voice(2.0, translation_db)))
    assert onset(heard, (1.0, 3.0)) == pytest.approx(3.9, abs=0.03)


def test_a_translation_that_begins_while_the_original_still_sounds() -> None:
    heard = place(8, (1.08, voice(3.0, -36.0)), (2.7, voice(3.0, -16.0)))
    assert onset(heard, (1.0, 4.0)) == pytest.approx(2.7, abs=0.05)


def test_the_original_alone_is_no_translation() -> None:
    heard = place(6, (1.08, voice(2.0, -36.0)))
    begin = onset(heard, (1.0, 3.0))
    assert begin is None or begin >= 3.0 + speech_edges.ORIGINAL_TAIL_S - 0.3, "the ducked original must not be taken for the translation"


def test_a_click_is_no_onset() -> None:
    heard = place(4, (1.0, np.full(80, 9000.0)), (2.0, voice(1.0)))
    assert speech_edges.sound_onset(heard, RATE) == pytest.approx(2.0, abs=0.02)


def test_the_end_of_a_translation_is_its_last_sound() -> None:
    heard = place(8, (2.0, voice(1.0)), (3.6, voice(1.2)))
    assert speech_edges.translation_end(heard, RATE, onset_s=2.0, until_s=8.0) == pytest.approx(4.8, abs=0.03)
    assert speech_edges.translation_end(heard, RATE, onset_s=2.0, until_s=3.4) == pytest.approx(3.0, abs=0.03)


def test_longest_silence_counts_only_inside_the_given_times() -> None:
    heard = place(10, (1.0, voice(1.0)), (3.5, voice(1.0)))
    assert speech_edges.longest_silence(heard, RATE, [Stretch(1.0, 4.5)]) == pytest.approx(1.5, abs=0.03)
    assert speech_edges.longest_silence(heard, RATE, [Stretch(1.2, 1.8)]) == 0.0
    assert speech_edges.longest_silence(heard, RATE, []) == 0.0


def test_a_sound_is_found_in_a_louder_recording_with_something_else_beneath() -> None:
    pattern = voice(1.0, -20.0)
    other = SEED.standard_normal(6 * RATE) * 32768 * 10 ** (-40 / 20)
    heard = np.clip(place(6, (2.345, pattern * 2)) + other, -32768, 32767).astype(np.int16)
    place_found = speech_edges.find(pattern.astype(np.int16), heard)
    assert place_found is not None
    assert abs(place_found - round(2.345 * RATE)) <= 2


def test_a_sound_that_is_not_there_is_not_found() -> None:
    noise = (SEED.standard_normal(4 * RATE) * 1000).astype(np.int16)
    assert speech_edges.find(voice(1.0).astype(np.int16), noise) is None
    assert speech_edges.find(noise, noise[:100]) is None
