"""Which words of a growing utterance are certain enough to be translated before the speaker has finished. Pure.

LocalAgreement-2: words in which two decodes one after the other agree. They are handed out only in whole sentences and long
clauses, and only when an agreed word follows: a decode of half a sentence likes to end with a full stop. What was handed out
is never taken back; a later decode that sees it otherwise changes only what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from appliance.interpreter.segment import bare, ends_clause, ends_sentence, place_after, remaining

CLAUSE_WORDS = 7
"""From this many words on a clause is translated without the rest of its sentence: what a listener can hold in mind."""
_LOOP = 4
"""The same word so many times in a row is a decoder going round in circles."""


class CommitPolicy:
    """One utterance: give it each partial decode, take the segments it commits."""

    def __init__(self, clause_words: int = CLAUSE_WORDS) -> None:
        self._clause_words = clause_words
        self._committed: list[str] = []
        self._before: list[str] = []

    @property
    def committed(self) -> tuple[str, ...]:
        """The words handed out so far, as `bare` words."""
        return tuple(self._committed)

    def update(self, text: str) -> list[str]:
        """Take a partial decode of the whole utterance so far.

        Returns:
            the segments that are certain now, in order, with their punctuation; mostly none. An empty decode says nothing.
        """
        words = [word for word in text.split() if bare(word)]
        if not words:
            return []
        before, self._before = self._before, words
        new = words[self._place(words) :]
        old = before[self._place(before) :]
        agreed = 0
        while agreed < min(len(new), len(old)) and bare(new[agreed]) == bare(old[agreed]):
            agreed += 1
        return self._commit(new, old, agreed)

    def rest(self, text: str) -> str:
        """What the final decode has beyond the committed words."""
        return remaining(self._committed, text)

    def beyond(self, text: str) -> tuple[str, ...]:
        """The committed words that come after `text`, a decode of only the first part of the utterance."""
        words = [word for word in map(bare, text.split()) if word]
        return tuple(self._committed[place_after(words, self._committed) :])

    def carry(self, words: Sequence[str]) -> None:
        """Take `bare` words, which this utterance begins with, as committed: they were, when it was part of a longer one."""
        self._committed[:0] = words

    def _place(self, words: list[str]) -> int:
        return place_after(self._committed, [bare(word) for word in words])

    def _commit(self, new: list[str], old: list[str], agreed: int) -> list[str]:
        segments: list[str] = []
        start = 0
        for index in range(agreed - 1):  # an agreed word must follow
            length = index + 1 - start
            sentence = ends_sentence(new[index]) and ends_sentence(old[index])
            clause = ends_clause(new[index]) and ends_clause(old[index]) and length >= self._clause_words
            if not (sentence or clause):
                continue
            words = new[start : index + 1]
            if _loops(words):
                break
            segments.append(" ".join(words))
            self._committed += [bare(word) for word in words]
            start = index + 1
        return segments


def _loops(words: list[str]) -> bool:
    run = 1
    for one, other in pairwise(words):
        run = run + 1 if bare(one) == bare(other) else 1
        if run >= _LOOP:
            return True
    return False
