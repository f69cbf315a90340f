"""The held-out split as files: voices and combinations nobody trained on, spoken, with their manifests.

- `stt.tsv`: sentences (`kind` is `fixed` for those without slots, whose wording is not held out), several in one, and numbers
  alone, with slot values and translation;
- `lid.tsv`: those of `stt.tsv` whose words tell the language; a number said in English does not;
- `mt.tsv`: sentences of every direction;
- `offtopic.tsv`: speech about other things, to be refused;
- `quiet.tsv`: silence and noise, in which nothing is to be recognised.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from appliance.audio import noise
from appliance.evaluation import audio
from appliance.evaluation.errors import EvaluationError
from appliance.text.languages import language, script_shares
from appliance.text.placeholders import numbers
from appliance.text.spoken import digit_words, spoken_text
from appliance.training import corpus, phrasebook, recordings
from appliance.training.corpus import Corpus, Utterance
from appliance.training.phrasebook import LANGUAGES, Example, Phrasebook, Split

KIND_SHARES = {"sentence": 0.6, "digits": 0.25, "several": 0.15}
LEAD_S, TAIL_S = 0.2, 0.4
"""Silence around the speech, as a call's listener leaves it."""
OFF_TOPIC_SHARE = 0.5
"""Off-topic utterances to every other one."""
QUIET_S = 20.0
SILENT_CLIPS = 3
ENGLISH = "english"
"""Kind of an utterance without a word of its language."""
ENGLISH_DIGITS = 0.3
"""Share of speakers who say numbers in English."""
SPEECH_HEADER = ("audio", "text", "language", "values", "target_language", "reference", "target_values", "kind", "voice")
TEXT_HEADER = ("source_language", "source", "target_language", "reference", "values", "template")
TRIES = 50
"""Draws for one more utterance that is not there yet."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Said:
    """An utterance with what a listener of the other side should get."""

    utterance: Utterance
    values: tuple[str, ...]
    target: str
    reference: str
    target_values: tuple[str, ...]


def write(folder: Path, book_folder: Path, *, split: Split = "test", per_language: int = 100, seed: int = 1, progress: Progress) -> None:
    """Make the set; the same seed makes the same one, in a process that has not spoken before (voices flutter on).

    Raises:
        EvaluationError: espeak-ng cannot be used, or the folder cannot be written.
    """
    book = phrasebook.load(book_folder)
    spoken = corpus.build(book, book_folder / "offtopic.tsv", split)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audio").mkdir(exist_ok=True)
    off_topic = max(1, round(per_language * OFF_TOPIC_SHARE))
    total = len(LANGUAGES) * (per_language + off_topic)
    done = 0
    rows: dict[str, list[Sequence[str]]] = {"stt": [], "offtopic": []}
    for code in LANGUAGES:
        rng = random.Random(f"{seed} {split} {code}")  # noqa: S311 - dice
        drawn = {"stt": said(spoken, code, per_language, rng), "offtopic": outside(spoken, code, off_topic, rng)}
        for name, utterances in drawn.items():
            count = per_language if name == "stt" else off_topic
            for number in range(count):
                rows[name].append(_record(utterances, folder, f"audio/{name}-{code}-{number + 1:03}.wav", rng))
                done += 1
                progress(done, total)
    rows["lid"] = [row for row in rows["stt"] if row[SPEECH_HEADER.index("kind")] != ENGLISH]
    for name, found in rows.items():
        _write(folder / f"{name}.tsv", SPEECH_HEADER, found)
    _write(folder / "quiet.tsv", SPEECH_HEADER, _quiet(folder, seed))
    _write(folder / "mt.tsv", TEXT_HEADER, text_rows(book, split, per_language, seed))


def said(spoken: Corpus, code: str, count: int, rng: random.Random) -> Iterator[Said]:
    """Utterances of the phrasebook without end, the first `count` of them of every kind in its share."""
    kinds = [kind for kind, share in KIND_SHARES.items() for _ in range(round(share * count))]
    kinds = (kinds + ["sentence"] * count)[:count]
    rng.shuffle(kinds)
    known: set[str] = set()
    while True:
        for kind in kinds:
            yield _new(spoken, kind, code, rng, known)


def _new(spoken: Corpus, kind: str, code: str, rng: random.Random, known: set[str]) -> Said:
    """One that is not `known`, unless there is none left."""
    for _ in range(TRIES):
        found = _said(spoken, kind, code, rng)
        if found.utterance.text not in known:
            break
    known.add(found.utterance.text)
    return found


def _said(spoken: Corpus, kind: str, code: str, rng: random.Random) -> Said:
    target = "hinglish" if code != "hinglish" else rng.choice([other for other in LANGUAGES if other != "hinglish"])
    manner = spoken.manner(code, rng)
    english = "en" if rng.random() < ENGLISH_DIGITS else None
    if kind == "digits":
        digits = _digits(spoken, rng)
        utterance = Utterance(kind, code, f"{digits}.", (digit_words(digits, english or code),), manner, language_known=not english)
        return Said(utterance, (digits,), target, f"{digits}.", (digits,))
    examples = [spoken.example(rng) for _ in range(2 if kind == "several" else 1)]
    texts = [example.text[code] for example in examples]
    if not any(example.values for example in examples):
        kind = "fixed"
    text = " ".join(texts)
    known = _has_own_word(text, code, digits_own=english is None)
    utterance = Utterance(kind, code, text, tuple(spoken_text(part, code, digits_in=english) for part in texts), manner, known)
    reference = " ".join(example.text[target] for example in examples)
    return Said(utterance, _values(examples, code), target, reference, _values(examples, target))


def _has_own_word(text: str, code: str, *, digits_own: bool) -> bool:
    """Whether a word of the language is said: one in its script, or a number that is not said in English."""
    return language(code).script in script_shares(text) or (digits_own and any(map(str.isdecimal, text)))


def _digits(spoken: Corpus, rng: random.Random) -> str:
    """A digit string of the split."""
    while True:
        found = numbers(spoken.draw(rng, "digits", "hi").text)
        if found:
            return found[0]


def _values(examples: Sequence[Example], code: str) -> tuple[str, ...]:
    return tuple(value.text[code] for example in examples for value in example.values)


def outside(spoken: Corpus, code: str, count: int, rng: random.Random) -> Iterator[Said]:
    """Held-out sentences on other topics, over and over with other voices; development and test have different ones."""
    parity = 0 if spoken.split == "dev" else 1
    sentences = [text for number, text in enumerate(spoken.off_topic[code]) if number % 2 == parity]
    target = "hinglish" if code != "hinglish" else "ta"
    while True:
        rng.shuffle(sentences)
        for text in sentences:
            manner = spoken.manner(code, rng)
            yield Said(Utterance("offtopic", code, "", (spoken_text(text, code),), manner, heard=text), (), target, "", ())


def text_rows(book: Phrasebook, split: Split, count: int, seed: int) -> list[Sequence[str]]:
    """Rows of a text manifest: `count` filled templates of the split, or as many as there are, in every direction."""
    rng = random.Random(f"{seed} {split} text")  # noqa: S311 - dice
    templates = [template for template in book.templates if template.slots]
    found: dict[str, Example] = {}
    for _ in range(TRIES):
        rng.shuffle(templates)
        for template in templates:
            example = book.draw(template, split, rng, tries=60)
            if example is not None and len(found) < count:
                found[example.text["hinglish"]] = example
        if len(found) >= count:
            break
    callers = [code for code in LANGUAGES if code != "hinglish"]
    directions = [*((code, "hinglish") for code in callers), *(("hinglish", code) for code in callers)]
    return [
        (source, item.text[source], target, item.text[target], "|".join(_values([item], target)), item.template_id)
        for source, target in directions
        for item in found.values()
    ]


def _record(utterances: Iterator[Said], folder: Path, name: str, rng: random.Random) -> Sequence[str]:
    """Speak the next utterance that the voice can say; its row."""
    for item in utterances:
        samples = recordings.record(item.utterance, rng)
        if samples is not None and len(samples) <= recordings.MAX_SECONDS * audio.TELEPHONE_HZ:
            break
    else:
        raise EvaluationError("no utterance left to speak")
    around = round(LEAD_S * audio.TELEPHONE_HZ), round(TAIL_S * audio.TELEPHONE_HZ)
    try:
        audio.write(folder / name, np.pad(samples, around), audio.TELEPHONE_HZ)
    except OSError as error:
        raise EvaluationError(f"{folder / name}: cannot be written: {error.strerror}") from error
    utterance = item.utterance
    kind = utterance.kind if utterance.language_known else ENGLISH
    values, target_values = "|".join(item.values), "|".join(item.target_values)
    return name, utterance.text, utterance.code, values, item.target, item.reference, target_values, kind, utterance.manner.voice


def _quiet(folder: Path, seed: int) -> list[Sequence[str]]:
    """Silence, then noise of every kind, at the level of a quiet call; the language of a row is the one that is expected."""
    rng = np.random.default_rng(seed)
    count = round(QUIET_S * audio.TELEPHONE_HZ)
    clips: dict[str, audio.Samples] = {}
    for number in range(SILENT_CLIPS):
        hiss = rng.normal(size=count) * 3.0 * number
        clips[f"silence-{number + 1}"] = hiss.astype(np.int16)
    for kind in noise.GENERATORS:
        clips[f"noise-{kind}"] = np.clip(noise.make(kind, count, audio.TELEPHONE_HZ, rng) * 400, -32768, 32767).astype(np.int16)
    rows: list[Sequence[str]] = []
    for number, (name, samples) in enumerate(clips.items()):
        audio.write(folder / "audio" / f"{name}.wav", samples, audio.TELEPHONE_HZ)
        code = LANGUAGES[number % len(LANGUAGES)]
        rows.append((f"audio/{name}.wav", "", code, "", "", "", "", name.partition("-")[0], ""))
    return rows


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    try:
        path.write_text("".join("\t".join(row) + "\n" for row in (header, *rows)), encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be written: {error.strerror}") from error
