"""What a translation must fulfil before anybody hears it. Pure."""

from __future__ import annotations

from collections import Counter

from appliance.interpreter.segment import bare
from appliance.text.languages import language, script_shares
from appliance.text.placeholders import ascii_digits, numbers
from appliance.text.spoken import ID_MIN_DIGITS

LONGEST_RATIO, LONGEST_EXTRA = 3.0, 30
"""A translation may have this many times the characters of its source, and this many more."""
SHORTEST_RATIO, SHORTEST_FROM = 0.2, 25
"""One of a source with at least so many characters must have this share of them."""
LOOP = 3
"""A word, or a group of words, so many times more in a row than in the source is a decoder going round in circles."""
_GROUP = 4
"""Longest repeated group looked for, in words."""
FOREIGN_SHARE = 0.3
"""Share of letters of a native script that is not the target's from which on the translation is in the wrong language."""


def flaw(source: str, translation: str, target: str) -> str:
    """What is wrong with a translation, as a code word; empty when it may be spoken.

    Args:
        source: one sentence in canonical text.
        translation: what was made of it.
        target: language code it must be in.
    """
    if not any(character.isalnum() for character in translation):
        return "empty-translation"
    if _lost(source, translation):
        return "number-lost"
    if _invented(source, translation):
        return "number-invented"
    if len(translation) > LONGEST_RATIO * len(source) + LONGEST_EXTRA:
        return "translation-too-long"
    if len(source) >= SHORTEST_FROM and len(translation) < SHORTEST_RATIO * len(source):
        return "translation-too-short"
    if _longest_loop(translation) >= _longest_loop(source) + LOOP:
        return "translation-repeats"
    own = language(target).script
    if sum(share for script, share in script_shares(translation).items() if script not in (own, "Latin")) >= FOREIGN_SHARE:
        return "translation-script"
    return ""


def _lost(source: str, translation: str) -> Counter[str]:
    return Counter(numbers(source)) - Counter(numbers(translation))


def _invented(source: str, translation: str) -> list[str]:
    """Ids that nobody said; a small number may be a word of the source ("one moment")."""
    extra = Counter(numbers(translation)) - Counter(numbers(source))
    return [number for number in extra if sum(map(str.isdigit, ascii_digits(number))) >= ID_MIN_DIGITS]


def _longest_loop(text: str) -> int:
    """How often a group of words at most follows itself, 1 without any repetition."""
    words = [bare(word) for word in text.split()]
    longest = 1 if words else 0
    for size in range(1, _GROUP + 1):
        run = 0  # words in a row that are the same as `size` words before
        for index in range(size, len(words)):
            run = run + 1 if words[index] == words[index - size] else 0
            longest = max(longest, run // size + 1)
    return longest
