"""What call control needs from the interpreter of a call, what it gives to it, and a holder that keeps its failures from the call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from appliance.events import Event
from appliance.telephony.call_messages import Party
from appliance.telephony.media import MediaTransport
from appliance.telephony.websocket_media import WebSocketMedia

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 2.0


class Interpreter(Protocol):
    """The lanes of one call. Prompts may be said as soon as the party is attached; lanes run once both are and `start` was called."""

    @property
    def language(self) -> str | None:
        """The caller's language once decided."""
        ...

    def attach(self, party: Party, transport: MediaTransport) -> None: ...

    def rewire(self, party: Party, transport: MediaTransport) -> None:
        """The party's audio comes and goes another way now; what is queued for the party is played there."""
        ...

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
    adopted: bool = False
    """Whether another worker interpreted it before."""
    silent: Callable[[Party, float], None] = lambda party, seconds: None
    """To be called when no audio has come from a party for so many seconds; `Interpreter.rewire` may follow."""
    age_s: float = 0.0
    """How long an adopted call has lasted already."""


MakeInterpreter = Callable[[CallContext], Awaitable[Interpreter]]


class Interpretation:
    """The interpreter of a call, if it could be made. Nothing here raises: a call without interpreter is a call all the same.

    Args:
        unavailable: called with a reason when the interpreter is of no use (any more).
        fallback: called with a code word when something was left out.
    """

    def __init__(self, unavailable: Callable[[str], None], fallback: Callable[[str], None]) -> None:
        self._unavailable = unavailable
        self._fallback = fallback
        self._interpreter: Interpreter | None = None

    @property
    def language(self) -> str | None:
        return self._interpreter.language if self._interpreter is not None else None

    async def prepare(self, make: MakeInterpreter, context: CallContext) -> None:
        try:
            self._interpreter = await make(context)
        except Exception as error:
            log.error("no interpreter for this call", exc_info=error)
            self._unavailable("it could not be made")

    def attach(self, party: Party, media: WebSocketMedia) -> None:
        self._attempt(lambda interpreter: interpreter.attach(party, media))

    def rewire(self, party: Party, media: WebSocketMedia) -> None:
        self._attempt(lambda interpreter: interpreter.rewire(party, media))

    def start(self) -> None:
        self._attempt(lambda interpreter: interpreter.start())

    def key(self, party: Party, digit: str) -> None:
        self._attempt(lambda interpreter: interpreter.key(party, digit))

    async def say(self, party: Party, prompt: str, media: WebSocketMedia | None, timeout_s: float) -> None:
        """Returns when the party has heard the prompt, or cannot hear it."""
        if self._interpreter is None or media is None:
            return
        saying = asyncio.ensure_future(self._interpreter.say(party, prompt))
        deaf = asyncio.ensure_future(media.closed.wait())
        try:
            await asyncio.wait({saying, deaf}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if saying.done():
                saying.result()
            elif not deaf.done():
                log.warning("prompt did not end", extra={"party": party, "prompt": prompt, "after_s": timeout_s})
                self._fallback("prompt-not-played")
        except Exception as error:
            log.error("prompt not played", exc_info=error, extra={"party": party, "prompt": prompt})
            self._fallback("prompt-not-played")
        finally:
            await _cancel_and_wait(saying, deaf)

    async def stop(self) -> None:
        """May be called again; then only what was made since is stopped."""
        interpreter, self._interpreter = self._interpreter, None
        if interpreter is None:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await interpreter.stop()
        except Exception as error:
            log.error("interpreter did not stop", exc_info=error)

    def _attempt(self, action: Callable[[Interpreter], None]) -> None:
        if self._interpreter is None:
            return
        try:
            action(self._interpreter)
        except Exception as error:
            log.error("the interpreter broke", exc_info=error)
            self._unavailable("it broke")


async def _cancel_and_wait(*futures: asyncio.Future[Any]) -> None:
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)
