"""What call control needs from the interpreter of a call, and what the interpreter needs from call control."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from appliance.interpreter.events import Event
from appliance.telephony.call_state import Party
from appliance.telephony.media import MediaTransport


class Interpreter(Protocol):
    """The lanes of one call. Prompts may be said as soon as the party is attached; lanes run once both are and `start` was called."""

    @property
    def language(self) -> str | None:
        """The caller's language once decided."""
        ...

    def attach(self, party: Party, transport: MediaTransport) -> None: ...

    def start(self) -> None: ...

    async def say(self, party: Party, prompt: str) -> None:
        """Returns when the party has heard it, or cannot."""
        ...

    def key(self, party: Party, digit: str) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class CallContext:
    """What is known of a call when its interpreter is made."""

    call_id: str
    caller_number: str
    called_number: str
    publish: Callable[[Event], None]
    unavailable: Callable[[str], None]
    """To be called with a reason when the call cannot be interpreted any more: the parties are told and joined directly."""


MakeInterpreter = Callable[[CallContext], Awaitable[Interpreter]]
