"""Numbers, ids and glossary terms that a translator must not touch: replaced before translation, put back after it.

`<n1>`, `<n2>`... stand for numbers and ids, `<t1>`, `<t2>`... for terms, each numbered in the order of the source. A
translator that knows them as single vocabulary entries copies them to where its grammar wants them. Pure functions.

Digit groups with nothing but a space between them (`98765 43210`) are one number.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

LIMIT = 8
"""Placeholders of each kind a translator knows; what is beyond it in a sentence stays in the text."""

NUMBER_PLACEHOLDERS: tuple[str, ...] = tuple(f"<n{index}>" for index in range(1, LIMIT + 1))
TERM_PLACEHOLDERS: tuple[str, ...] = tuple(f"<t{index}>" for index in range(1, LIMIT + 1))

MISSPELT = 0.7
"""Likeness to a known word (0 to 1, `difflib`) from which a word counts as that word misspelt."""

_PLACEHOLDER = re.compile(r"<[nt]\d+>")
_ADDRESS = r"https?://\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_NUMBER = r"\d+(?: \d+)+(?![A-Za-z\d])|[A-Za-z]*\d[A-Za-z\d]*(?:[-.,:/][A-Za-z\d]*\d[A-Za-z\d]*)*"
_WORD = r"\w\u0900-\u0dff"  # \w leaves out the vowel signs of Indian scripts
_PROTECTED = re.compile(rf"(?P<term>{_PLACEHOLDER.pattern}|{_ADDRESS})|(?P<number>{_NUMBER})")
_LATIN = re.compile(rf"(?<![{_WORD}<])[A-Za-z]{{2,}}(?![{_WORD}])")
_NUMBERS = re.compile(_NUMBER)


@dataclass(frozen=True, slots=True)
class Protected:
    text: str
    """The sentence with placeholders."""
    values: Mapping[str, str] = field(default_factory=dict)
    """What to put back, by placeholder."""


@dataclass(frozen=True, slots=True)
class Restored:
    text: str
    missing: tuple[str, ...]
    """Values the translator lost."""
    repeated: tuple[str, ...]
    """Values it wrote more than once."""
    invented: int
    """Placeholders it wrote that stand for nothing; they are taken out of the text."""

    @property
    def exact(self) -> bool:
        """Whether every value of the source is there once."""
        return not (self.missing or self.repeated or self.invented)


def protect(text: str, glossary: Mapping[str, str] | None = None) -> Protected:
    """Replace numbers, ids, addresses and glossary terms with placeholders.

    Args:
        text: one sentence.
        glossary: term of the source language to what it is called in the target language; Latin letters match in either
            case, longer terms win. A term matches whole words only.
    """
    terms = {term.casefold(): target for term, target in (glossary or {}).items()}
    numbers = iter(NUMBER_PLACEHOLDERS)
    free_terms = iter(TERM_PLACEHOLDERS)
    values: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        found = match.group()
        if match.lastgroup == "number":
            placeholder, value = next(numbers, None), ascii_digits(found)
        else:
            placeholder, value = next(free_terms, None), terms.get(found.casefold(), found)
        if placeholder is None:
            return found
        values[placeholder] = value
        return placeholder

    pattern = _PROTECTED
    if terms:
        ordered = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True))
        whole = rf"(?<![{_WORD}])(?:{ordered})(?![{_WORD}])"
        pattern = re.compile(rf"(?P<term>{whole}|{_PLACEHOLDER.pattern}|{_ADDRESS})|(?P<number>{_NUMBER})", re.IGNORECASE)
    return Protected(pattern.sub(replace, text), values)


def restore(text: str, values: Mapping[str, str]) -> Restored:
    """Put the values back into a translation, and say what the translator lost or invented."""
    counts = Counter(_PLACEHOLDER.findall(text))

    def replace(match: re.Match[str]) -> str:
        return values.get(match.group(), "")

    restored = _PLACEHOLDER.sub(replace, text)
    invented = sum(count for placeholder, count in counts.items() if placeholder not in values)
    if invented:
        restored = re.sub(r"\s+(?=[.,?!]|$)", "", re.sub(r"\s{2,}", " ", restored)).strip()
    return Restored(
        text=restored,
        missing=tuple(value for placeholder, value in values.items() if not counts[placeholder]),
        repeated=tuple(value for placeholder, value in values.items() if counts[placeholder] > 1),
        invented=invented,
    )


def foreign_words(text: str, known: Collection[str]) -> dict[str, str]:
    """Latin words of a sentence that are neither in `known` (small letters) nor like a word of it: a glossary for `protect`.

    A small translator that never saw a product's name writes a name it knows instead, with a good score; so it is kept away.
    """
    found = (word for word in _LATIN.findall(text) if word.casefold() not in known)
    return {word: word for word in found if not get_close_matches(word.casefold(), known, n=1, cutoff=MISSPELT)}


def ascii_digits(text: str) -> str:
    """`text` with the digits of every script as ASCII digits."""
    return "".join(str(unicodedata.digit(character)) if character.isdecimal() else character for character in text)


def numbers(text: str) -> list[str]:
    """Numbers and ids of a sentence, in its order, with ASCII digits."""
    return [ascii_digits(match) for match in _NUMBERS.findall(text)]


def same_numbers(source: str, target: str) -> bool:
    """Whether a translation has exactly the numbers of its source, in any order: a guard for every engine."""
    return Counter(numbers(source)) == Counter(numbers(target))
