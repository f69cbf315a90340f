"""What the listener's recording contains: it is recognised again by the stack's own recogniser, in the listener's language."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import soxr

from appliance.events import LaneName
from appliance.modelserver.errors import ModelServerError
from appliance.modelserver.messages import SAMPLE_RATE, Transcript
from appliance.phone import speech_edges
from appliance.phone.conversation import LISTENERS, CallRecord
from appliance.phone.measure import CallAudio, Measured, told_of_turns
from appliance.phone.timeline import Samples
from appliance.phone.wav import TELEPHONE_HZ
from appliance.text.languages import language

LONGEST_PIECE_S = 9.0
"""Recognisers for telephone speech are trained on short clips: longer audio is cut at its pauses."""
_MARGIN_S = 0.15
_PATTERN_S = 1.2
"""Of a translation's sound, enough to find its beginning."""
_TIMEOUT_S = 10.0

_DIGIT_GAP = re.compile(r"(?<=\d)[\s,.-]+(?=\d)")


class Models(Protocol):
    """What is needed of `ModelClient`."""

    async def transcribe(self, pcm: npt.NDArray[np.int16], *, language: str | None, timeout_s: float) -> Transcript: ...

    async def speak(self, text: str, language: str, timeout_s: float) -> npt.NDArray[np.int16]: ...


async def sounds_of_parts(record: CallRecord, models: Models) -> dict[tuple[LaneName, int, int], Samples]:
    """How the translations sound that follow others without a pause, for `measure`; those the server cannot speak are missing."""
    sounds: dict[tuple[LaneName, int, int], Samples] = {}
    for utterances in told_of_turns(record):
        parts = [part for utterance in utterances for part in utterance]
        for part in parts if len(parts) > 1 else ():
            if not part.translated:
                continue
            try:
                spoken = await models.speak(part.translated, part.target_language, _TIMEOUT_S)
            except ModelServerError:
                continue
            sounds[part.lane, part.utterance, part.segment] = _beginning(spoken)
    return sounds


async def recognise(row: Measured, audio: CallAudio, models: Models) -> str:
    """The text of what the listener heard of one utterance; empty when it heard nothing.

    Raises:
        ModelServerError
    """
    if row.heard_from_s is None or row.heard_to_s is None or not row.parts:
        return ""
    heard = audio.heard[LISTENERS[row.turn.speaker]]
    first, last = (max(0, round(time * TELEPHONE_HZ)) for time in (row.heard_from_s - _MARGIN_S, row.heard_to_s + _MARGIN_S))
    code = language(row.parts[-1].target_language).recogniser_code
    texts = []
    for piece in pieces(heard[first:last]):
        wide = np.asarray(soxr.resample(piece, TELEPHONE_HZ, SAMPLE_RATE), np.int16)
        texts.append((await models.transcribe(wide, language=code, timeout_s=_TIMEOUT_S)).text)
    return " ".join(text for text in texts if text)


def pieces(samples: Samples, longest_s: float = LONGEST_PIECE_S) -> list[Samples]:
    """The samples, cut in the middle of pauses so that no piece is longer than `longest_s` where pauses allow."""
    if len(samples) <= longest_s * TELEPHONE_HZ:
        return [samples]
    stretches = speech_edges.speech_stretches(samples, TELEPHONE_HZ)
    pauses = [(before.end_s + after.start_s) / 2 for before, after in itertools.pairwise(stretches)]
    cuts, begin, end = [0.0], 0.0, len(samples) / TELEPHONE_HZ
    for pause, following in zip(pauses, [*pauses[1:], end], strict=True):
        if following - begin > longest_s:
            cuts.append(pause)
            begin = pause
    places = [*(round(cut * TELEPHONE_HZ) for cut in cuts), len(samples)]
    return [samples[start:stop] for start, stop in itertools.pairwise(places)]


def values_in(text: str, values: Sequence[str]) -> tuple[str, ...]:
    """Those of `values` that occur in `text`, digit strings as whole numbers, words as whole words."""
    words = f" {_plain(text)} "
    joined = f" {_DIGIT_GAP.sub('', _plain(text))} "
    return tuple(value for value in values if f" {_plain(value)} " in words or (value.isdigit() and f" {value} " in joined))


def files_texts(rows: Sequence[Measured], heard: Sequence[str]) -> Mapping[int, str]:
    """All that was heard of each turn, by the identity of the turn."""
    texts: dict[int, str] = {}
    for row, text in zip(rows, heard, strict=True):
        texts[id(row.turn)] = f"{texts.get(id(row.turn), '')} {text}".strip()
    return texts


def _plain(text: str) -> str:
    kept = "".join(letter if unicodedata.category(letter)[0] in "LMN" else " " for letter in unicodedata.normalize("NFC", text).casefold())
    return " ".join(kept.split())


def _beginning(spoken: npt.NDArray[np.int16]) -> Samples:
    narrow = np.asarray(soxr.resample(spoken, SAMPLE_RATE, TELEPHONE_HZ), np.int16)
    begin = round((speech_edges.sound_onset(narrow, TELEPHONE_HZ) or 0.0) * TELEPHONE_HZ)
    return narrow[begin : begin + round(_PATTERN_S * TELEPHONE_HZ)]
