"""Text to the ids of a Coqui VITS model, from the `config.json` beside it.

The orders of the two vocabularies are those of Coqui's `VitsCharacters` and `BaseCharacters`: ids depend on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.engines.base import EngineUnavailable, JobRejected

MAX_LOST_SHARE = 0.3
"""Of the letters of a text: a model without the letters of a language would speak gaps."""


class VitsText:
    def __init__(self, config: Mapping[str, Any]) -> None:
        """Raises: EngineUnavailable for a config that needs what is not here (a phonemizer) or has no characters."""
        if config.get("use_phonemes"):
            raise EngineUnavailable("config.json has use_phonemes = true; only models that read characters can be served")
        characters = config.get("characters")
        if not isinstance(characters, Mapping):
            raise EngineUnavailable("config.json has no table `characters`")
        symbols = _symbols(characters)
        self._ids = {symbol: number for number, symbol in enumerate(symbols)}
        self._cleaner = str(config.get("text_cleaner") or "no_cleaners")
        self._blank = self._ids.get(characters.get("blank") or "<BLNK>", len(symbols)) if config.get("add_blank", True) else None
        self._ends: tuple[int, int] | None = None
        if config.get("enable_eos_bos_chars"):
            try:
                self._ends = self._ids[characters["bos"]], self._ids[characters["eos"]]
            except KeyError as error:
                raise EngineUnavailable("config.json has enable_eos_bos_chars = true but no such characters") from error

    def ids(self, text: str) -> list[int]:
        """Empty for a text without a letter.

        Raises:
            JobRejected: the model lacks too many of the letters.
        """
        if self._cleaner == "multilingual_cleaners":
            text = text.translate(_SYMBOLS)
        text = " ".join(text.split())
        if self._cleaner != "no_cleaners":
            text = text.lower()
        letters = [character for character in text if character.isalnum()]
        if not letters:
            return []
        lost = sorted({character for character in letters if character not in self._ids})
        if sum(character in lost for character in letters) > MAX_LOST_SHARE * len(letters):
            raise JobRejected(f"the voice has no {''.join(lost[:20])!r}")
        numbers = [self._ids[character] for character in text if character in self._ids]
        if self._blank is not None:
            spaced = [self._blank] * (2 * len(numbers) + 1)
            spaced[1::2] = numbers
            numbers = spaced
        return [self._ends[0], *numbers, self._ends[1]] if self._ends else numbers


_SYMBOLS = str.maketrans({";": ",", ":": ",", "-": " "} | dict.fromkeys('<>()[]"'))


def _symbols(characters: Mapping[str, Any]) -> list[str]:
    if characters.get("vocab_dict"):
        return list(characters["vocab_dict"])
    letters = characters.get("characters") or ""
    punctuations = list(characters.get("punctuations") or "")
    if not letters:
        raise EngineUnavailable("config.json has no `characters.characters`")
    if str(characters.get("characters_class") or "").endswith("VitsCharacters"):
        letters += characters.get("phonemes") or ""
        return [characters.get("pad") or "<PAD>", *punctuations, *letters, characters.get("blank") or "<BLNK>"]
    if characters.get("is_unique"):
        letters = set(letters)
    ordered = sorted(letters) if characters.get("is_sorted", True) else list(letters)
    heads = [characters.get(name) for name in ("pad", "eos", "bos", "blank")]
    return [*(head for head in heads if head), *ordered, *punctuations]
