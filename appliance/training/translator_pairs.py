"""Training pairs of the translator, drawn without end from the phrasebook.

A pair is a sentence, a clause of one (at its commas), a lone slot value, or two or three sentences in a row; its source
is often damaged as a recogniser damages it. A small share is off-topic and translates to `<offtopic>`.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.text.placeholders import LIMIT, TERM_PLACEHOLDERS, protect
from appliance.training.phrasebook import LANGUAGES, Example, Phrasebook, SlotValue, Split, Template
from appliance.training.simulated_errors import Vocabulary, misheard

CALLERS: tuple[str, ...] = tuple(code for code in LANGUAGES if code != "hinglish")
DIRECTIONS: tuple[tuple[str, str], ...] = (*((code, "hinglish") for code in CALLERS), *(("hinglish", code) for code in CALLERS))
OFF_TOPIC = "<offtopic>"
"""What the translator writes when the source is about nothing it knows."""

KIND_SHARES = {"sentence": 0.62, "clause": 0.12, "value": 0.05, "several": 0.15, "offtopic": 0.06}
DAMAGED = 0.55
"""Share of sources with simulated errors."""
TERMS = 0.1
"""Share of sentences in which a placeholder stands for a name, as for a term of a glossary."""

_PLACEHOLDER = re.compile(r"<([nt])(\d+)>")


@dataclass(frozen=True, slots=True)
class Pair:
    source_language: str
    target_language: str
    source: str
    target: str
    """Both with placeholders."""


def language_token(code: str) -> str:
    """What begins a source, and what a target is made to begin with."""
    return f"__{code}__"


class PairSource:
    """Draws pairs of the training split."""

    def __init__(self, book: Phrasebook, off_topic: Mapping[str, Sequence[str]], rng: random.Random) -> None:
        self._book = book
        self._off_topic = off_topic
        self._rng = rng
        self._weights = [1 + len(template.slots) / 2 for template in book.templates]
        self._clauses = [template for template in book.templates if clause_count(template) > 1]
        self._clause_weights = [1 + len(template.slots) / 2 for template in self._clauses]
        self._vocabulary = {code: vocabulary(book, code) for code in LANGUAGES}
        self._values = [value for values in book.values.values() for value in values]

    def draw(self) -> Pair:
        rng = self._rng
        kind = rng.choices(list(KIND_SHARES), list(KIND_SHARES.values()))[0]
        source_language, target_language = rng.choice(DIRECTIONS)
        if kind == "offtopic":
            return Pair(source_language, target_language, protect(self._off_topic_source(source_language)).text, OFF_TOPIC)
        texts = self._texts(kind)
        if kind == "value" and source_language in ("hi", "hinglish") and texts[0]["mr"].startswith("काल"):
            texts = [next(value.text for value in self._values if value.value == "tomorrow")]  # alone, कल is tomorrow
        heard = source_language
        if rng.random() < 0.03:  # the language was guessed wrong
            heard = rng.choice(CALLERS)
        source: list[str] = []
        target: list[str] = []
        for text in texts if len(texts) == 1 and rng.random() < 0.5 else [_marked(text) for text in texts]:
            spoken = rng.choice(LANGUAGES) if len(texts) > 1 and rng.random() < 0.08 else heard
            source.append(text[spoken])
            target.append(text[target_language])
        pair = with_placeholders(Pair(source_language, target_language, " ".join(source), " ".join(target)))
        if rng.random() < 0.15:
            pair = _renumbered(pair, rng)
        if rng.random() < DAMAGED:
            pair = replace(pair, source=misheard(pair.source, self._vocabulary[heard], rng))
        return pair

    def _texts(self, kind: str) -> list[Mapping[str, str]]:
        rng = self._rng
        if kind == "value":
            value = rng.choice(self._values)
            mark = rng.choice(("", "", "."))
            return [{code: text + mark for code, text in value.text.items()}]
        if kind == "clause":
            template = rng.choices(self._clauses, self._clause_weights)[0]
            parts = clauses(self._example(template))
            start = rng.choice([0, 0, rng.randrange(len(parts))])
            end = rng.randint(start + 1, len(parts) - (start == 0))
            return [{code: " ".join(part[code] for part in parts[start:end]) for code in LANGUAGES}]
        count = rng.choice((2, 2, 3)) if kind == "several" else 1
        return [self._example(template).text for template in rng.choices(self._book.templates, self._weights, k=count)]

    def _example(self, template: Template) -> Example:
        rng = self._rng
        example = self._book.draw(template, "train", rng)
        if example is None:
            raise ValueError(f"template {template.id} has no filling in the training split")
        named = [index for index, value in enumerate(example.values) if value.slot in ("device", "app", "site", "name")]
        if named and rng.random() < TERMS:
            values = [*example.values]
            index, term = rng.choice(named), rng.choice(TERM_PLACEHOLDERS[:3])
            values[index] = SlotValue(values[index].slot, term, dict.fromkeys(LANGUAGES, term))
            example = self._book.fill(template, values)
        return example

    def _off_topic_source(self, code: str) -> str:
        rng = self._rng
        chance = rng.random()
        if chance < 0.7:
            text = rng.choice(self._off_topic[code])
            return misheard(text, self._vocabulary[code], rng) if rng.random() < 0.5 else text
        if chance < 0.9:  # words of the phrasebook without a meaning
            return " ".join(rng.choices(self._vocabulary[code].words, k=rng.randint(5, 10)))
        letters = "".join(rng.choices(self._vocabulary[code].words, k=12))
        return " ".join("".join(rng.choices(letters, k=rng.randint(2, 8))) for _ in range(rng.randint(2, 8)))


def clause_count(template: Template) -> int:
    """Number of clauses at the commas, 1 when the languages do not agree on it or on the slots of a clause."""
    parts = {code: _split(template.text[code]) for code in LANGUAGES}
    count = len(parts["hinglish"])
    slots = [[sorted(re.findall(r"\{\w+\}", part)) for part in parts[code]] for code in LANGUAGES]
    return count if all(item == slots[-1] for item in slots) else 1


def clauses(example: Example) -> list[dict[str, str]]:
    """The clauses of a filled template for which `clause_count` is more than 1; all but the last end with a comma."""
    parts = {code: _split(example.text[code]) for code in LANGUAGES}
    return [{code: parts[code][index] for code in LANGUAGES} for index in range(len(parts["hinglish"]))]


def _split(text: str) -> list[str]:
    return re.split(r"(?<=,) ", text)


def with_placeholders(pair: Pair) -> Pair:
    """The pair with the numbers of both sides replaced, those of the target by the placeholders of the source."""
    source = protect(pair.source)
    free = [(value, placeholder) for placeholder, value in source.values.items()]
    target = protect(pair.target)
    renamed = {}
    for placeholder, value in target.values.items():
        match = next((item for item in free if item[0] == value), None)
        if match is None:
            raise ValueError(f"{value!r} of {pair.target!r} is not in {pair.source!r}")
        free.remove(match)
        renamed[placeholder] = match[1]
    text = _PLACEHOLDER.sub(lambda found: renamed.get(found.group(), found.group()), target.text)
    return replace(pair, source=source.text, target=text)


def _renumbered(pair: Pair, rng: random.Random) -> Pair:
    """The pair with its numbers starting at a random placeholder, so that all of them are learnt."""
    highest = max((int(index) for _, index in _PLACEHOLDER.findall(pair.source)), default=0)
    if not highest or highest >= LIMIT:
        return pair
    shift = rng.randint(0, LIMIT - highest)

    def renumber(text: str) -> str:
        return _PLACEHOLDER.sub(lambda match: f"<{match[1]}{int(match[2]) + shift}>", text)

    return replace(pair, source=renumber(pair.source), target=renumber(pair.target))


def _marked(text: Mapping[str, str]) -> dict[str, str]:
    """With a full stop where there is no mark: lone numbers and values have none in the phrasebook, but often when recognised."""
    return {code: item if item[-1] in ".,?" else f"{item}." for code, item in text.items()}


def vocabulary(book: Phrasebook, code: str) -> Vocabulary:
    """The words of the phrasebook in this language."""
    known = {word.strip(".?,") for template in book.templates for word in template.text[code].split() if "{" not in word}
    values = {word for items in book.values.values() for value in items for word in value.text[code].split() if not word.isdecimal()}
    known -= values
    return Vocabulary(sorted(known), frozenset(known), frozenset(values))


def latin_words(book: Phrasebook) -> list[str]:
    """The Latin words of the phrasebook in small letters: those the translator knows how to handle."""
    texts = [text for template in book.templates for text in template.text.values()]
    texts += [text for values in book.values.values() for value in values for text in value.text.values()]
    return sorted({word.casefold() for text in texts for word in re.findall(r"(?<!\{)\b[A-Za-z]{2,}\b(?!\})", text)})


def read_off_topic(path: Path, split: Split) -> dict[str, list[str]]:
    """Off-topic sentences by language; a tenth each is kept for development and test, by a hash of the sentence."""
    found: dict[str, list[str]] = {code: [] for code in LANGUAGES}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        code, text = line.split("\t")
        bucket = hashlib.blake2b(text.encode(), digest_size=1).digest()[0] % 10
        if split == ("test" if bucket == 0 else "dev" if bucket == 1 else "train"):
            found[code].append(text)
    return found
