"""Speech from espeak-ng through its library: a voice, a variant, a speed and a pitch give samples and word times."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

TELEPHONE_HZ = 8000
LIBRARY = "libespeak-ng.so.1"

_TRAIN = (
    "Alex Alicia Andrea Annie AnxiousAndy Denis Diogo Gene Henrique Hugo Jacky Lee Marco Mario Nguyen RicishayMax RicishayMax3 "
    "Tweaky adam anika antonio aunty belinda benjamin boris caleb david ed edward f1 f2 f4 f5 grandma grandpa gustave iven iven2 "
    "iven3 john klatt klatt2 klatt4 linda m1 m2 m3 m5 m6 m7 marcelo max michel norbert pablo pedro quincy rob robert "
    "sandro shelby steph steph3 travis victor"
)
VOICES: dict[str, tuple[str, ...]] = {
    "train": tuple(_TRAIN.split()),
    "dev": ("Gene2", "announcer", "f3", "m4", "paul", "steph2", "iven4"),
    "test": ("Andy", "Michael", "RicishayMax2", "edward2", "klatt3", "m8", "miguel", "zac"),
    "demo": ("Storm", "klatt6", "klatt5"),
}
"""Variants of espeak-ng (`espeak-ng-data/voices/!v`) by what they may be used for; the same in every language.

Left out: whispers, robots, monsters, and the empty variant, which is the plain voice of every espeak-ng.
"""

_SYNCHRONOUS = 2
_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7
_WORD_EVENT = 1


class SpeechError(RuntimeError):
    """espeak-ng refused; trying again does not help."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How something is said."""

    voice: str
    """espeak-ng voice with its variant, as `ta+f1`."""
    words_per_minute: int = 175
    pitch: int = 50
    """0 to 99."""
    pitch_range: int = 50
    """0 to 99, liveliness."""
    word_gap: int = 0
    """Extra pause between words, in units of 10 ms at normal speed."""


@dataclass(frozen=True, slots=True)
class Speech:
    samples: npt.NDArray[np.int16]
    """8 kHz, without leading and trailing silence."""
    word_starts: Sequence[float]
    """Start of each word in seconds; one per blank-separated word of the text, or empty when they could not be told."""


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Engine:
    """The library, which has one global state for each process."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(LIBRARY)
        self.start(None)
        self._chunks: list[npt.NDArray[np.int16]] = []
        self._words: list[tuple[int, float]] = []
        self._callback = _CALLBACK(self._receive)  # kept: ctypes frees a callback nobody holds

    def start(self, folder: Path | None) -> None:
        """Read the data in `folder`/espeak-ng-data, or what is installed; may be called again."""
        self.rate = self.library.espeak_Initialize(_SYNCHRONOUS, 500, str(folder).encode() if folder else None, 0)
        if self.rate <= 0:
            raise SpeechError("espeak-ng could not be initialised: is espeak-ng-data installed?")
        path = ctypes.c_char_p()
        self.library.espeak_Info(ctypes.byref(path))
        self.data = Path((path.value or b"").decode())

    def _receive(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != 0:
            if events[index].type == _WORD_EVENT:
                self._words.append((events[index].text_position, events[index].audio_position / 1000))
            index += 1
        return 0

    def say(self, text: str, manner: Manner) -> tuple[npt.NDArray[np.int16], list[tuple[int, float]]]:
        # Whoever else uses the library in this process leaves callback and voice as theirs.
        self.library.espeak_SetSynthCallback(self._callback)
        variant = manner.voice.partition("+")[2]
        if not (self.data / "voices" / "!v" / variant).exists():  # espeak-ng would take its plain voice
            raise SpeechError(f"espeak-ng has no variant {variant!r}")
        if self.library.espeak_SetVoiceByName(manner.voice.encode()) != 0:
            raise SpeechError(f"espeak-ng has no voice {manner.voice!r}")
        settings = {_RATE: manner.words_per_minute, _PITCH: manner.pitch, _RANGE: manner.pitch_range, _WORD_GAP: manner.word_gap}
        for parameter, value in settings.items():
            self.library.espeak_SetParameter(parameter, value, 0)
        self._chunks, self._words = [], []
        data = text.encode() + b"\0"
        if self.library.espeak_Synth(data, len(data), 0, 1, 0, _UTF8, None, None) != 0:
            raise SpeechError(f"espeak-ng could not say {text!r}")
        return (np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.int16)), self._words


@cache
def _engine() -> _Engine:
    return _Engine()


def installed_data() -> Path:
    """Folder `espeak-ng-data` that the library reads."""
    return _engine().data


def use_data(folder: Path) -> None:
    """Speak with the voices in `folder`/espeak-ng-data from now on, in this process.

    Raises:
        SpeechError: there is no such data.
    """
    _engine().start(folder)
    if _engine().data.parent != folder:
        raise SpeechError(f"espeak-ng does not read {folder}")


def say(text: str, manner: Manner) -> Speech:
    """Speak `text`.

    Raises:
        SpeechError: the voice is unknown or nothing was spoken.
    """
    engine = _engine()
    samples, events = engine.say(text, manner)
    narrow = soxr.resample(samples, engine.rate, TELEPHONE_HZ, quality="MQ")
    loud = np.flatnonzero(np.abs(narrow) > 60)
    if not len(loud):
        raise SpeechError(f"espeak-ng said nothing for {text!r} with {manner.voice}")
    first, last = int(loud[0]), int(loud[-1]) + 1
    return Speech(narrow[first:last], _starts_of_words(text, events, first / TELEPHONE_HZ))


def _starts_of_words(text: str, events: Sequence[tuple[int, float]], trimmed: float) -> list[float]:
    """Times of blank-separated words; espeak-ng reports the character position (from 1) of each word it speaks."""
    starts: dict[int, float] = {}
    for position, time in events:
        word = len(text[: position - 1].split()) if position > 1 else 0
        starts.setdefault(word, max(0.0, time - trimmed))
    words = len(text.split())
    times = [starts.get(word, -1.0) for word in range(words)]
    return times if all(time >= 0 for time in times) and times == sorted(times) else []
