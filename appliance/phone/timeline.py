"""When each sample of a growing recording was written, on this machine's monotonic clock.

A recording is polled while it grows; each poll that finds it longer says that by this time so many samples were there.
A stream runs at its nominal rate, so `time - samples / rate` is constant but for the lateness of writing and polling: its
lower envelope over the half second that follows is when the samples were due. Looking forward only, a pause of the stream
(nothing was sent for a while) does not make what follows seem earlier than it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ENVELOPE_S = 0.5
"""Long enough to find a poll that came right after a packet, short against drift."""
SLACK_S = 0.015
"""Wandering of the envelope below this is the lateness of polls, not of audio."""

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Timeline:
    rate: int
    times: npt.NDArray[np.float64]
    """Of the polls that found the recording longer, `time.monotonic()`."""
    counts: npt.NDArray[np.int64]
    """Samples that were there at those times, growing."""
    offsets: npt.NDArray[np.float64]
    """Of each poll's samples: sample n was due at offset + n / rate."""

    def time_of(self, sample: int) -> float:
        """When a sample was sent or received; beyond the ends, as the stream would have gone on.

        Raises:
            ValueError: nothing was recorded.
        """
        if not len(self.counts):
            raise ValueError("nothing was recorded")
        poll = min(int(np.searchsorted(self.counts, sample, side="right")), len(self.counts) - 1)
        return float(self.offsets[poll]) + sample / self.rate


def timeline(rate: int, polls: Sequence[tuple[float, int]]) -> Timeline:
    """From (time, number of samples) of each poll that found more samples than the one before."""
    times = np.array([time for time, _ in polls], np.float64)
    counts = np.array([count for _, count in polls], np.int64)
    late = times - counts / rate
    ends = np.searchsorted(times, times + ENVELOPE_S, side="right")
    offsets = np.array([late[start:end].min() for start, end in enumerate(ends)], np.float64)
    return Timeline(rate, times, counts, offsets)


def on_clock(samples: Samples, line: Timeline, start_s: float, end_s: float) -> Samples:
    """The samples laid out on the clock from `start_s` to `end_s`; where nothing was recorded there are zeros.

    Samples stay contiguous unless the stream paused: only then is anything moved.
    """
    laid = np.zeros(max(0, round((end_s - start_s) * line.rate)), np.int16)
    if not len(line.counts):
        return laid
    begin = 0
    while begin < len(samples):
        place = round((line.time_of(begin) - start_s) * line.rate)
        end = _contiguous_until(line, begin, len(samples))
        first, last = max(0, -place), min(end - begin, len(laid) - place)
        if last > first:
            laid[place + first : place + last] = samples[begin + first : begin + last]
        begin = end
    return laid


def _contiguous_until(line: Timeline, begin: int, total: int) -> int:
    """First sample after `begin` that is out of step with it."""
    poll = min(int(np.searchsorted(line.counts, begin, side="right")), len(line.counts) - 1)
    moved = np.flatnonzero(np.abs(line.offsets[poll:] - line.offsets[poll]) > SLACK_S)
    if not len(moved):
        return total
    return max(begin + 1, int(line.counts[poll + int(moved[0]) - 1]))
