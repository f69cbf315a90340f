"""Music on hold, made here: slow broken chords with soft tones, so that no recording has to be licensed or shipped."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RATE_HZ = 16_000
LEVEL_DB = -26.0
"""Peak against full scale: below speech, so that an announcement over it stays clear."""
NOTE_S = 0.5
DECAY_S = 0.9
CHORDS = (  # hertz; C, A minor, F, G
    (261.63, 329.63, 392.00, 523.25),
    (220.00, 261.63, 329.63, 440.00),
    (174.61, 220.00, 261.63, 349.23),
    (196.00, 246.94, 293.66, 392.00),
)
_PATTERN = (0, 1, 2, 3, 2, 1, 2, 1)
_PARTIALS = ((1, 1.0), (2, 0.35), (3, 0.12))
"""Multiple of the note's frequency, and its strength. Little above 1.5 kHz: telephones distort it."""


def hold_music() -> npt.NDArray[np.int16]:
    """One round of the chords, 16 s, mono 16 kHz; its end runs into its beginning."""
    notes = [chord[step] for chord in CHORDS for step in _PATTERN]
    note_samples = round(NOTE_S * RATE_HZ)
    total = len(notes) * note_samples
    mix = np.zeros(total)
    for number, hertz in enumerate(notes):
        tone = _tone(hertz)
        places = (number * note_samples + np.arange(len(tone))) % total
        mix[places] += tone
    peak = 10 ** (LEVEL_DB / 20) * 32_767
    samples: npt.NDArray[np.int16] = np.round(mix * peak / np.abs(mix).max()).astype(np.int16)
    return samples


def _tone(hertz: float) -> npt.NDArray[np.float64]:
    seconds = np.arange(round(4 * DECAY_S * RATE_HZ)) / RATE_HZ
    swell = np.minimum(seconds / 0.02, 1.0) * np.exp(-seconds / DECAY_S)
    swell *= np.minimum((seconds[-1] - seconds) / 0.05, 1.0)
    wave = sum(strength * np.sin(2 * np.pi * hertz * multiple * seconds) for multiple, strength in _PARTIALS)
    return np.asarray(swell * wave, dtype=np.float64)
