"""What the parts of one call share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from appliance.config.schema import Config
from appliance.events import Event, LanguageDecided, Party
from appliance.interpreter.belief import Belief
from appliance.interpreter.hinglish import Hinglish
from appliance.interpreter.identify import Decided, Identifier
from appliance.interpreter.leg import Leg
from appliance.interpreter.models_protocol import Models
from appliance.interpreter.outage import Outage
from appliance.modelserver.errors import ModelServerError, TimedOut

RETRY_WAIT_S = 0.1

Answer = TypeVar("Answer")


@dataclass(slots=True)
class CallScope:
    call_id: str
    config: Config
    belief: Belief
    models: Models
    hinglish: Hinglish
    identifier: Identifier
    publish: Callable[[Event], None]
    now: Callable[[], float]
    """Seconds of the media clock."""
    say: Callable[[Party, str], None]
    """Play a prompt in the party's language."""
    flush_prompts: Callable[[Party], None]
    """The party talks: stop what the appliance says to it, the keypad menu excepted."""
    ask_language: Callable[[], None]
    """Have the caller press a key for the language."""
    lost: Callable[[str], None]
    """Interpretation is not possible any more."""
    servers_out: Callable[[], str] = lambda: ""
    """Kinds of model servers none of which may be asked, as far as that is known."""
    outage: Outage = field(default_factory=Outage)
    legs: dict[Party, Leg] = field(default_factory=dict)
    answered_s: float = 0.0
    """When the call began, by the media clock."""
    first_speech_s: float | None = None
    """When the caller was first heard to speak."""
    known: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the caller's language is decided."""

    @staticmethod
    def wall() -> float:
        """Seconds since the epoch, for events."""
        return time.time()

    def decided(self, verdict: Decided) -> None:
        """Tell everybody what the caller speaks."""
        self.known.set()
        if not verdict.changed:
            return
        since = self.first_speech_s if self.first_speech_s is not None else self.now()
        self.publish(
            LanguageDecided(
                call_id=self.call_id,
                at=self.wall(),
                language=verdict.language,
                confidence=round(verdict.confidence, 4),
                after_s=round(max(0.0, self.now() - since), 3),
                votes=self.identifier.votes,
                how=verdict.how,
            )
        )

    def worked(self) -> None:
        self.outage.worked()

    def failed(self, reason: str) -> None:
        """An utterance, or a segment of one, could not be interpreted for want of a model."""
        out = self.servers_out()
        if self.outage.failed(self.now(), bool(out)):
            self.lost(f"no {out} server" if out else reason)


async def ask(request: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask a model server, a second time if it says that this can help; after a time-out nobody would wait for the answer.

    Raises:
        ModelServerError: of the last attempt.
    """
    try:
        return await request()
    except TimedOut:
        raise
    except ModelServerError as error:
        if not error.retry:
            raise
    await asyncio.sleep(RETRY_WAIT_S)
    return await request()
