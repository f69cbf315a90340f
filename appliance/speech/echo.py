"""Whether a stretch of inbound audio is only what was just played to that party, heard back by a cheap phone. Pure.

Speech and its echo have the same course of loudness, shifted by the way there and back and quieter. Somebody else's speech
does not follow it, not even when both talk at once.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FRAME = 320
"""Samples of one step of an envelope (20 ms at 16 kHz)."""
FRAME_S = 0.020
HISTORY_S = 30.0
"""How far back the played envelope is kept: longer than the longest utterance."""

_FIRST_LAG, _LAST_LAG = 1, 20
"""Frames from playing to hearing it back: 40 to 250 ms of phone and line, and what Asterisk has queued (two frames and more)."""
_LEAST_CORRELATION = 0.7
_LOUDEST_DB, _QUIETEST_DB = -9.0, -46.0
"""Level of an echo against what was played: -15 to -40 dB with room for the level estimate."""
_LEAST_COVER = 0.6
"""Share of the stretch's energy that must fall on frames while something was played."""
_FLOOR = 20.0
"""RMS (of 32768) under which a frame counts as silent."""

Envelope = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EchoVerdict:
    echo: bool
    correlation: float
    """Of the loudness courses at the best shift, -1 to 1."""
    level_db: float
    """Of the inbound audio against what was played, at that shift."""
    lag_s: float


_NO_ECHO = EchoVerdict(False, 0.0, 0.0, 0.0)


def envelope(pcm: npt.NDArray[np.int16]) -> Envelope:
    """RMS of each full 20 ms frame of 16 kHz audio."""
    frames = len(pcm) // FRAME
    if not frames:
        return np.zeros(0, np.float32)
    blocks = pcm[: frames * FRAME].reshape(frames, FRAME).astype(np.float32)
    squares: Envelope = np.einsum("ij,ij->i", blocks, blocks) / np.float32(FRAME)
    return np.sqrt(squares)


class EchoGuard:
    """Remembers how loud what was played to a party was, frame by frame."""

    def __init__(self) -> None:
        self._length = round(HISTORY_S / FRAME_S)
        self._written = array("f", bytes(4 * self._length))  # written to a value at a time, for which an array of numpy is slow
        self._played = np.frombuffer(self._written, np.float32)
        self._frames = 0

    def played(self, rms: float) -> None:
        """The next 20 ms sent to the party had this RMS (0 for silence)."""
        self._written[self._frames % self._length] = rms
        self._frames += 1

    def loudest_echo(self) -> float:
        """RMS above which what comes in now is no echo, whatever its course."""
        recent = np.arange(max(0, self._frames - _LAST_LAG), self._frames) % self._length
        return float(self._played[recent].max(initial=0.0)) * 10 ** (_LOUDEST_DB / 20)

    def judge(self, pcm: npt.NDArray[np.int16], frames_ago: int) -> EchoVerdict:
        """Judge a stretch of inbound audio.

        Args:
            pcm: 16 kHz.
            frames_ago: frames played since the stretch began to be received.
        """
        heard = envelope(pcm)
        if len(heard) < 8:
            return _NO_ECHO
        return judge(heard, self._before(frames_ago, len(heard)))

    def _before(self, frames_ago: int, frames: int) -> Envelope:
        """What was played from `_LAST_LAG` frames before the stretch on, `frames + _LAST_LAG` values; 0 where nothing is known."""
        first = self._frames - frames_ago - _LAST_LAG
        index = np.arange(first, first + frames + _LAST_LAG)
        known = (index >= 0) & (index < self._frames) & (index >= self._frames - self._length)
        return np.where(known, self._played[index % self._length], np.float32(0))


def judge(heard: Envelope, played: Envelope) -> EchoVerdict:
    """Compare envelopes: `played` begins `_LAST_LAG` frames before `heard` and is that much longer."""
    if float(played.max(initial=0.0)) < _FLOOR:
        return _NO_ECHO
    best = _NO_ECHO
    energy = heard * heard
    roots, played_roots = np.sqrt(heard), np.sqrt(played)
    loud = heard > _FLOOR
    for lag in range(_FIRST_LAG, _LAST_LAG + 1):
        stretch = slice(_LAST_LAG - lag, _LAST_LAG - lag + len(heard))
        source = played[stretch]
        correlation = _correlation(roots, played_roots[stretch])
        if correlation <= best.correlation:
            continue
        both = loud & (source > _FLOOR)
        if not both.any():
            continue
        ratio = float(np.sqrt(energy[both].sum() / (source[both] ** 2).sum()))
        level_db = 20 * float(np.log10(max(ratio, 1e-6)))
        cover = float(energy[source > _FLOOR].sum() / max(float(energy.sum()), 1e-9))
        echo = correlation >= _LEAST_CORRELATION and _QUIETEST_DB <= level_db <= _LOUDEST_DB and cover >= _LEAST_COVER
        best = EchoVerdict(echo, correlation, level_db, lag * FRAME_S)
    return best


def _correlation(first: Envelope, second: Envelope) -> float:
    """Pearson correlation; of square roots of levels, since loud vowels must not decide alone."""
    one, two = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((one * one).sum() * (two * two).sum()))
    return float((one * two).sum()) / scale if scale > 0 else 0.0
