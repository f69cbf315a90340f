"""What one party hears, 20 ms at a time: prompts and translations in order, over the other party's own voice. Pure.

All work on samples of a prompt or translation is done once when it is queued; a frame of it alone is a slice of bytes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from appliance.config.schema import Play
from appliance.speech.echo import envelope
from appliance.telephony.media import FRAME_BYTES, FRAME_S, FRAME_SAMPLES, SAMPLE_RATE

Samples = npt.NDArray[np.int16]
Kind = Literal["prompt", "menu", "translation"]
"""Prompts give way to speech, the keypad menu to a key, translations to nothing."""
Original = Literal["under", "alone", "off"]
"""How the other party's own voice is heard: quietly under what is played, at full level (no interpretation), or not at all."""

SILENCE = bytes(FRAME_BYTES)
GAP_S = 0.12
"""Silence after each piece, so that two sentences do not run together."""
_FADE = round(0.004 * SAMPLE_RATE)
"""Samples faded in and out at the ends of a piece: a voice cut off hard clicks."""
_LOUDEST = 0.9
"""Peak of a piece as a share of full scale, less what the other voice may add."""
_UNITY = 1 << 15
"""A gain of 1 in the fixed-point numbers frames are mixed with."""
_RAMP_UP = (np.arange(1, FRAME_SAMPLES + 1, dtype=np.int32) * (_UNITY // FRAME_SAMPLES)).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Frame:
    pcm: bytes
    """640 bytes."""
    rms: float
    """Of the prompt or translation in it, 0 without any."""
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


class Playout:
    """The queue of one leg."""

    def __init__(self, play: Play) -> None:
        self._under = round(_UNITY * 10 ** (play.original_voice_db / 20)) if play.original_voice else 0
        self._peak = 32767 * min(_LOUDEST, max(0.5, 1 - self._under / _UNITY))
        self._queue: deque[_Piece] = deque()
        self._original: Original = "under"
        self._gain = 0  # of the other voice in the frame before

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
            kind: prompts and the menu may be flushed, a translation is always played.
            pcm: may be empty, to mark the end of what was queued before.
            started: key reported when its first frame is played.
            ended: key reported when its last frame is played.
            gap_s: silence after it.
        """
        speech = np.array(pcm, np.int16)
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
            tail = (current.pcm[first : first + FRAME_SAMPLES] * (1 - _RAMP_UP / _UNITY)).astype(np.int16)
            self._queue.appendleft(_Piece(kind, "", "", tail, tail.tobytes(), envelope(tail), 1))
        return tuple(piece.ended for piece in dropped if piece.ended)

    def original(self, how: Original) -> None:
        """Say how the other party's own voice is to be heard from the next frame on."""
        self._original = how

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
            return _UNITY
        if self._original == "off" or (piece is not None and piece.kind != "translation"):
            return 0
        return self._under

    def _mixed(self, piece: _Piece | None, original: bytes | None, started: tuple[str, ...], ended: tuple[str, ...]) -> Frame:
        before, self._gain = self._gain, self._target_gain(piece)
        place = piece.place - 1 if piece is not None else 0
        rms = float(piece.levels[place]) if piece is not None else 0.0
        if original is None or not (before or self._gain):
            if piece is None:
                return Frame(SILENCE, 0.0, started, ended) if started or ended else _SILENT
            return Frame(piece.raw[place * FRAME_BYTES : (place + 1) * FRAME_BYTES], rms, started, ended)
        voice = np.frombuffer(original, np.int16)
        if before == self._gain == _UNITY and piece is None:
            return Frame(original, rms, started, ended)
        gain = self._gain if before == self._gain else before + ((self._gain - before) * _RAMP_UP >> 15)
        mixed = voice * np.int32(gain) >> 15 if isinstance(gain, int) else voice * gain >> 15
        if piece is not None:
            mixed += piece.pcm[place * FRAME_SAMPLES : (place + 1) * FRAME_SAMPLES]
            if max(before, self._gain) > _UNITY - round(_UNITY * self._peak / 32767):
                np.clip(mixed, -32768, 32767, out=mixed)
        return Frame(mixed.astype(np.int16).tobytes(), rms, started, ended)
