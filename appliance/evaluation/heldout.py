"""What is held out of the training of the starter models, as a list for people to check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from appliance.training import corpus, phrasebook
from appliance.training.phrasebook import LANGUAGES, Example, Phrasebook, Split
from appliance.training.speech import VOICES


def listing(book: Phrasebook, voices: Mapping[str, Sequence[str]], off_topic: Mapping[str, Sequence[str]]) -> str:
    """What nobody trains or tunes on, for `heldout.txt`: the rules, and everything that can be counted up."""
    return "\n".join([*_RULES, *_listed(book, voices, off_topic)]) + "\n"


_RULES = (
    "# What is held out of the training of the starter models. Made by: appliance evaluate heldout",
    "#",
    "# A sentence belongs to a split by its combination of template and slot values, a digit string of three digits and more by",
    "# itself: BLAKE2b of the name, 4 bytes, modulo 20; 0 is test, 1 is dev, the rest train (appliance/training/phrasebook.py). A",
    "# sentence with a held-out digit string is held out too. A template without slots has one wording, which is trained on: only",
    "# its voice is held out. Voices are variants of espeak-ng, the same in every language (appliance/training/speech.py).",
    "# Off-topic sentences: each fifth of a language is kept from the recogniser; the translator has a split of its own, by hash.",
    "",
)


def _listed(book: Phrasebook, voices: Mapping[str, Sequence[str]], off_topic: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for split in ("test", "dev"):
        yield f"voices {split}: {' '.join(voices[split])}"
    for split in ("test", "dev"):
        lone = [digits for number in range(1000) if _split_of_digits(digits := f"{number:03}") == split]
        yield f"digits {split}, three digits: {' '.join(lone)}"
    for split in ("test", "dev"):
        for template in book.templates:
            if not template.slots or any(slot in book.patterns for slot in template.slots):
                continue
            fillings = [" ".join(value.value for value in item.values) for item in book.closed_fillings(template) if item.split == split]
            if fillings:
                yield f"template {template.id} {split}: {' | '.join(fillings)}"
    for code, texts in off_topic.items():
        for number, text in enumerate(texts):
            yield f"offtopic {code} {'dev' if number % 2 == 0 else 'test'}: {text}"


def _split_of_digits(digits: str) -> Split:
    value = phrasebook.SlotValue("code", digits, dict.fromkeys(LANGUAGES, digits))
    return Example("digits", "both", (value,), {}).split


def read_and_list(book_folder: Path) -> str:
    """The listing for the phrasebook in this folder, with its off-topic sentences."""
    off_topic = corpus.read_off_topic(book_folder / "offtopic.tsv", "test")
    return listing(phrasebook.load(book_folder), VOICES, off_topic)
