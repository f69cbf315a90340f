"""Where speech begins and ends in a telephone's recording. Pure functions of samples; times in seconds from the first sample.

What a party *said* is clean: speech between stretches of silence. What it *heard* may hold two things at once: the
translation, and the other party's own voice quietly underneath (about 20 dB lower) which ends when the other stops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from appliance.phone.timeline import Samples

FRAME_S = 0.010
SPEECH_BELOW_LOUD_DB = 30.0
"""Speech is what lies less than this below its loud parts: fricatives and the ends of words are 20 to 25 dB down."""
NOISE_MARGIN_DB = 8.0
"""Speech in a noisy recording lies this much above the noise."""
SILENCE_DBFS = -58.0
"""G.711 turns silence into codes of at most +-8 (-72 dBFS); comfort noise and line hiss stay below this."""
ORIGINAL_MARGIN_DB = 7.0
"""Above the quiet original by this much is translation."""
ORIGINAL_TAIL_S = 0.35
"""How long after its end the quiet original may still arrive: network, mixing and resampling."""
ONSET_S = 0.050
"""A click is shorter."""
BRIDGED_S = 0.20
"""Pauses inside words and between them."""

ALIKE = 0.32
"""Correlation of a sound with itself after the telephone line, with noise and a quiet voice beneath, is 0.45 and more over a second
of speech; with other speech of the same voice it is 0.2 and less (measured on 30 utterances)."""

Levels = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stretch:
    start_s: float
    end_s: float


def levels(samples: Samples, rate: int) -> Levels:
    """Level of each 10 ms in dB below full scale, -120 for digital silence."""
    size = round(FRAME_S * rate)
    count = len(samples) // size
    frames = samples[: count * size].astype(np.float64).reshape(count, size)
    power: Levels = np.mean(np.square(frames), axis=1) / 32768.0**2
    return np.asarray(10 * np.log10(power + 1e-12), np.float64)


def loudness(level: Levels) -> float:
    """Level of the loud parts of what is above silence, in dB below full scale; -120 when all is silent."""
    sounding = level[level > SILENCE_DBFS]
    return float(np.percentile(sounding, 90)) if len(sounding) else -120.0


def speech_stretches(samples: Samples, rate: int, pause_s: float = BRIDGED_S) -> list[Stretch]:
    """The stretches of speech in what a party said; pauses shorter than `pause_s` do not divide them."""
    level = levels(samples, rate)
    loud = loudness(level)
    if loud <= SILENCE_DBFS:
        return []
    # A noise floor only counts when most of the recording is at it: in speech without pauses the quiet parts are speech.
    floor = float(np.percentile(level, 10))
    threshold = max(loud - SPEECH_BELOW_LOUD_DB, SILENCE_DBFS, min(floor + NOISE_MARGIN_DB, loud - 10))
    return _stretches(level > threshold, pause_s)


def sound_onset(samples: Samples, rate: int, from_s: float = 0.0, threshold_dbfs: float = SILENCE_DBFS) -> float | None:
    """Start of the first lasting sound at or after `from_s`; None when there is none."""
    return _onset(levels(samples, rate) > threshold_dbfs, from_s)


def translation_onset(
    heard: Samples, rate: int, *, from_s: float, until_s: float, original_start_s: float, original_end_s: float
) -> float | None:
    """First translated audio between `from_s` and `until_s` in what the listener heard; None when there is none.

    Args:
        heard: what the listener received, on the same clock as the times.
        original_start_s: when the speaker began.
        original_end_s: when he ended; until `ORIGINAL_TAIL_S` later his own voice may be there, quieter than the translation.
    """
    level = levels(heard, rate)
    index = np.arange(len(level)) * FRAME_S
    inside = (index >= from_s) & (index < until_s)
    loud = loudness(level[inside])
    if loud <= SILENCE_DBFS:
        return None
    original = level[(index >= original_start_s + 0.1) & (index < min(original_end_s, original_start_s + 1.0))]
    quiet = loudness(original)
    alone = np.full(len(level), max(SILENCE_DBFS, loud - SPEECH_BELOW_LOUD_DB))
    beneath = (index >= original_start_s - 0.05) & (index < original_end_s + ORIGINAL_TAIL_S)
    if quiet > SILENCE_DBFS:
        # Where nothing is much louder than the original there is nothing but the original.
        above = min(ORIGINAL_MARGIN_DB, loud - quiet - 3) if loud > quiet + 6 else ORIGINAL_MARGIN_DB
        alone[beneath] = np.maximum(alone[beneath], quiet + above)
    return _onset((level > alone) & inside, from_s)


def translation_end(heard: Samples, rate: int, *, onset_s: float, until_s: float) -> float:
    """End of the last sound of the translation that begins at `onset_s`, before `until_s`."""
    level = levels(heard, rate)
    first, last = round(onset_s / FRAME_S), min(round(until_s / FRAME_S), len(level))
    piece = level[first:last]
    sounding = np.flatnonzero(piece > max(SILENCE_DBFS, loudness(piece) - SPEECH_BELOW_LOUD_DB))
    return onset_s + (float(sounding[-1]) + 1) * FRAME_S if len(sounding) else onset_s


def longest_silence(heard: Samples, rate: int, within: list[Stretch]) -> float:
    """Longest stretch without any sound inside the given times, in seconds."""
    silent = levels(heard, rate) <= SILENCE_DBFS
    longest = 0
    for stretch in within:
        run = 0
        for frame in silent[max(0, round(stretch.start_s / FRAME_S)) : max(0, round(stretch.end_s / FRAME_S))]:
            run = run + 1 if frame else 0
            longest = max(longest, run)
    return longest * FRAME_S


def find(pattern: Samples, samples: Samples, *, at_least: float = ALIKE) -> int | None:
    """Where `pattern` occurs in `samples` (index of its first sample), by normalised correlation; None below `at_least`."""
    size, total = len(pattern), len(samples)
    if size == 0 or total < size:
        return None
    shape = pattern.astype(np.float64)
    wide = samples.astype(np.float64)
    width = 1 << (total + size - 1).bit_length()
    products = np.fft.irfft(np.fft.rfft(wide, width) * np.conj(np.fft.rfft(shape, width)), width)[: total - size + 1]
    sums = np.concatenate([[0.0], np.cumsum(np.square(wide))])
    energy = sums[size:] - sums[:-size]
    scores = products / np.sqrt(np.maximum(energy, 1.0) * max(float(np.sum(np.square(shape))), 1.0))
    best = int(np.argmax(scores))
    return best if scores[best] >= at_least else None


def _stretches(sounding: npt.NDArray[np.bool_], pause_s: float) -> list[Stretch]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], sounding, [False]]).astype(np.int8)))
    found: list[Stretch] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        stretch = Stretch(float(start) * FRAME_S, float(end) * FRAME_S)
        if found and stretch.start_s - found[-1].end_s < pause_s:
            found[-1] = Stretch(found[-1].start_s, stretch.end_s)
        else:
            found.append(stretch)
    return [stretch for stretch in found if stretch.end_s - stretch.start_s >= ONSET_S]


def _onset(sounding: npt.NDArray[np.bool_], from_s: float) -> float | None:
    """Start of the first `ONSET_S` of which at most one frame is quiet."""
    size = round(ONSET_S / FRAME_S)
    first = max(0, round(from_s / FRAME_S))
    for frame in np.flatnonzero(sounding[first:]) + first:
        if np.count_nonzero(sounding[frame : frame + size]) >= size - 1:
            return float(frame) * FRAME_S
    return None
