"""Synthesised utterances on disk: a file of int16 samples at 8 kHz and a list of what is said where in it."""

from __future__ import annotations

import json
import multiprocessing
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from appliance.training import random_voices, speech
from appliance.training.corpus import Corpus, Utterance
from appliance.training.speech import TELEPHONE_HZ, SpeechError, say

MAX_SECONDS = 11.0
"""Longer clips are dropped: the window of training ends at 12 s."""
_PEAK = 20000


@dataclass(frozen=True, slots=True)
class Clip:
    start: int
    """First sample in the file."""
    length: int
    """Number of samples."""
    kind: str
    code: str
    text: str
    language_known: bool
    voice: str
    heard: str
    """What is said, also where the target `text` is empty."""


@dataclass(frozen=True)
class Recordings:
    """Clips of one or more files."""

    files: Sequence[npt.NDArray[np.int16]]
    """All clips of a file one after another (memory map)."""
    clips: list[Clip]
    places: Sequence[int]
    """Index of the file of each clip."""

    def __getitem__(self, index: int) -> npt.NDArray[np.int16]:
        clip = self.clips[index]
        return self.files[self.places[index]][clip.start : clip.start + clip.length]

    def __add__(self, other: Recordings) -> Recordings:
        places = [*self.places, *(len(self.files) + place for place in other.places)]
        return Recordings([*self.files, *other.files], self.clips + other.clips, places)


def load(stem: Path) -> Recordings:
    samples = np.memmap(stem.with_suffix(".pcm"), dtype=np.int16, mode="r")
    with stem.with_suffix(".jsonl").open(encoding="utf-8") as file:
        clips = [Clip(**json.loads(line)) for line in file]
    return Recordings([samples], clips, [0] * len(clips))


def make(corpus: Corpus, count: int, stem: Path, seed: int, kinds: tuple[str, ...] = ("",), processes: int = 2) -> Recordings:
    """Draw `count` utterances, speak them and write `stem`.pcm and `stem`.jsonl; a finished pair is loaded instead."""
    if not stem.with_suffix(".jsonl").exists():
        stem.parent.mkdir(parents=True, exist_ok=True)
        parts = [stem.with_name(f"{stem.name}-part{part}") for part in range(processes)]
        with tempfile.TemporaryDirectory() as folder:
            voices = Path(folder) if corpus.drawn_voices else None
            if voices:
                random_voices.write(speech.installed_data(), voices)
            jobs = [(corpus, count // processes, part, seed + number, kinds, voices) for number, part in enumerate(parts)]
            with multiprocessing.get_context("fork").Pool(processes) as pool:
                pool.starmap(_make_part, jobs)
        _join(stem, parts)
    return load(stem)


def _make_part(corpus: Corpus, count: int, stem: Path, seed: int, kinds: tuple[str, ...], voices: Path | None) -> None:
    if voices:
        speech.use_data(voices)
    rng = random.Random(seed)
    drawn = [corpus.draw(rng, kind=kinds[number % len(kinds)]) for number in range(count)]
    drawn.sort(key=lambda item: item.manner.voice)  # changing the voice costs more than speaking
    start = 0
    with stem.with_suffix(".pcm").open("wb") as audio, stem.with_suffix(".jsonl").open("w", encoding="utf-8") as index:
        for utterance in drawn:
            samples = record(utterance, rng)
            if samples is None or len(samples) > MAX_SECONDS * TELEPHONE_HZ:
                continue
            audio.write(samples.tobytes())
            line = {
                "start": start,
                "length": len(samples),
                "kind": utterance.kind,
                "code": utterance.code,
                "text": utterance.text,
                "language_known": utterance.language_known,
                "voice": utterance.manner.voice,
                "heard": utterance.heard or utterance.text,
            }
            index.write(json.dumps(line, ensure_ascii=False) + "\n")
            start += len(samples)


def record(utterance: Utterance, rng: random.Random) -> npt.NDArray[np.int16] | None:
    """The utterance at 8 kHz with an even level; None where the voice said nothing or its word times are unknown."""
    pieces: list[npt.NDArray[np.int16]] = []
    for sentence in utterance.spoken:
        try:
            spoken = say(sentence, utterance.manner)
        except SpeechError:
            return None
        samples = spoken.samples
        if utterance.keep_words:
            if len(spoken.word_starts) <= utterance.keep_words:
                return None
            stop = spoken.word_starts[utterance.keep_words] + rng.uniform(-0.06, 0.06)
            samples = samples[: max(int(stop * TELEPHONE_HZ), 400)]
        if pieces:
            pieces.append(np.zeros(int(rng.uniform(0.1, 0.6) * TELEPHONE_HZ), np.int16))
        pieces.append(samples)
    joined = np.concatenate(pieces)
    peak = int(np.abs(joined.astype(np.int32)).max())
    return (joined.astype(np.float32) * (_PEAK / max(peak, 1))).astype(np.int16)


def _join(stem: Path, parts: list[Path]) -> None:
    start = 0
    unfinished = stem.with_suffix(".jsonl.tmp")
    with stem.with_suffix(".pcm").open("wb") as audio, unfinished.open("w", encoding="utf-8") as index:
        for part in parts:
            data, lines = part.with_suffix(".pcm"), part.with_suffix(".jsonl")
            audio.write(data.read_bytes())
            for line in lines.read_text(encoding="utf-8").splitlines():
                clip = json.loads(line)
                clip["start"] += start
                index.write(json.dumps(clip, ensure_ascii=False) + "\n")
            start = audio.tell() // 2
            data.unlink()
            lines.unlink()
    unfinished.rename(stem.with_suffix(".jsonl"))
