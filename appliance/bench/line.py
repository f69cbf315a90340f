"""One leg as Asterisk sees it: when it speaks, and whether what it is sent comes in time. Pure; times are monotonic seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FRAME_S = 0.020
_TOLERANCE_S = 1e-6


@dataclass(frozen=True, slots=True)
class Clip:
    """What a leg says again and again, as frames ready to be sent."""

    speech: Sequence[bytes]
    pause: Sequence[bytes]
    """Line noise, taken in turn while the leg does not speak."""
    end: int
    """Number of the frame of `speech` in which the speech ends."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One frame to send."""

    frame: bytes
    ends_speech: bool


class Talk:
    """Speaks in its turn of a period that both parties share.

    Args:
        period: frames from one beginning to speak to the next.
        first: frames until the first one; None: only line noise until `begin`.
    """

    def __init__(self, clip: Clip, period: int, first: int | None = None) -> None:
        self._clip = clip
        self._period = max(period, len(clip.speech))
        self._sent = 0
        self._begins_at = first

    def begin(self, first: int) -> None:
        """Begin to speak in `first` frames from now."""
        self._begins_at = self._sent + first

    def stop(self) -> None:
        self._begins_at = None

    @property
    def begun(self) -> bool:
        """Whether it takes its turns."""
        return self._begins_at is not None and self._sent > self._begins_at

    def next(self) -> Turn:
        number, self._sent = self._sent, self._sent + 1
        if self._begins_at is not None and number >= self._begins_at:
            place = (number - self._begins_at) % self._period
            if place < len(self._clip.speech):
                return Turn(self._clip.speech[place], place == self._clip.end)
        return Turn(self._clip.pause[number % len(self._clip.pause)], False)


class PlayOut:
    """Counts turns of 20 ms that came without a frame to play, as a telephone would hear them."""

    def __init__(self) -> None:
        self.received = 0
        self.gaps = 0
        """Turns without a frame."""
        self._due_s: float | None = None

    def take(self, now_s: float) -> None:
        """A frame has come."""
        self.received += 1
        if self._due_s is None:
            self._due_s = now_s
        missed = math.ceil((now_s - self._due_s - _TOLERANCE_S) / FRAME_S)
        if missed > 0:
            self.gaps += missed
            self._due_s += missed * FRAME_S
        self._due_s += FRAME_S

    def played_in_s(self, now_s: float) -> float:
        """Time until everything that has come is played."""
        return max(0.0, self._due_s - now_s) if self._due_s is not None else 0.0


def missing(frames: int, seconds: float) -> int:
    """How many frames of a stretch of time have not come; one too few is only where the stretch was cut."""
    short = math.floor(seconds / FRAME_S) - frames
    return short if short > 1 else 0
