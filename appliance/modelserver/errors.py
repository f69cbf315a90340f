"""What a caller of a model server may meet.

ApplianceError
+-- ModelServerError    which server, what happened, and whether the same request can succeed later
    +-- Unavailable     nobody listens, the server is warming up or its engine broke, or it is left alone after failures
    +-- TimedOut        no answer in the time given
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


class TimedOut(ModelServerError):
    pass


class Overloaded(ModelServerError):
    pass


class Rejected(ModelServerError):
    pass
