"""What one party hears, 20 ms at a time: prompts and translations in order, over the other party's own voice. Pure.

All work on samples of a prompt or translation is done once when it is queued; a frame of it alone is a slice of bytes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from appliance.audio.tempo import faster
from appliance.config.schema import Play
from appliance.interpreter.mixing import RAMP_UP, UNITY, Samples, rms, scaled
from appliance.speech.echo import envelope
from appliance.telephony.media import FRAME_BYTES, FRAME_S, FRAME_SAMPLES, SAMPLE_RATE

Kind = Literal["prompt", "menu", "translation"]
"""Prompts give way to speech, the keypad menu to a key, translations to nothing."""
Original = Literal["under", "alone", "off"]
"""How the other party's own voice is heard: quietly under what is played, at full level (no interpretation), or not at all."""

SILENCE = bytes(FRAME_BYTES)
GAP_S = 0.12
"""Silence after each piece, so that two sentences do not run together."""
FASTEST = 1.35
"""Tempo of a translation that is too late: still as clear as a person in a hurry."""
_LATE_S, _TOO_LATE_S = 1.0, 5.0
"""Waiting behind less, a translation is spoken as it is; behind more, as fast as may be."""
_FADE = round(0.004 * SAMPLE_RATE)
"""Samples faded in and out at the ends of a piece: a voice cut off hard clicks."""
_LOUDEST = 0.9
"""Peak of a piece as a share of full scale, less what the other voice may add."""
DUCKED_DB = -12.0
"""Level of what is played while the listener himself talks: he hears that it goes on, and himself."""
_BENEATH = round(UNITY * 10 ** (-14 / 20))
"""Gain of a voice that is heard alone while the appliance says something: the words must be understood, the voice not lost."""
_DUCKED = round(UNITY * 10 ** (DUCKED_DB / 20))


class Frame(NamedTuple):
    pcm: bytes
    """640 bytes."""
    rms: float
    """Of all of it, the other party's voice included: an echo of that voice is an echo too."""
    started: tuple[str, ...]
    """Keys of the pieces whose first audio is in it."""
    ended: tuple[str, ...]
    """Keys after whose last audio it is: the marks to send behind it."""


_SILENT = Frame(SILENCE, 0.0, (), ())


@dataclass(slots=True)
class _Piece:
    kind: Kind
    started: str
    """Key to report with the first frame."""
    ended: str
    """Key to report with the last frame before the gap."""
    pcm: Samples
    """Whole frames, the gap included."""
    raw: bytes
    levels: npt.NDArray[np.float32]
    speech_frames: int
    place: int = 0
    """Next frame."""

    @property
    def frames_left(self) -> int:
        return len(self.levels) - self.place

    def frame(self, place: int) -> Samples:
        return self.pcm[place * FRAME_SAMPLES : (place + 1) * FRAME_SAMPLES]


def catching_up(queued_s: float) -> float:
    """Tempo of a translation that waits behind so much: whoever talks on and on is translated into more words than he says."""
    return 1 + (FASTEST - 1) * min(1.0, max(0.0, (queued_s - _LATE_S) / (_TOO_LATE_S - _LATE_S)))


