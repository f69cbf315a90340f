"""What happens on a telephone, as its control port tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PhoneEvent:
    at: float = 0.0
    """When it was read, `time.monotonic()`."""


@dataclass(frozen=True, slots=True)
class Registered(PhoneEvent):
    pass


@dataclass(frozen=True, slots=True)
class RegistrationFailed(PhoneEvent):
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IncomingCall(PhoneEvent):
    peer: str = ""
    """SIP address of the one who calls."""


@dataclass(frozen=True, slots=True)
class CallRinging(PhoneEvent):
    pass


@dataclass(frozen=True, slots=True)
class CallEstablished(PhoneEvent):
    peer: str = ""


@dataclass(frozen=True, slots=True)
class CallClosed(PhoneEvent):
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PhoneEnded(PhoneEvent):
    """The process has ended."""

    status: int | None = None
    """Its exit status, negative: the signal that ended it; None when it has closed its control connection only."""


def decode_event(message: dict[str, Any]) -> PhoneEvent | None:
    """The event in a message of the control port, None for those that do not matter here."""
    if not message.get("event"):
        return None
    parameter, peer = str(message.get("param", "")), str(message.get("peeruri", ""))
    match message.get("type"):
        case "REGISTER_OK":
            return Registered()
        case "REGISTER_FAIL":
            return RegistrationFailed(reason=parameter)
        case "CALL_INCOMING":
            return IncomingCall(peer=peer)
        case "CALL_RINGING" | "CALL_PROGRESS":
            return CallRinging()
        case "CALL_ESTABLISHED":
            return CallEstablished(peer=peer)
        case "CALL_CLOSED":
            return CallClosed(reason=parameter)
    return None
