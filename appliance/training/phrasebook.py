"""The phrasebook: sentence templates with slots, in every language, and their split into training, development and test.

The split is by *combination*: a sentence of the test split (template and slot values together) is never trained on. Digit
strings of three digits and more are split by themselves: one that is held out occurs in no training sentence. It is a pure
function of the sentence, so that nobody needs to keep lists.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LANGUAGES: tuple[str, ...] = ("ta", "te", "kn", "mr", "hi", "hinglish")
Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")

_SLOT = re.compile(r"\{(\w+)\}")
_BUCKETS = 20
_PATTERN = re.compile(r"\[0-9\]\{(\d+)(?:,(\d+))?\}")


class PhrasebookError(ValueError):
    """A phrasebook file is malformed; the message names file, line and what is allowed."""


@dataclass(frozen=True, slots=True)
class Template:
    id: str
    side: str
    """`caller`, `agent` or `both`."""
    intent: str
    text: Mapping[str, str]
    """Sentence by language code, slots as `{name}`."""

    @property
    def slots(self) -> tuple[str, ...]:
        return tuple(_SLOT.findall(self.text["hinglish"]))


@dataclass(frozen=True, slots=True)
class SlotValue:
    slot: str
    value: str
    """Language-independent name of the value; for digit strings the digits themselves."""
    text: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DigitPattern:
    """A slot filled with random digit strings."""

    slot: str
    shortest: int
    longest: int

    def draw(self, rng: random.Random) -> SlotValue:
        length = rng.randint(self.shortest, self.longest)
        digits = [rng.choice("0123456789") for _ in range(length)]
        for position in range(1, length):  # repeated digits are the hard case of recognition, so they get a share
            if rng.random() < 0.12:
                digits[position] = digits[position - 1]
        value = "".join(digits)
        return SlotValue(self.slot, value, dict.fromkeys(LANGUAGES, value))


@dataclass(frozen=True, slots=True)
class Example:
    """One filled template."""

    template_id: str
    side: str
    values: tuple[SlotValue, ...]
    text: Mapping[str, str]

    @property
    def split(self) -> Split:
        digits = [item.value for item in self.values if item.value.isdigit() and len(item.value) >= 3]
        words = [item.value for item in self.values if item.value not in digits]
        keys = [f"digits {value}" for value in digits]
        if words:
            keys.append(" ".join([self.template_id, *words]))
        buckets = [_bucket(key) for key in keys]
        if 0 in buckets:
            return "test"
        return "dev" if 1 in buckets else "train"


def _bucket(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") % _BUCKETS


@dataclass(frozen=True)
class Phrasebook:
    templates: Sequence[Template]
    values: Mapping[str, Sequence[SlotValue]]
    """Values of the closed slots, by slot."""
    patterns: Mapping[str, DigitPattern]
    """The open slots: digit strings."""

    def fill(self, template: Template, values: Sequence[SlotValue]) -> Example:
        text = {}
        for code in LANGUAGES:
            sentence = template.text[code]
            for value in values:
                sentence = sentence.replace("{" + value.slot + "}", value.text[code])
            text[code] = sentence
        return Example(template.id, template.side, tuple(values), text)

    def draw(self, template: Template, split: Split, rng: random.Random, tries: int = 400) -> Example | None:
        """A random filling of `template` that belongs to `split`; None when none was found in `tries` draws.

        A template without slots has one filling, which belongs to `train`: what is held out of it is the voice.
        """
        for _ in range(tries):
            values = [self._draw_value(slot, rng) for slot in template.slots]
            example = self.fill(template, values)
            if example.split == split:
                return example
            if not values:
                return None
        return None

    def _draw_value(self, slot: str, rng: random.Random) -> SlotValue:
        if slot in self.patterns:
            return self.patterns[slot].draw(rng)
        return rng.choice(self.values[slot])

    def closed_fillings(self, template: Template) -> Iterator[Example]:
        """Every filling of a template that has only closed slots."""
        for values in itertools.product(*(self.values[slot] for slot in template.slots)):
            yield self.fill(template, values)


def load(folder: Path, *extra: Path) -> Phrasebook:
    """Read `templates.tsv` and `slots.tsv` of `folder`, then those of the company's own folders, where they exist.

    Raises:
        PhrasebookError: naming file, line and what is allowed.
    """
    templates: list[Template] = []
    values: dict[str, list[SlotValue]] = {}
    patterns: dict[str, DigitPattern] = {}
    for place in (folder, *extra):
        templates += _read_templates(place / "templates.tsv")
        slots_file = place / "slots.tsv"
        for line, row in _rows(slots_file, ("slot", "value", *LANGUAGES)):
            match = _PATTERN.fullmatch(row["value"])
            if match:
                shortest = int(match[1])
                patterns[row["slot"]] = DigitPattern(row["slot"], shortest, int(match[2] or shortest))
                continue
            if row["value"].startswith("["):
                raise PhrasebookError(f"{slots_file}:{line}: value {row['value']!r}: allowed is [0-9]{{n}} or [0-9]{{n,m}}")
            values.setdefault(row["slot"], []).append(SlotValue(row["slot"], row["value"], {code: row[code] for code in LANGUAGES}))
    known = values.keys() | patterns.keys()
    for template in templates:
        for code in LANGUAGES:
            for slot in _SLOT.findall(template.text[code]):
                if slot not in known:
                    raise PhrasebookError(f"template {template.id}, {code}: unknown slot {slot!r}, allowed: {', '.join(sorted(known))}")
    return Phrasebook(templates, values, patterns)


def _read_templates(path: Path) -> list[Template]:
    found: dict[str, Template] = {}
    for line, row in _rows(path, ("id", "side", "intent", *LANGUAGES)):
        if row["side"] not in ("caller", "agent", "both"):
            raise PhrasebookError(f"{path}:{line}: side {row['side']!r}, allowed: caller, agent, both")
        if row["id"] in found:
            raise PhrasebookError(f"{path}:{line}: id {row['id']!r} is used twice")
        template = Template(row["id"], row["side"], row["intent"], {code: row[code] for code in LANGUAGES})
        for code in LANGUAGES:
            if sorted(_SLOT.findall(row[code])) != sorted(template.slots):
                raise PhrasebookError(f"{path}:{line}: slots of {code} differ from those of hinglish")
        found[row["id"]] = template
    return list(found.values())


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(reader, [])
        if header != list(columns):
            raise PhrasebookError(f"{path}:1: columns are {header}, expected {list(columns)}")
        for number, row in enumerate(reader, start=2):
            if len(row) != len(columns):
                raise PhrasebookError(f"{path}:{number}: {len(row)} columns, expected {len(columns)}")
            if not all(cell.strip() for cell in row):
                raise PhrasebookError(f"{path}:{number}: empty cell")
            yield number, dict(zip(columns, row, strict=True))
