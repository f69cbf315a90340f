"""One utterance while it is heard and understood: what is known of it so far."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from appliance.interpreter.commit import CommitPolicy
from appliance.interpreter.identify import Observation
from appliance.interpreter.rendition import Rendition, Stage
from appliance.modelserver.messages import Transcript


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decode of a whole utterance."""

    transcript: Transcript
    text: str
    """Canonical."""
    seen: Observation | None
    """What it says about the language; None when the recogniser was held to one."""
    spans: tuple[tuple[Stage, float, float], ...]


@dataclass(frozen=True, slots=True)
class Ahead:
    """What was done in a pause on the chance that the utterance ends with it."""

    decoded: Decoded
    source: str
    target: str
    """Language codes it was rendered in; empty when the language was open or it was not clear enough."""
    renditions: list[Rendition]


@dataclass(slots=True)
class Hearing:
    number: int
    """Of the utterance in its lane, from 1."""
    started_s: float
    commit: CommitPolicy = field(default_factory=CommitPolicy)
    segments: int = 0
    """Handed out so far."""
    partial: asyncio.Task[None] | None = None
    partial_text: str = ""
    partial_at_s: float = 0.0
    """When the last one was begun."""
    ahead: asyncio.Task[Ahead] | None = None
    ahead_samples: int = 0
    over: bool = False
    cut_from: Hearing | None = None
    """What it was part of until that got too long: segments of it may reach into this one."""
    left: tuple[str, ...] = ()
    """Once `left_known`: the committed words that lie behind the place where it was cut."""
    left_known: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def paused(self) -> bool:
        """Nothing is committed in a pause: the work ahead builds on what was committed before it."""
        return self.ahead is not None

    def drop_ahead(self) -> None:
        """The speaker went on."""
        if self.ahead is None:
            return
        ahead, self.ahead, self.ahead_samples = self.ahead, None, 0
        if not ahead.done():
            ahead.cancel()
        elif not ahead.cancelled() and ahead.exception() is None:
            for rendition in ahead.result().renditions:
                rendition.cancel()
