"""The languages of a call, with the facts every layer needs about them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    code: str
    """ISO 639-1 code; `hinglish` for the agents' language, which has none."""
    english_name: str
    script: str
    """Name of the Unicode block of its native letters."""
    first: int
    """First code point of that block."""
    last: int
    """Last code point of that block (inclusive)."""
    recogniser_code: str
    """Language token of a Whisper-style recogniser: Hinglish is heard as Hindi."""
    voice: str
    """espeak-ng voice."""


TAMIL = Language("ta", "Tamil", "Tamil", 0x0B80, 0x0BFF, "ta", "ta")
TELUGU = Language("te", "Telugu", "Telugu", 0x0C00, 0x0C7F, "te", "te")
KANNADA = Language("kn", "Kannada", "Kannada", 0x0C80, 0x0CFF, "kn", "kn")
MARATHI = Language("mr", "Marathi", "Devanagari", 0x0900, 0x097F, "mr", "mr")
HINDI = Language("hi", "Hindi", "Devanagari", 0x0900, 0x097F, "hi", "hi")
HINGLISH = Language("hinglish", "Hinglish", "Devanagari", 0x0900, 0x097F, "hi", "hi")

CALLER_LANGUAGES: tuple[Language, ...] = (TAMIL, TELUGU, KANNADA, MARATHI, HINDI)
"""What a caller may speak, in keypad menu order."""

ALL_LANGUAGES: tuple[Language, ...] = (*CALLER_LANGUAGES, HINGLISH)

BY_CODE: dict[str, Language] = {language.code: language for language in ALL_LANGUAGES}


def language(code: str) -> Language:
    """The language with this code.

    Raises:
        KeyError: with a message that names the code and the allowed ones.
    """
    try:
        return BY_CODE[code]
    except KeyError:
        raise KeyError(f"unknown language {code!r}, allowed: {', '.join(BY_CODE)}") from None


def script_shares(text: str) -> dict[str, float]:
    """Share of each native script, and of `Latin`, among the letters of `text`.

    Shares add up to 1; empty when there is no letter of a known script.
    """
    blocks = {item.script: (item.first, item.last) for item in CALLER_LANGUAGES}
    counts: dict[str, int] = {}
    for character in text:
        point = ord(character)
        if character.isascii():
            if character.isalpha():
                counts["Latin"] = counts.get("Latin", 0) + 1
            continue
        for script, (first, last) in blocks.items():
            if first <= point <= last:
                counts[script] = counts.get(script, 0) + 1
                break
    total = sum(counts.values())
    return {script: count / total for script, count in counts.items()}
