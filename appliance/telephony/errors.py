"""Errors of the telephone side.

ApplianceError
+-- TelephonyError
    +-- AriError                 a request to Asterisk did not succeed
    |   +-- AriDisconnected      no control connection, or it went away before the answer
    |   +-- AriTimedOut          no answer in time
    |   +-- AriRefused           Asterisk answered with an error status
    |       +-- AriNotFound      the channel or bridge does not exist (any more)
    +-- MediaNotConnected        a leg's media socket did not come in time
    +-- SocketClosed             the other side of a WebSocket is gone
"""

from __future__ import annotations

from appliance.errors import ApplianceError


class TelephonyError(ApplianceError):
    retry: bool = False
    """Whether the same request may succeed when it is made again."""


class AriError(TelephonyError):
    pass


class AriDisconnected(AriError):
    retry = True


class AriTimedOut(AriError):
    retry = True


class AriRefused(AriError):
    """Asterisk's answer was an HTTP error."""

    def __init__(self, what: str, status: int, reason: str) -> None:
        super().__init__(f"{what}: {status} {reason}".rstrip())
        self.status = status
        self.reason = reason
        self.retry = status >= 500


class AriNotFound(AriRefused):
    pass


class MediaNotConnected(TelephonyError):
    retry = True


class SocketClosed(TelephonyError):
    """A WebSocket has ended; nothing more can be sent or received."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"socket closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason
