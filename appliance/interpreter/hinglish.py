"""Canonical Hinglish: Hindi words in Devanagari, English words in Latin letters, ASCII digits. Pure but for reading the lexicon.

Recognisers write English words in either script ("मेरा पासवर्ड reset करो"). Those of the lexicon are brought to Latin letters,
so that the translator, the transcript and the tests see one spelling.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.text.placeholders import ascii_digits

_NUKTA = "\u093c"
_PLURALS = ("ों", "ें")
"""Hindi plural endings that English words take ("फाइलें")."""
_WORD = re.compile(r"[^\s.,?!;:।\"'()\[\]]+")
_SPACE_BEFORE_MARK = re.compile(r"\s+(?=[.,?!](?:\s|$))")
_HEADER = ["term", "devanagari", "kind"]


class LexiconError(ApplianceError):
    """The lexicon of terms is missing or malformed."""


def read_lexicon(path: Path) -> dict[str, str]:
    """Devanagari spellings to English terms.

    The file has tab-separated columns `term`, `devanagari` (spellings with `|` between them) and `kind`.

    Raises:
        LexiconError: with file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise LexiconError(f"cannot read the lexicon {path}: {error.strerror}") from error
    if not lines or lines[0].split("\t") != _HEADER:
        raise LexiconError(f"{path}:1: the columns must be {', '.join(_HEADER)}")
    terms: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        if len(fields) != len(_HEADER) or not all(fields):
            raise LexiconError(f"{path}:{number}: {len(_HEADER)} filled columns are needed")
        for spelling in fields[1].split("|"):
            key = _key(spelling)
            if terms.setdefault(key, fields[0]) != fields[0]:
                raise LexiconError(f"{path}:{number}: {spelling!r} already stands for {terms[key]!r}")
    return terms


class Hinglish:
    """The normaliser; `terms` as `read_lexicon` returns them."""

    def __init__(self, terms: Mapping[str, str]) -> None:
        self._terms = {_key(spelling): term for spelling, term in terms.items()}
        self._longest = max((len(spelling.split()) for spelling in self._terms), default=1)

    def canonical(self, text: str) -> str:
        """`text` in canonical form; doing it twice changes nothing."""
        plain = ascii_digits(unicodedata.normalize("NFC", text)).replace("।", ".")
        words = list(_WORD.finditer(plain))
        pieces: list[str] = []
        end = index = 0
        while index < len(words):
            count, term = self._term(plain, words, index)
            first, last = words[index], words[index + count - 1]
            pieces += [plain[end : first.start()], term or first.group()]
            end = last.end()
            index += count
        joined = "".join([*pieces, plain[end:]])
        return _SPACE_BEFORE_MARK.sub("", " ".join(joined.split()))

    def _term(self, text: str, words: list[re.Match[str]], index: int) -> tuple[int, str]:
        """The longest term that begins at word `index`: its number of words and its English form, `(1, "")` without any."""
        for count in range(min(self._longest, len(words) - index), 0, -1):
            first, last = words[index], words[index + count - 1]
            term = self._lookup(_key(text[first.start() : last.end()]))
            if term:
                return count, term
        return 1, ""

    def _lookup(self, key: str) -> str:
        if key in self._terms:
            return self._terms[key]
        for ending in _PLURALS:
            stem = self._terms.get(key.removesuffix(ending)) if key.endswith(ending) else None
            if stem:
                return stem if stem.endswith("s") else f"{stem}s"
        return ""


def _key(spelling: str) -> str:
    """Spellings that differ only by a nukta are the same word."""
    return unicodedata.normalize("NFC", spelling).replace(_NUKTA, "")
