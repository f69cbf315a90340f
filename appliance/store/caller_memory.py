"""The language each caller spoke last time, under a keyed hash of the number, so that the memory names nobody."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import get_args

from appliance.config.schema import CallerLanguage
from appliance.store.redis_link import RedisLink

KEEP_S = 180 * 24 * 3600
"""Half a year after the last call."""
KEY_PREFIX = "setu:caller:"

_LANGUAGES = frozenset(get_args(CallerLanguage))
_INDIA = "91"
_SHORTEST_NUMBER = 3
"""Digits; shorter "numbers" are extensions of nobody or a withheld number."""


def normalised(number: str) -> str:
    """The digits that stay the same however a trunk writes the number: without `+`, `00`, `0` and the country code 91.

    Empty for a withheld or unusable number.
    """
    if re.search(r"[^0-9+()./\s-]", number):
        return ""
    digits = re.sub(r"\D", "", number).lstrip("0")
    if len(digits) == len(_INDIA) + 10 and digits.startswith(_INDIA):
        digits = digits.removeprefix(_INDIA)
    return digits if len(digits) >= _SHORTEST_NUMBER else ""


class CallerMemory:
    """Caller languages in Redis; knows nobody while Redis is away."""

    def __init__(self, link: RedisLink, hash_key: str, *, keep_s: int = KEEP_S) -> None:
        """
        Args:
            hash_key: secret without which a number cannot be looked for.
            keep_s: how long a language is kept after the caller's last call.
        """
        self._link = link
        self._hash_key = hash_key.encode()
        self._keep_s = keep_s

    async def recall(self, number: str) -> str | None:
        """The language code of this caller's last call, if known."""
        key = self.key(number)
        if key is None:
            return None
        language: str | None = await self._link.attempt("recall-caller", lambda redis: redis.get(key), None)
        return language if language in _LANGUAGES else None

    async def remember(self, number: str, language: str) -> bool:
        """Keep the language of this caller; whether it was kept."""
        key = self.key(number)
        if key is None or language not in _LANGUAGES:
            return False
        return bool(await self._link.attempt("remember-caller", lambda redis: redis.set(key, language, ex=self._keep_s), None))

    async def forget(self, number: str) -> None:
        """Drop what is known of this caller."""
        key = self.key(number)
        if key is not None:
            await self._link.attempt("forget-caller", lambda redis: redis.delete(key), 0)

    def key(self, number: str) -> str | None:
        """Key in Redis: an HMAC-SHA256 of the normalised number; None for a withheld number."""
        digits = normalised(number)
        if not digits:
            return None
        return KEY_PREFIX + hmac.new(self._hash_key, digits.encode(), hashlib.sha256).hexdigest()
