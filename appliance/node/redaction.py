"""Takes out of a text what is nobody else's business: telephone numbers, names, what was said, passwords.

The same number gets the same stand-in within one bundle (`<number 3f9a>`), so that a call can be followed; the key of the
stand-ins is thrown away with the process, so that nobody can try out which number it was.

What stays: times, ids of calls, addresses of machines, ports, counts, delays.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Final

SHORTEST_NUMBER = 6
"""Digits. Shorter ones are ports, error codes and counts; what a caller says of them is text, and goes as text."""
SHORTEST_IN_GROUPS = 8
"""Digits of one that is written in groups: a year and the hour after it are no number."""
SHORTEST_SECRET = 4
"""Characters: a shorter one would take half of every log with it."""
TEXT_KEYS: Final = ("recognised", "translated", "text", "heard", "said", "partial", "transcript", "reference", "expected")
"""Fields of logs and events that hold what somebody said, in whatever script."""

_INDIC = "\u0900-\u0dff\ua8e0-\ua8ff\u200c\u200d"
_KEEP = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"  # times
    r"|\b\d{8}-\d{6}-[0-9a-f]{4}\b"  # ids of calls
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"  # addresses and ports
    r"|\b\d{1,4}\.\d+\b(?!\.)"  # measurements
    r"|\b(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})\b"  # checksums
)
_NUMBER = re.compile(r"(?<![\w.])\+?\d{6,}(?!\w)|\+?\d{2,5}(?:[ -]\d{2,8}){1,4}(?![\w.])|(?<!\d)\d{7,}(?!\d)")
_TEXT_FIELD = re.compile(
    rf"""(?P<key>["']?\b(?:{"|".join(TEXT_KEYS)})["']?\s*[=:]\s*)(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,;}}\]"'<][^\s,;}}\]]*)"""
)
_QUOTED_INDIC = re.compile(rf'"(?:[^"\\\n]|\\.)*[{_INDIC}](?:[^"\\\n]|\\.)*"')
_INDIC_SPAN = re.compile(rf"(?:[A-Za-z0-9]+[ ,.-]+)*[{_INDIC}](?:[^\n\"]*[{_INDIC}])?(?:[ ,.-]+[A-Za-z0-9]+)*")
_INDIC_LINE = re.compile(rf"^.*[{_INDIC}].*$", re.MULTILINE)
_DISPLAY_NAME = re.compile(r'"[^"\n]*"(?=\s*<(?:sips?|tel):)')
_ESCAPED_INDIC = re.compile(r"\\u0[9a-d][0-9a-f]{2}", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?P<scheme>\w+://[^\s:/@]*):[^\s@]+@")
_AUTHORIZATION = re.compile(r"(?i)\b(authorization\s*[:=]\s*)(?:\w+\s+)?[^\s\"',]+")
_PASSWORD = re.compile(r"""(?i)\b((?:\w*password|passwd|secret|token|hash_key|auth_pass)["']?\s*[=:]\s*["']?)(?!file:)[^\s"',;]+""")


class Redaction:
    """One bundle's.

    Args:
        secrets_known: passwords and keys of this node, to be taken out wherever they stand.
    """

    def __init__(self, secrets_known: Iterable[str] = ()) -> None:
        self._key = secrets.token_bytes(16)
        known = sorted({secret for secret in secrets_known if len(secret) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, known))) if known else None

    def line(self, text: str) -> str:
        """One line, or a text of several, without what is private."""
        if self._secrets is not None:
            text = self._secrets.sub("<secret>", text)
        text = _CREDENTIALS.sub(r"\g<scheme>:<secret>@", text)
        text = _AUTHORIZATION.sub(r"\1<secret>", text)
        text = _PASSWORD.sub(r"\1<secret>", text)
        text = _DISPLAY_NAME.sub('"<name>"', text)
        text = self._without_numbers(text)  # before texts, which go with the words around them
        text = _TEXT_FIELD.sub(lambda found: f"{found['key']}<text>", text)
        # Only where there is something of it: looking for the words around takes long on a line that has many and no such letter.
        text = _INDIC_LINE.sub(lambda found: _INDIC_SPAN.sub("<text>", _QUOTED_INDIC.sub('"<text>"', found[0])), text)
        return _ESCAPED_INDIC.sub("", text)

    def number(self, number: str) -> str:
        """The stand-in of a telephone number; one with a country code or a leading zero has that of the plain one."""
        digits = "".join(str(int(character)) for character in number if character.isdigit())
        plain = digits[-10:] if len(digits) >= 10 else digits.lstrip("0")
        return f"<number {hmac.new(self._key, plain.encode(), hashlib.sha256).hexdigest()[:4]}>"

    def _without_numbers(self, text: str) -> str:
        pieces, begin = [], 0
        for kept in _KEEP.finditer(text):
            pieces += [self._replaced(text[begin : kept.start()]), kept[0]]
            begin = kept.end()
        return "".join([*pieces, self._replaced(text[begin:])])

    def _replaced(self, text: str) -> str:
        def replaced(found: re.Match[str]) -> str:
            digits = sum(character.isdigit() for character in found[0])
            least = SHORTEST_IN_GROUPS if " " in found[0] or "-" in found[0] else SHORTEST_NUMBER
            return self.number(found[0]) if digits >= least else found[0]

        return _NUMBER.sub(replaced, text)
