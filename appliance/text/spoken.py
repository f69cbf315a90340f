"""Written text to the text a voice should read: numbers and ids as that language says them on the phone.

Up to two digits are a quantity and are left to the voice, which knows its language's cardinals; three digits and more,
or a leading zero, are an id, a code or a phone number and are read digit by digit.
"""

from __future__ import annotations

import re

_DIGITS: dict[str, tuple[str, ...]] = {
    "ta": ("பூஜ்ஜியம்", "ஒன்று", "இரண்டு", "மூன்று", "நான்கு", "ஐந்து", "ஆறு", "ஏழு", "எட்டு", "ஒன்பது"),
    "te": ("సున్నా", "ఒకటి", "రెండు", "మూడు", "నాలుగు", "ఐదు", "ఆరు", "ఏడు", "ఎనిమిది", "తొమ్మిది"),
    "kn": ("ಸೊನ್ನೆ", "ಒಂದು", "ಎರಡು", "ಮೂರು", "ನಾಲ್ಕು", "ಐದು", "ಆರು", "ಏಳು", "ಎಂಟು", "ಒಂಬತ್ತು"),
    "mr": ("शून्य", "एक", "दोन", "तीन", "चार", "पाच", "सहा", "सात", "आठ", "नऊ"),
    "hi": ("शून्य", "एक", "दो", "तीन", "चार", "पांच", "छह", "सात", "आठ", "नौ"),
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
}
_DIGITS["hinglish"] = _DIGITS["hi"]

_NUMBER = re.compile(r"\d+")

ID_MIN_DIGITS = 3
"""From this many digits on a number is read digit by digit."""


def is_id(digits: str) -> bool:
    """Whether a digit string is read digit by digit rather than as a quantity."""
    return len(digits) >= ID_MIN_DIGITS or (len(digits) > 1 and digits.startswith("0"))


def digit_words(digits: str, language: str) -> str:
    """`"407"` in `"hi"` becomes `"चार, शून्य, सात"`: commas make the voice keep the digits apart.

    `language` is a language code, or `en` for callers who say their numbers in English.
    """
    words = [_DIGITS[language][int(digit)] for digit in digits]
    groups = [" ".join(words[start : start + 3]) for start in range(0, len(words), 3)]
    return ", ".join(groups) if len(groups) > 1 else groups[0]


def spoken_text(text: str, language: str, *, digits_in: str | None = None) -> str:
    """The text a voice of `language` should read.

    Args:
        text: canonical text, ids as ASCII digits.
        language: code of the voice's language.
        digits_in: language of the digit words of ids, where a speaker prefers English ones; the voice's own by default.
    """

    def say(match: re.Match[str]) -> str:
        digits = match.group()
        return digit_words(digits, digits_in or language) if is_id(digits) else digits

    return _NUMBER.sub(say, text)
