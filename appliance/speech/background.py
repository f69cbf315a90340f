"""How loud the voices are that are always there: other people in the room, a television. Pure.

The detector takes a crowd for speech, and an utterance would not end as long as the crowd talks. Somebody who speaks into the
telephone is louder than the room, and no one person is heard without a gap for seconds: what is never quieter than some level
while the detector hears nothing but speech is that level of the room. On a line without such voices it is 0 and changes nothing.
"""

from __future__ import annotations

import math
from collections import deque

_SMOOTHED = 3
"""Windows (0.1 s) whose mean energy counts: a syllable's gap is no gap in the room."""
_BLOCK = 8
"""Windows (0.26 s) that give one value: the quietest of them."""
_BLOCKS = 12
"""Values kept: the last 3 s."""
_VOICES = 0.5
"""Probability of speech that a block has throughout when there are always voices."""
_STEADY = 1.5
"""What varies by less within a block (1.8 dB) is a tone or a machine, which the detector itself knows to be no voices."""
_BEGIN_PLACE, _GO_ON_PLACE = 4, 6
"""Which of the sorted values, of 12, is taken for the room: a lower one to begin an utterance, which must not be missed."""
_BEGIN, _GO_ON = 4.0, 2.0
"""How much more energy than the room has speech that begins (6 dB) and that goes on (3 dB)."""


class Background:
    """Of one leg: told of every window, it says which ones are too faint to be the speaker's."""

    def __init__(self) -> None:
        self._energies: deque[float] = deque((0.0,) * _SMOOTHED, maxlen=_SMOOTHED)
        self._probabilities: deque[float] = deque((0.0,) * _SMOOTHED, maxlen=_SMOOTHED)
        self._blocks: deque[float] = deque((0.0,) * _BLOCKS, maxlen=_BLOCKS)
        self._quietest, self._loudest = math.inf, 0.0
        self._voices = True
        self._windows = 0
        self._begin = self._go_on = 0.0
        self.energy = 0.0
        """Mean square of the last windows (0.1 s)."""

    def take(self, energy: float, probability: float) -> None:
        """The next window.

        Args:
            energy: mean square of its samples.
            probability: of speech in it.
        """
        self._energies.append(energy)
        self._probabilities.append(probability)
        smoothed = self.energy = sum(self._energies) / _SMOOTHED
        self._quietest, self._loudest = min(self._quietest, smoothed), max(self._loudest, smoothed)
        self._voices = self._voices and max(self._probabilities) >= _VOICES
        self._windows += 1
        if self._windows < _BLOCK:
            return
        varies = self._loudest > _STEADY * self._quietest
        self._blocks.append(self._quietest if self._voices and varies else 0.0)
        self._quietest, self._loudest, self._voices, self._windows = math.inf, 0.0, True, 0
        known = sorted(self._blocks)
        self._begin = _BEGIN * known[_BEGIN_PLACE]
        self._go_on = _GO_ON * known[_GO_ON_PLACE]

    def covers(self, *, speaking: bool) -> bool:
        """Whether the last windows are no louder than the room, given whether an utterance goes on."""
        return self.energy < (self._go_on if speaking else self._begin)
