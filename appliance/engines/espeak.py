"""Speech by espeak-ng, called in this process through its C library: 22,050 Hz synthesised to memory, 16 kHz out.

It speaks every language of the appliance, reads Latin words inside Indic text as English by itself, and needs no model.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import soxr

from appliance.engines.base import Capabilities, EngineFailed, EngineUnavailable, JobRejected, Samples, Synthesis, SynthesiseJob
from appliance.text.languages import BY_CODE, language
from appliance.text.spoken import spoken_text

LIBRARY = "libespeak-ng.so.1"
RATE_HZ = 16_000
AUDIBLE = 60
"""Sample value below which the ends of a sentence count as silence."""
LEAD_S = 0.01
"""Silence kept before the first sound: the listener should hear it soon."""
TAIL_S = 0.06

_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT AUDIO_OUTPUT_SYNCHRONOUS
_UTF8 = 1  # espeakCHARS_UTF8
_BY_CHARACTER = 1  # espeak_POSITION_TYPE POS_CHARACTER
_RATE_PARAMETER = 1  # espeak_PARAMETER espeakRATE, words per minute
_ORDINARY = {2: 100, 3: 50, 4: 50, 7: 0}  # espeak_PARAMETER volume, pitch, range, word gap, as the library starts with them
_CHUNK_MS = 200

_Receive = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class _Library:
    """The library has one state for the whole process, so there is one of these, and a lock around each sentence."""

    def __init__(self) -> None:
        try:
            self._c = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise EngineUnavailable(f"{LIBRARY} cannot be loaded: {error}", hint="apt-get install espeak-ng") from error
        self.rate = int(self._c.espeak_Initialize(_SYNCHRONOUS, _CHUNK_MS, None, 0))
        if self.rate <= 0:
            raise EngineUnavailable("espeak-ng does not start: its data is missing", hint="apt-get install espeak-ng-data")
        data = ctypes.c_char_p()
        self._c.espeak_Info.restype = ctypes.c_char_p
        self._c.espeak_Info(ctypes.byref(data))
        self._variants = Path((data.value or b"").decode()) / "voices" / "!v"
        self._chunks: list[bytes] = []
        self._receive = _Receive(self._collect)  # kept: ctypes frees a callback that nobody holds
        self._c.espeak_SetSynthCallback(self._receive)
        self._lock = threading.Lock()
        self._voice = ""

    def _collect(self, samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def say(self, text: str, voice: str, words_per_minute: int) -> Samples:
        with self._lock:
            # Whoever else uses the library in this process (the demo's speakers do) leaves callback, voice and manner as theirs.
            self._c.espeak_SetSynthCallback(self._receive)
            self._voice = ""
            self._set_voice(voice)
            self._c.espeak_SetParameter(_RATE_PARAMETER, words_per_minute, 0)
            for parameter, value in _ORDINARY.items():
                self._c.espeak_SetParameter(parameter, value, 0)
            self._chunks = []
            data = text.encode().replace(b"\0", b" ") + b"\0"
            status = self._c.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, _BY_CHARACTER, 0, _UTF8, None, None)
            if status != 0:
                raise EngineFailed(f"espeak-ng answered {status} to {len(text)} characters with voice {voice}")
            return np.frombuffer(b"".join(self._chunks), np.int16)

    def check(self, voice: str) -> None:
        """Raises: JobRejected."""
        with self._lock:
            self._set_voice(voice)

    def _set_voice(self, voice: str) -> None:
        if voice == self._voice:
            return
        variant = voice.partition("+")[2]
        known = not variant or ("/" not in variant and (self._variants / variant).is_file())  # espeak-ng ignores an unknown one
        if not known or self._c.espeak_SetVoiceByName(voice.encode()) != 0:
            self._voice = ""
            raise JobRejected(f"espeak-ng has no voice {voice!r}", hint="espeak-ng --voices; espeak-ng --voices=variant")
        self._voice = voice


@cache
def _library() -> _Library:
    return _Library()


class Espeak:
    def __init__(self, *, voices: Mapping[str, str] | None = None, rate_wpm: int = 165) -> None:
        """`voices`: espeak-ng voice, with a variant or without (`ta+f1`), by language code. Raises: EngineUnavailable."""
        self._library = _library()
        self._rate_wpm = rate_wpm
        self._voices = {code: item.voice for code, item in BY_CODE.items()}
        for code, voice in (voices or {}).items():
            if code not in BY_CODE:
                raise EngineUnavailable(f"voice for unknown language {code!r}, allowed: {', '.join(BY_CODE)}")
            self._voices[code] = voice
        for voice in self._voices.values():
            try:
                self._library.check(voice)
            except JobRejected as error:
                raise EngineUnavailable(error.message) from error
        self.capabilities = Capabilities("espeak-ng", tuple(BY_CODE), batches_cheaply=False)

    def speak(self, batch: Sequence[SynthesiseJob]) -> list[Synthesis]:
        return [Synthesis(self._say(job), RATE_HZ) for job in batch]

    def _say(self, job: SynthesiseJob) -> Samples:
        text = spoken_text(job.text, language(job.language).code)
        samples = self._library.say(text, job.voice or self._voices[job.language], self._rate_wpm)
        if not len(samples):
            return samples
        narrow: Samples = soxr.resample(samples, self._library.rate, RATE_HZ)
        return trim(narrow)


def trim(samples: Samples) -> Samples:
    """Without the silence at both ends but for `LEAD_S` and `TAIL_S`; empty when there is no sound at all."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
    if not len(loud):
        return samples[:0]
    first = max(0, int(loud[0]) - int(LEAD_S * RATE_HZ))
    return samples[first : int(loud[-1]) + 1 + int(TAIL_S * RATE_HZ)]
