"""A quarter of an hour of speech without a long pause: how far behind the listener is after 1, 5 and 15 minutes.

In virtual time, with real voice activity and lanes; the recogniser is scripted, and each sentence has words of its own, so that
for whatever is played it is known when it was said.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from appliance.bench import clips, virtual_time
from appliance.bench.results import Result, Row
from appliance.bench.virtual_call import LANGUAGE, ScriptedModels, VirtualPhone, Word, hold, recorded
from appliance.engines.base import Samples
from appliance.events import Event, UtteranceInterpreted
from appliance.speech.vad import RATE

MINUTES = (1, 5, 15)
SPREAD = 0.2
"""Share by which the delay at these minutes may differ."""
LENGTHS = (1.0, 1.1, 1.25)
"""Of the translation as a share of what was said: some languages take more words, and no voice reads as fast as people talk."""
WORD_S = 0.32
_GAP_S = (0.08, 0.24)
"""Between sentences: no pause that ends an utterance."""
_BLOCK_S = 0.02
_LINE_RMS = 10.0
_PAGE_MB = 4096 / 2**20


@dataclass(frozen=True, slots=True)
class Monologue:
    audio: Samples
    words: tuple[Word, ...]
    ends_s: dict[str, float]
    """When each word had been said."""


@dataclass(frozen=True, slots=True)
class Course:
    """What became of one."""

    lags: list[tuple[float, float]]
    """When a piece began to be heard, and how long its last word had been said then."""
    memory_mb: list[float]
    """Of the process, each minute."""
    said: int
    """Words."""
    lost: int
    twice: int


def compose(minutes: float, rng: np.random.Generator) -> Monologue:
    """Sentences one after the other, long ones with a comma.

    Raises:
        EngineUnavailable: espeak-ng is not installed.
    """
    spoken = [clips.spoken(text, LANGUAGE) for text in clips.sentences(LANGUAGE)]
    spoken = [speech[np.flatnonzero(np.abs(speech) > 200)[0] : np.flatnonzero(np.abs(speech) > 200)[-1]] for speech in spoken]
    pieces, words, place, number = [np.zeros(RATE, np.int16)], [], RATE, 0
    while place < minutes * 60 * RATE:
        speech = spoken[int(rng.integers(len(spoken)))]
        count = max(3, round(len(speech) / RATE / WORD_S))
        ends = word_ends(speech, count)
        for index in range(count):
            mark = "." if index == count - 1 else "," if index == count // 2 and count > 8 else ""
            words.append(Word(f"s{number}w{index}{mark}", (place + ends[index]) / RATE))
        gap = np.zeros(round(rng.uniform(*_GAP_S) * RATE), np.int16)
        pieces += [speech, gap]
        place += len(speech) + len(gap)
        number += 1
    clean = np.concatenate(pieces)
    audio = np.clip(clean + rng.normal(0, _LINE_RMS, len(clean)), -32768, 32767).astype(np.int16)
    return Monologue(audio, tuple(words), {word.text.strip(".,"): word.ended_s for word in words})


def word_ends(speech: Samples, count: int) -> list[int]:
    """Samples at which so many words of equal length end, where pauses between them do not count: no word ends in a pause."""
    block = round(_BLOCK_S * RATE)
    levels = np.abs(speech[: len(speech) // block * block].astype(np.int32)).reshape(-1, block).max(axis=1)
    spoken = np.flatnonzero(levels > levels.max() / 20) * block + block
    return [int(spoken[max(0, round(len(spoken) * (index + 1) / count) - 1)]) for index in range(count)]


def follow(monologue: Monologue, length: float) -> Course:
    """Interpret it; the translation of a piece is `length` times as long as the piece."""
    lags: list[tuple[float, float]] = []
    memory: list[float] = []
    heard: Counter[str] = Counter()

    def told(event: Event) -> None:
        if isinstance(event, UtteranceInterpreted) and event.outcome == "interpreted":
            now_s = asyncio.get_running_loop().time()
            pieces = [word.strip(".,") for word in event.recognised.split()]
            heard.update(pieces)
            lags.append((now_s, now_s - monologue.ends_s[pieces[-1]]))

    def speak(text: str) -> Samples:
        samples = round(len(text.split()) * WORD_S * length * RATE)
        tone: Samples = (3000 * np.sin(np.arange(samples) * (2 * np.pi * 220 / RATE))).astype(np.int16)
        return tone

    models = ScriptedModels(monologue.audio, monologue.words, lambda text: text, speak)
    caller, agent = VirtualPhone(recorded(monologue.audio)), VirtualPhone(recorded(np.zeros(0, np.int16)))
    seconds = len(monologue.audio) / RATE + 10
    virtual_time.run(hold(caller, agent, models, seconds, told, every=lambda: memory.append(_memory_mb())))
    words = [word.text.strip(".,") for word in monologue.words]
    return Course(lags, memory, len(words), sum(not heard[word] for word in words), sum(heard[word] > 1 for word in words))


def lag_at(course: Course, minute: float, around_s: float = 30.0) -> float | None:
    """Median delay of what began to be heard around a minute; None where nothing was."""
    near = [lag for at_s, lag in course.lags if abs(at_s - 60 * minute) <= around_s]
    return round(statistics.median(near), 2) if near else None


def measure(*, quick: bool, seed: int = 3) -> Result:
    """
    Raises:
        EngineUnavailable: espeak-ng is not installed.
        VoiceActivityError: there is no voice activity model.
    """
    minutes = (1, 2, 5) if quick else MINUTES
    monologue = compose(minutes[-1] + 0.5, np.random.default_rng(seed))
    rows = [row(follow(monologue, length), length, minutes) for length in LENGTHS]
    return Result("monologue", f"{minutes[-1]} minutes of speech without a long pause", rows)


def row(course: Course, length: float, minutes: tuple[int, ...]) -> Row:
    lags = [lag_at(course, minute) for minute in minutes]
    known = [lag for lag in lags if lag is not None]
    row: Row = {"translation length": length, "pieces": len(course.lags), "words": course.said, "lost": course.lost, "twice": course.twice}
    row.update({f"delay at {minute} min s": lag for minute, lag in zip(minutes, lags, strict=True)})
    row["spread %"] = round(100 * (max(known) / min(known) - 1), 1) if len(known) == len(minutes) else None
    memory = course.memory_mb
    row["memory growth MB"] = round(memory[-2] - memory[0], 1) if len(memory) > 2 else None
    return row


def _memory_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_MB
