"""What Asterisk and the gateway show each other: HTTP Basic credentials, compared in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Credentials:
    user: str
    password: str

    @property
    def header(self) -> str:
        """Value of the `Authorization` header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def match(self, authorization: str | None) -> bool:
        """Whether the value of an `Authorization` header is these credentials."""
        scheme, _, encoded = (authorization or "").partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            given = b""
        expected = f"{self.user}:{self.password}".encode()
        # Of digests, since comparing texts of different lengths takes another time than comparing those of equal ones.
        same = hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())
        return same and scheme.lower() == "basic"
