"""Utterances in the audio of one leg, from speech probabilities: no I/O, no clock of its own."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from appliance.config.schema import Listen
from appliance.speech.background import Background
from appliance.speech.endpoint import Heard, endpoint_wait_s
from appliance.speech.vad import RATE, WINDOW, WINDOW_S

Samples = npt.NDArray[np.int16]

PAUSE_WINDOWS = 5
"""Silent windows (0.16 s) that make a pause: worth a decode on the chance that the utterance ends here."""
_FALSE_START_WINDOWS = 6
"""Silent windows (0.19 s) after which a sound too short for speech is forgotten."""
_CANDIDATE_WINDOWS = 3
"""Silent windows (0.1 s) inside an utterance where it may be cut when it gets too long."""
_TALKING_WINDOWS, _TALKED_WINDOWS = 3, 8
"""Windows of speech (0.1 s) from which on somebody talks, and silent ones (0.26 s) after which he has stopped: sooner than an
utterance begins and ends, for what is only turned down meanwhile."""
_UNLIKELY = 0.1
"""Of windows less likely to be speech nobody asks how loud they are."""
_HYSTERESIS = 0.15
"""Going on speaking takes less probability than beginning to."""
_FAINT = 0.06
"""Share of the loudness of the utterance (-24 dB) under which a window is a pause whatever its probability: the detector
lags up to 0.2 s behind the end of speech, and every listener would wait for it. On a noisy line nothing is so faint."""
_CLEAR = 100.0
"""How much more energy than the line before it has an utterance on a clear line (20 dB)."""
_CLEARLY = 1 / 64
"""Share of the utterance's energy (-18 dB) with which a window belongs to it on a clear line."""
_DOUBTED, _HARDLY = 0.5, 0.03
"""How likely speech must be there, to begin (of the probability that is needed else) and to go on: some voices the detector doubts
for half a second at a time, more so on a line of 8 kHz, and nobody else is there who could be that loud."""
_LINE_WINDOWS = 31
"""Without speech (1 s) that tell how loud the line is: gusts and other people come and go."""
_STILL = 100.0
"""Mean square of a line (-70 dBFS) that is never taken for quieter: after digital silence anything would be loud."""
_ONSET_WINDOWS = 4
"""Of what was there before an utterance (0.13 s) may be its beginning, which the detector notices late."""
_CUT_FROM = 0.4
"""An utterance that is too long is cut in the part after this share of it."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    at_s: float
    """When the speech began (its first window, not the preroll)."""


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    at_s: float
    """When the speech stopped."""
    samples: int
    """Length that the audio of the utterance will have if it ends with this pause."""


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    at_s: float


@dataclass(frozen=True, slots=True)
class Utterance:
    audio: Samples
    """16 kHz, with preroll and 0.16 s after the end."""
    audio_s: float
    """Time of its first sample."""
    started_s: float
    """When the speech began."""
    ended_s: float
    """When the speech stopped."""
    decided_s: float
    """When it was clear that it had stopped."""
    cut: bool = False
    """Whether the speaker went on: it was only too long."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    utterance: Utterance


ListenEvent = SpeechStarted | SpeechPaused | SpeechResumed | SpeechEnded


