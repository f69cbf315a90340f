"""What a caller of a model server may meet.

ApplianceError
+-- ModelServerError    which kind of server, what happened, and whether the same request can succeed later
    +-- Unavailable     no instance is there for it, the server is warming up, or its engine broke
    |   +-- Unreachable nobody listens, or the connection broke
    |   +-- Hung        the server listens but says nothing, not even how it is
    +-- TimedOut        no answer in the time given, though the server lives
    +-- Overloaded      its queue is full, or the request was given up for a newer or a more urgent one
    +-- Rejected        the request is wrong
"""

from __future__ import annotations

from appliance.errors import ApplianceError


class ModelServerError(ApplianceError):
    def __init__(self, kind: str, reason: str, retry: bool) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind = kind
        self.reason = reason
        self.retry = retry


class Unavailable(ModelServerError):
    pass


class Unreachable(Unavailable):
    pass


class Hung(Unavailable):
    pass


class TimedOut(ModelServerError):
    pass


class Overloaded(ModelServerError):
    pass


class Rejected(ModelServerError):
    pass
