"""Text cut into what is translated and spoken at a time, and what is left of a hypothesis after its committed part. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

SENTENCE_MARKS = ".?!।"
CLAUSE_MARKS = ",;:"
_ABBREVIATIONS = frozenset({"mr", "mrs", "ms", "dr", "rs", "डॉ", "श्री", "रु", "திரு", "డా", "ಡಾ"})
"""Words whose full stop ends no sentence."""
_EDGES = SENTENCE_MARKS + CLAUSE_MARKS + "\"'“”‘’()[]-–—…"
_CLAUSE_END = re.compile(rf"(?<=[{CLAUSE_MARKS}])\s+")


def bare(word: str) -> str:
    """The word as it is compared: no punctuation around it, one Unicode form, no case."""
    return unicodedata.normalize("NFC", word).strip(_EDGES).casefold()


def ends_sentence(word: str) -> bool:
    """Whether a blank-separated word carries the end of a sentence (`3.5` and `Dr.` do not)."""
    stripped = word.rstrip("\"'”’)]")
    return stripped.endswith(tuple(SENTENCE_MARKS)) and bare(word) not in _ABBREVIATIONS


def ends_clause(word: str) -> bool:
    return word.endswith(tuple(CLAUSE_MARKS))


def sentences(text: str) -> list[str]:
    """The sentences of `text`, each with its mark; a piece without any word goes with the one before."""
    found: list[str] = []
    current: list[str] = []
    for word in text.split():
        if not bare(word) and not current and found:
            found[-1] += word if word in SENTENCE_MARKS else f" {word}"
            continue
        current.append(word)
        if ends_sentence(word) and any(bare(item) for item in current):
            found.append(" ".join(current))
            current = []
    if any(bare(item) for item in current):
        found.append(" ".join(current))
    return found


def clauses(text: str, least: int = 30) -> list[str]:
    """Pieces of `text` to synthesise one after the other, so that the first can be heard while the next is made.

    Args:
        text: one or more sentences.
        least: characters that a piece and what follows it must have for a cut at a comma to be worth the break.
    """
    pieces: list[str] = []
    for sentence in sentences(text):
        parts = _CLAUSE_END.split(sentence)
        current = parts[0]
        for index, part in enumerate(parts[1:], 1):
            if len(current) >= least and len(" ".join(parts[index:])) >= least:
                pieces.append(current)
                current = part
            else:
                current = f"{current} {part}"
        pieces.append(current)
    return pieces


def place_after(committed: Sequence[str], words: Sequence[str]) -> int:
    """Index in `words` of the first word that comes after `committed`, both as `bare` words.

    The hypothesis may have revised, lost or repeated committed words: the place with the fewest edits before it is taken;
    among equals one whose last word is the last committed one, then the earliest, which rather repeats than loses a word.
    """
    if not committed:
        return 0
    costs = [float(index) for index in range(len(words) + 1)]
    for row, expected in enumerate(committed, 1):
        previous, costs = costs, [float(row)]
        for column, got in enumerate(words, 1):
            costs.append(min(previous[column - 1] + _difference(expected, got), previous[column] + 1, costs[column - 1] + 1))
    best = min(costs)
    places = [index for index, cost in enumerate(costs) if cost == best]
    for place in places:
        if place and words[place - 1] == committed[-1]:
            return place
    return places[0]


def _difference(one: str, other: str) -> float:
    """0: the same word; 0.5: a revision of it (the same beginning); 1: another."""
    if one == other:
        return 0.0
    longest = max(len(one), len(other))
    common = next((index for index, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other)))
    return 0.5 if common >= longest / 2 else 1.0


def remaining(committed: Sequence[str], text: str) -> str:
    """What of a final decode is still to be translated, given the committed `bare` words."""
    words = text.split()
    kept = [word for word in words if bare(word)]
    return " ".join(kept[place_after(committed, [bare(word) for word in kept]) :])


def agreement(one: str, other: str) -> float:
    """How much two texts have in common: 1 minus their word error rate, at least 0. Two empty texts agree."""
    first = [bare(word) for word in one.split() if bare(word)]
    second = [bare(word) for word in other.split() if bare(word)]
    longest = max(len(first), len(second))
    if not longest:
        return 1.0
    costs = list(range(len(second) + 1))
    for row, expected in enumerate(first, 1):
        diagonal, costs[0] = costs[0], row
        for column, got in enumerate(second, 1):
            diagonal, costs[column] = costs[column], min(diagonal + (expected != got), costs[column] + 1, costs[column - 1] + 1)
    return 1 - costs[-1] / longest


def prefix_agreement(partial: str, final: str) -> float | None:
    """How much of an earlier decode the final one confirms, its last word left out: it may have been half a word.

    None when the earlier one has fewer than two words.
    """
    first = [word for word in partial.split() if bare(word)][:-1]
    second = [word for word in final.split() if bare(word)]
    if not first:
        return None
    lengths = range(max(0, len(first) - 1), min(len(second), len(first) + 1) + 1)
    return max((agreement(" ".join(first), " ".join(second[:length])) for length in lengths), default=0.0)