class Playout:
    """The queue of one leg."""

    def __init__(self, play: Play) -> None:
        self._under = round(UNITY * 10 ** (play.original_voice_db / 20)) if play.original_voice else 0
        self._peak = 32767 * min(_LOUDEST, max(0.5, 1 - self._under / UNITY))
        self._queue: deque[_Piece] = deque()
        self._original: Original = "under"
        self._gain = 0  # of the other voice in the frame before
        self._ducked = False
        self._level = UNITY  # of what is played, in the frame before

    @property
    def playing(self) -> Kind | None:
        """What is played or next to be played."""
        return self._queue[0].kind if self._queue else None

    @property
    def queued_s(self) -> float:
        """Length of everything still to be played."""
        return FRAME_S * sum(piece.frames_left for piece in self._queue)

    @property
    def prompting(self) -> bool:
        """Whether a prompt or the menu is played or waits."""
        return any(piece.kind != "translation" for piece in self._queue)

    def add(self, kind: Kind, pcm: Samples, *, started: str = "", ended: str = "", gap_s: float = GAP_S) -> None:
        """Queue a piece of audio, 16 kHz.

        Args:
            kind: prompts and the menu may be flushed, a translation is always played, faster when it is late.
            pcm: may be empty, to mark the end of what was queued before.
            started: key reported when its first frame is played.
            ended: key reported when its last frame is played.
            gap_s: silence after it.
        """
        speech = np.array(pcm, np.int16)
        if kind == "translation":
            speech = np.array(faster(speech, catching_up(self.queued_s)))
        peak = int(np.abs(speech.astype(np.int32)).max(initial=0))
        if peak > self._peak:
            speech = (speech * (self._peak / peak)).astype(np.int16)
        fade = min(_FADE, len(speech) // 2)
        if fade:
            ramp = np.arange(fade, dtype=np.float32) / fade
            speech[:fade] = speech[:fade] * ramp
            speech[-fade:] = speech[-fade:] * ramp[::-1]
        speech_frames = -(-len(speech) // FRAME_SAMPLES)
        frames = speech_frames + (round(gap_s / FRAME_S) if speech_frames else 0)
        whole = np.zeros(frames * FRAME_SAMPLES, np.int16)
        whole[: len(speech)] = speech
        self._queue.append(_Piece(kind, started, ended, whole, whole.tobytes(), envelope(whole), speech_frames))

    def flush(self, kind: Literal["prompt", "menu"]) -> tuple[str, ...]:
        """Drop all of a kind, one that is being played with a fade of one frame.

        Returns:
            the end keys that will now never be reported.
        """
        dropped = [piece for piece in self._queue if piece.kind == kind]
        current = self._queue[0] if self._queue else None
        self._queue = deque(piece for piece in self._queue if piece.kind != kind)
        if current is not None and current.kind == kind and 0 < current.place < current.speech_frames:
            first = current.place * FRAME_SAMPLES
            tail = (current.pcm[first : first + FRAME_SAMPLES] * (1 - RAMP_UP / UNITY)).astype(np.int16)
            self._queue.appendleft(_Piece(kind, "", "", tail, tail.tobytes(), envelope(tail), 1))
        return tuple(piece.ended for piece in dropped if piece.ended)

    def original(self, how: Original) -> None:
        """Say how the other party's own voice is to be heard from the next frame on."""
        self._original = how

    def duck(self, ducked: bool) -> None:
        """Say whether the listener talks himself: prompts and translations are played more quietly meanwhile, and none is lost."""
        self._ducked = ducked

    def steady_gain(self) -> int:
        """Gain (of 2^15) at which the next frame is the other party's voice alone, as was the frame before; 0 when there is more to it.

        Whoever is told a gain scales the voice himself, with those of all legs at once, and does not ask for this frame.
        """
        gain = self._gain
        if self._queue or gain == UNITY or not gain or self._target_gain(None) != gain:
            return 0
        self._level = _DUCKED if self._ducked else UNITY
        return gain

    def next_frame(self, original: bytes | None) -> Frame:
        """The next 20 ms.

        Args:
            original: 640 bytes of the other party's voice, None when there is none.
        """
        while self._queue and not self._queue[0].frames_left:  # an empty piece: only a key at the end of the queue
            piece = self._queue.popleft()
            if piece.started or piece.ended:
                return self._mixed(None, original, (piece.started,) * bool(piece.started), (piece.ended,) * bool(piece.ended))
        if not self._queue:
            if original is None and not self._gain and self._original == "off":
                return _SILENT
            return self._mixed(None, original, (), ())
        piece = self._queue[0]
        started = (piece.started,) if piece.started and piece.place == 0 else ()
        piece.place += 1
        ended = (piece.ended,) if piece.ended and piece.place == max(1, piece.speech_frames) else ()
        if not piece.frames_left:
            self._queue.popleft()
        return self._mixed(piece, original, started, ended)

    def _target_gain(self, piece: _Piece | None) -> int:
        if self._original == "alone":
            return UNITY if piece is None else max(self._under, _BENEATH)
        if self._original == "off" or (piece is not None and piece.kind != "translation"):
            return 0
        return self._under

    def _mixed(self, piece: _Piece | None, original: bytes | None, started: tuple[str, ...], ended: tuple[str, ...]) -> Frame:
        before, self._gain = self._gain, self._target_gain(piece)
        place = piece.place - 1 if piece is not None else 0
        level, self._level = self._level, _DUCKED if self._ducked else UNITY
        full = level == self._level == UNITY
        if original is None or not (before or self._gain):
            if piece is None:
                return Frame(SILENCE, 0.0, started, ended) if started or ended else _SILENT
            if full:
                return Frame(piece.raw[place * FRAME_BYTES : (place + 1) * FRAME_BYTES], float(piece.levels[place]), started, ended)
            return _frame(scaled(piece.frame(place), level, self._level), started, ended)
        voice = np.frombuffer(original, np.int16)
        if before == self._gain == UNITY and piece is None:
            return Frame(original, rms(voice), started, ended)
        mixed = scaled(voice, before, self._gain)
        if piece is not None:
            mixed += piece.frame(place) if full else scaled(piece.frame(place), level, self._level)
            if max(before, self._gain) > UNITY - round(UNITY * self._peak / 32767):
                np.clip(mixed, -32768, 32767, out=mixed)
        return _frame(mixed, started, ended)


def _frame(samples: npt.NDArray[np.int32], started: tuple[str, ...], ended: tuple[str, ...]) -> Frame:
    return Frame(samples.astype(np.int16).tobytes(), rms(samples), started, ended)
