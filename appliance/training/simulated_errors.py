"""Errors as a recogniser makes them, for training a translator that will live behind one.

A word with a placeholder (`<n1>`) or outside the vocabulary is never touched, and a slot value is misspelt at most: a
translator that learnt to write a device nobody named would invent devices.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

_MARKS = ".,?"
WORDS_PER_ERROR = 6
"""A sentence of this many words gets one word error more."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words of one language."""

    words: Sequence[str]
    """Those that can be lost or replaced."""
    known: frozenset[str]
    values: frozenset[str]
    """Those of slot values, which may be misspelt at most."""


def misheard(text: str, vocabulary: Vocabulary, rng: random.Random) -> str:
    """`text` with lost punctuation, other letter case, and a few dropped, doubled, replaced, misspelt or clipped words.

    Args:
        text: a sentence with placeholders.
        vocabulary: words of its language.
        rng: source of chance.
    """
    text = _punctuation(text, rng)
    words = text.split()
    if len(words) > 2 and rng.random() < 0.12:
        words = words[1:] if rng.random() < 0.4 and words[0].strip(_MARKS) in vocabulary.known else _clip(words, vocabulary, rng)
    if rng.random() < 0.75:
        for _ in range(rng.randint(1, 1 + len(words) // WORDS_PER_ERROR)):
            words = _word_error(words, vocabulary, rng)
    text = " ".join(words)
    return _recase(text, rng) if rng.random() < 0.06 else text


def _punctuation(text: str, rng: random.Random) -> str:
    chance = rng.random()
    if chance < 0.45:
        return text
    if chance < 0.7:  # only the final mark; a comma at the end tells an open clause, so it stays
        return text[:-1] if text[-1:] in (".", "?") else text
    if chance < 0.9:
        inner = text[:-1].replace(",", "") + text[-1:]
        return inner[:-1] if chance < 0.8 and inner[-1:] in (".", "?") else inner
    return text[:-1] + rng.choice(".?") if text[-1:] in (".", "?") else text


def _clip(words: list[str], vocabulary: Vocabulary, rng: random.Random) -> list[str]:
    """Half of the first or the last word is lost."""
    position = 0 if rng.random() < 0.6 else len(words) - 1
    word = words[position]
    if word.strip(_MARKS) not in vocabulary.known or len(word) < 3:
        return words
    half = len(word) // 2
    words = list(words)
    words[position] = word[half:] if position == 0 else word[: len(word) - half]
    return words


def _word_error(words: list[str], vocabulary: Vocabulary, rng: random.Random) -> list[str]:
    free = [index for index, word in enumerate(words) if word.strip(_MARKS) in vocabulary.known | vocabulary.values]
    if not free:
        return words
    index = rng.choice(free)
    word, words = words[index], list(words)
    chance = rng.random()
    replaceable = len(words) > 2 and word.strip(_MARKS) in vocabulary.known
    if chance < 0.22 and replaceable:
        del words[index]
    elif chance < 0.32:
        words.insert(index, word.rstrip(_MARKS))
    elif chance < 0.5 and replaceable:
        words[index] = rng.choice(vocabulary.words) + _marks(word)
    elif chance < 0.56:
        words.insert(index, rng.choice(vocabulary.words))
    elif chance < 0.64 and index + 1 < len(words) and "<" not in words[index + 1]:
        words[index : index + 2] = [word.rstrip(_MARKS) + words[index + 1]]
    else:
        words[index] = _misspelt(word, rng)
    return words


def _marks(word: str) -> str:
    return word[len(word.rstrip(_MARKS)) :]


def _misspelt(word: str, rng: random.Random) -> str:
    letters = list(word.rstrip(_MARKS))
    if not letters:
        return word
    for _ in range(1 if len(letters) < 6 or rng.random() < 0.6 else 2):
        index = rng.randrange(len(letters))
        chance = rng.random()
        if chance < 0.35 and len(letters) > 2:
            del letters[index]
        elif chance < 0.7:
            base = ord(letters[index])
            near = chr(base + rng.choice((-2, -1, 1, 2)))
            letters[index] = near if near.isalpha() or ord(near) > 0x900 else letters[index]
        elif chance < 0.85:
            letters.insert(index, letters[index])
        elif index + 1 < len(letters):
            letters[index], letters[index + 1] = letters[index + 1], letters[index]
    return "".join(letters) + _marks(word)


def _recase(text: str, rng: random.Random) -> str:
    change = rng.choice((str.lower, str.title, str.upper))
    return " ".join(word if "<" in word else change(word) if word.isascii() else word for word in text.split(" "))
