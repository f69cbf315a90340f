"""The commit policy against plain LocalAgreement-2 on the same scripted streams of hypotheses. Pure; nothing depends on the machine.

A stream is what a recogniser says of a growing utterance: words as they come, disturbed as real decodes are. Both policies are asked
how long after it was said a word is handed out, and how much of what was handed out the final decode does not confirm.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from appliance.bench.results import Result, Row
from appliance.interpreter.commit import CommitPolicy
from appliance.interpreter.segment import bare
from appliance.phone.report import percentile

PARTIAL_S = 0.4
"""Between two decodes."""
WORD_S = 0.36
_FINAL_S = 0.5
"""From the end of the speech to the final decode."""
KINDS = ("steady", "unstable ends", "late revisions", "repeated words", "empty partials", "all of them")
_STREAMS = {True: 40, False: 400}
_SYLLABLES = ("ka", "ri", "mu", "tha", "ne", "lo", "vi", "sha", "pe", "du", "ya", "go")


@dataclass(frozen=True, slots=True)
class Stream:
    """One utterance as it is recognised."""

    hypotheses: tuple[tuple[float, str], ...]
    """When (seconds) and what."""
    final: str
    ends_s: tuple[float, ...]
    """When each word of the final text had been said."""

    @property
    def over_s(self) -> float:
        """When the final decode is there."""
        return self.ends_s[-1] + _FINAL_S


class Policy(Protocol):
    def update(self, text: str) -> list[str]: ...

    def rest(self, text: str) -> str: ...


class LocalAgreement:
    """Plain LocalAgreement-2: the words two decodes in a row begin with; what is left is counted off."""

    def __init__(self) -> None:
        self._before: list[str] = []
        self._given = 0

    def update(self, text: str) -> list[str]:
        words = text.split()
        before, self._before = self._before, words
        agreed = 0
        while agreed < min(len(words), len(before)) and bare(words[agreed]) == bare(before[agreed]):
            agreed += 1
        given, self._given = self._given, max(self._given, agreed)
        return words[given : self._given]

    def rest(self, text: str) -> str:
        return " ".join(text.split()[self._given :])


def stream(kind: str, rng: np.random.Generator) -> Stream:
    """A scripted stream of one of `KINDS`.

    Raises:
        ValueError: for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of stream {kind!r}, allowed: {', '.join(KINDS)}")
    final = _text(rng)
    ends = np.cumsum(rng.uniform(0.7, 1.3, len(final)) * WORD_S)
    revised = {int(place) for place in rng.integers(len(final), size=max(1, len(final) // 10))}
    late_s = {place: float(ends[place] + rng.uniform(1.0, 2.5)) for place in revised}
    hypotheses = []
    for step in range(1, int(ends[-1] / PARTIAL_S) + 1):
        now_s = step * PARTIAL_S
        words = list(final[: int(np.searchsorted(ends, now_s, "right"))])
        if kind in ("late revisions", "all of them"):
            words = [_other(word) if place in late_s and now_s < late_s[place] else word for place, word in enumerate(words)]
        if kind in ("unstable ends", "all of them"):
            words = _unstable(words, rng)
        if kind in ("repeated words", "all of them") and words and rng.random() < 0.15:
            place = int(rng.integers(len(words)))
            words[place:place] = [words[place].rstrip(".,")] * int(rng.integers(1, 4))
        if kind in ("empty partials", "all of them") and rng.random() < 0.2:
            words = []
        hypotheses.append((now_s, " ".join(words)))
    return Stream(tuple(hypotheses), " ".join(final), tuple(map(float, ends)))


def measure(*, quick: bool, seed: int = 6) -> Result:
    rows = []
    for kind in KINDS:
        rng = np.random.default_rng(seed)
        streams = [stream(kind, rng) for _ in range(_STREAMS[quick])]
        rows += [row(kind, "ours", streams), row(kind, "LocalAgreement-2", streams)]
    notes = (
        "delay: from a word's end to its being handed out; unconfirmed: words handed out that the final decode does not have there",
        "ours hands out whole sentences and long clauses, which a translator needs; LocalAgreement-2 single words",
    )
    return Result(
        "commit", f"What is handed out before the end of an utterance ({_STREAMS[quick]} scripted streams of each kind)", rows, notes
    )


def row(kind: str, name: str, streams: Sequence[Stream]) -> Row:
    """
    Args:
        name: `ours` or `LocalAgreement-2`.
    """
    outcomes = [follow(CommitPolicy() if name == "ours" else LocalAgreement(), item) for item in streams]
    words = sum(len(item.ends_s) for item in streams)
    delays = [delay for outcome in outcomes for delay in outcome.delays_s]
    return {
        "stream": kind,
        "policy": name,
        "handed out early %": round(100 * sum(outcome.early for outcome in outcomes) / words, 1),
        "mean delay s": round(statistics.fmean(delays), 2),
        "p95 delay s": round(percentile(delays, 0.95), 2),
        "unconfirmed per 100 words": round(100 * sum(outcome.unconfirmed for outcome in outcomes) / words, 2),
        "lost per 100 words": round(100 * sum(outcome.lost for outcome in outcomes) / words, 2),
        "pieces per utterance": round(statistics.fmean(outcome.pieces for outcome in outcomes), 1),
    }


@dataclass(frozen=True, slots=True)
class Outcome:
    early: int
    """Words handed out before the final decode."""
    delays_s: list[float]
    """Of each word that was handed out and belongs to the final text."""
    unconfirmed: int
    """Words handed out early that the final text does not have there: what an honest interpreter would have to take back."""
    lost: int
    """Words of the final text that were never handed out, in any form."""
    pieces: int


def follow(policy: Policy, item: Stream) -> Outcome:
    """What a policy makes of a stream."""
    given: list[tuple[str, float]] = []
    pieces = 0
    for at_s, text in item.hypotheses:
        for segment in policy.update(text):
            given += [(bare(word), at_s) for word in segment.split()]
            pieces += 1
    early = len(given)
    rest = policy.rest(item.final)
    given += [(bare(word), item.over_s) for word in rest.split()]
    matches, replaced = _aligned([word for word, _ in given], [bare(word) for word in item.final.split()])
    delays = [given[one][1] - item.ends_s[other] for one, other in matches]
    confirmed = sum(one < early for one, _ in matches)
    lost = len(item.ends_s) - len(matches) - replaced
    return Outcome(early, delays, early - confirmed, lost, pieces + bool(rest))


def _aligned(one: Sequence[str], other: Sequence[str]) -> tuple[list[tuple[int, int]], int]:
    """Places of equal words in the cheapest alignment, and how many words stand for another."""
    costs = np.zeros((len(one) + 1, len(other) + 1), np.int32)
    costs[:, 0], costs[0, :] = np.arange(len(one) + 1), np.arange(len(other) + 1)
    for row in range(1, len(one) + 1):
        for column in range(1, len(other) + 1):
            differ = one[row - 1] != other[column - 1]
            costs[row, column] = min(costs[row - 1, column - 1] + differ, costs[row - 1, column] + 1, costs[row, column - 1] + 1)
    matches, replaced = [], 0
    row, column = len(one), len(other)
    while row and column:
        differ = one[row - 1] != other[column - 1]
        if costs[row, column] == costs[row - 1, column - 1] + differ:
            row, column = row - 1, column - 1
            replaced += differ
            if not differ:
                matches.append((row, column))
        elif costs[row, column] == costs[row - 1, column] + 1:
            row -= 1
        else:
            column -= 1
    return matches[::-1], replaced


def _text(rng: np.random.Generator) -> tuple[str, ...]:
    words: list[str] = []
    for _ in range(int(rng.integers(2, 5))):
        count = int(rng.integers(4, 14))
        sentence = ["".join(rng.choice(_SYLLABLES, int(rng.integers(1, 4)))) for _ in range(count)]
        if count > 8:
            sentence[count // 2] += ","
        sentence[-1] += "."
        words += sentence
    return tuple(words)


def _other(word: str) -> str:
    """The word as it is misheard at first."""
    mark = word[len(word.rstrip(".,")) :]
    return f"{word.rstrip('.,')[::-1]}x{mark}"


def _unstable(words: list[str], rng: np.random.Generator) -> list[str]:
    """The last word is half heard, and half a sentence likes to end with a full stop."""
    if not words:
        return words
    changed = list(words)
    if rng.random() < 0.5:
        changed[-1] = _other(changed[-1])
    if rng.random() < 0.5:
        changed[-1] = changed[-1].rstrip(".,") + "."
    return changed