class Listener:
    """Finds utterances; times are those given to `feed`."""

    def __init__(self, listen: Listen, rate: int = RATE) -> None:
        if rate != RATE:
            raise ValueError(f"the listener works at {RATE} Hz, not {rate}")
        self._listen = listen
        self._preroll: deque[Samples] = deque(maxlen=max(1, round(listen.preroll_s / WINDOW_S)))
        self._quiet: deque[Samples] = deque(maxlen=_LINE_WINDOWS)
        self._windows: list[Samples] = []
        self._background = Background()
        self._forget()

    def _forget(self) -> None:
        self._windows = []
        self._started = False
        self._speech_windows = 0
        self._silent_windows = 0
        self._inner_pause_windows = 0
        self._gaps: list[tuple[int, int]] = []  # first window and length of pauses inside the utterance
        self._started_s = 0.0
        self._energy = 0.0  # sum over speech windows of their mean square
        self._line = math.inf  # mean square of the loudest window before the utterance
        self._heard: Heard | None = None

    @property
    def speaking(self) -> bool:
        """Whether an utterance is going on, pauses inside it included."""
        return self._started

    @property
    def talking(self) -> bool:
        """Whether somebody talks right now, an utterance or not yet."""
        return self._speech_windows >= _TALKING_WINDOWS and self._silent_windows <= _TALKED_WINDOWS

    @property
    def rms(self) -> float:
        """Loudness of the last 0.1 s."""
        return math.sqrt(self._background.energy)

    @property
    def samples(self) -> int:
        """Length of the utterance so far."""
        return WINDOW * len(self._windows) if self._started else 0

    def audio_so_far(self) -> Samples:
        """The utterance so far, preroll included; empty between utterances."""
        if not self._started:
            return np.zeros(0, np.int16)
        return np.concatenate(self._windows)

    def heard(self, heard: Heard) -> None:
        """Tell what the recogniser makes of the utterance so far: it may end sooner or later for it."""
        if self._started:
            self._heard = heard

    def feed(self, pcm: Samples, probability: float, now_s: float) -> list[ListenEvent]:
        """Take the next window.

        Args:
            pcm: 512 samples; kept, so the caller must not write into them again.
            probability: of speech in them.
            now_s: time of the end of the window.
        """
        threshold = self._listen.speech_probability
        energy = _energy(pcm) if self._windows or probability >= _UNLIKELY else 0.0
        self._background.take(energy if probability >= _UNLIKELY else 0.0, probability)
        if self._windows:
            speech = probability >= threshold - _HYSTERESIS or (probability >= _HARDLY and self._belongs(energy))
        else:
            speech = probability >= threshold or (probability >= _DOUBTED * threshold and self._stands_out(energy))
        speech = speech and not self._background.covers(speaking=self._started)
        if not self._windows:
            if not speech:
                self._preroll.append(pcm)
                self._quiet.append(pcm)
                return []
            self._windows = list(self._preroll)
            self._preroll.clear()
            before = self._before()
            self._line = max(_STILL, *map(_energy, before)) if before else math.inf
            self._started_s = now_s - WINDOW_S
        self._windows.append(pcm)
        if speech and self._started and energy * self._speech_windows < _FAINT**2 * self._energy:
            speech = False
        return self._speech(now_s, energy) if speech else self._silence(now_s)

    def _belongs(self, energy: float) -> bool:
        """Whether a window is as loud as what is being said on a clear line."""
        if not self._speech_windows:
            return False
        usual = self._energy / self._speech_windows
        return usual >= _CLEAR * self._line and energy >= _CLEARLY * usual

    def _stands_out(self, energy: float) -> bool:
        """Whether a window is much louder than the line before it.

        Asked of every doubted window, and on a noisy line a detector doubts many: there the first look tells.
        """
        before = self._before()
        return bool(before) and energy >= _CLEAR * _STILL and all(energy >= _CLEAR * _energy(window) for window in before)

    def _before(self) -> list[Samples]:
        """What tells how loud the line is before what may begin now."""
        return list(self._quiet)[:-_ONSET_WINDOWS]

    def _speech(self, now_s: float, energy: float) -> list[ListenEvent]:
        events: list[ListenEvent] = []
        silent, self._silent_windows = self._silent_windows, 0
        self._speech_windows += 1
        self._energy += energy
        if not self._started:
            if self._speech_windows * WINDOW_S < self._listen.min_speech_s:
                return []
            self._started = True
            events.append(SpeechStarted(self._started_s))
        else:
            if silent >= _CANDIDATE_WINDOWS:
                self._gaps.append((len(self._windows) - 1 - silent, silent))
            if silent >= PAUSE_WINDOWS:
                self._inner_pause_windows = max(self._inner_pause_windows, silent)
                self._heard = None
                events.append(SpeechResumed(now_s - WINDOW_S))
        if len(self._windows) * WINDOW_S >= self._listen.max_utterance_s:
            events += self._cut(now_s)
        return events

    def _silence(self, now_s: float) -> list[ListenEvent]:
        self._silent_windows += 1
        if not self._started:
            if self._silent_windows >= _FALSE_START_WINDOWS:
                self._preroll.extend(self._windows)
                self._quiet.extend(self._windows)
                self._forget()
            return []
        silence_s = self._silent_windows * WINDOW_S
        length = len(self._windows)
        wait_s = endpoint_wait_s(self._listen, self._heard, self._inner_pause_windows * WINDOW_S, length * WINDOW_S)
        if silence_s >= wait_s:
            ended_s = now_s - silence_s
            kept = length - max(0, self._silent_windows - PAUSE_WINDOWS)
            utterance = Utterance(np.concatenate(self._windows[:kept]), now_s - length * WINDOW_S, self._started_s, ended_s, now_s)
            self._preroll.extend(self._windows[kept:])
            self._quiet.extend(self._windows[kept:])
            self._forget()
            return [SpeechEnded(utterance)]
        if self._silent_windows == PAUSE_WINDOWS:
            return [SpeechPaused(now_s - silence_s, WINDOW * length)]
        return []

    def _cut(self, now_s: float) -> list[ListenEvent]:
        """End the utterance at its quietest place and go on with what follows as the next one."""
        length = len(self._windows)
        place = self._quietest(int(_CUT_FROM * length), length - 1)
        rest, gaps = self._windows[place:], [(first - place, windows) for first, windows in self._gaps if first >= place]
        cut_s, line = now_s - len(rest) * WINDOW_S, self._line
        ended = Utterance(np.concatenate(self._windows[:place]), now_s - length * WINDOW_S, self._started_s, cut_s, now_s, cut=True)
        self._forget()
        self._windows, self._gaps = rest, gaps
        self._started, self._started_s, self._speech_windows = True, cut_s, len(rest)
        self._energy, self._line = sum(map(_energy, rest)), line
        return [SpeechEnded(ended), SpeechStarted(cut_s)]

    def _quietest(self, first: int, last: int) -> int:
        """Index of the window before which to cut: the middle of the longest late pause, else the window of least energy."""
        late = [(windows, start + windows // 2) for start, windows in self._gaps if first <= start + windows // 2 < last]
        if late:
            return max(late)[1]
        return first + int(np.argmin([_energy(window) for window in self._windows[first:last]]))


def _energy(pcm: Samples) -> float:
    """Mean square."""
    wide = pcm.astype(np.float32)
    return float(np.dot(wide, wide)) / len(pcm)
