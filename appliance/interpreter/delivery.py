"""The listener's end of a lane: renditions in the order in which they were said, each told about as it is heard."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

import numpy as np

from appliance.events import LaneName, Party, StageDelays, UtterancePlayed
from appliance.interpreter.models_protocol import Samples
from appliance.interpreter.rendition import Rendition, Result, Segment
from appliance.interpreter.scope import CallScope
from appliance.speech.vad import RATE
from appliance.telemetry import metrics

log = logging.getLogger(__name__)

Entry = asyncio.Task[list[Rendition]] | Rendition
"""A segment, or an utterance whose segments are not known yet."""

_REPEATED = 3
"""Segments of the last utterance kept for a listener who did not catch them."""
HOLD_AFTER_S = 0.8
"""Silence a listener is left in while a model server is being replaced; with the endpoint wait before it, and the word itself, < 2 s."""


class Delivery:
    """Owned by a lane, whose task runs it.

    Args:
        told: called with the result of each segment, before it is played.
    """

    def __init__(self, name: LaneName, listener: Party, scope: CallScope, told: Callable[[Result], None]) -> None:
        self._name = name
        self._listener = listener
        self._scope = scope
        self._told = told
        self._order: asyncio.Queue[Entry] = asyncio.Queue()
        self._queued: dict[str, tuple[Rendition, Result]] = {}  # by key: queued for the listener, not begun
        self._begun: dict[str, Segment] = {}  # by key: begun, not heard to the end
        self._last_audio: deque[Samples] = deque(maxlen=_REPEATED)
        self._last_utterance = 0
        self._undelivered = 0
        self.begun = 0
        """Number of the utterance that the listener began to hear last; 0 before the first."""
        self._silent_s: float | None = None  # since when the listener hears nothing, while that is watched

    @property
    def busy(self) -> bool:
        """Whether something was put that is not yet queued for the listener, or given up."""
        return self._undelivered > 0

    def bridge_wait(self, late: bool) -> None:
        """To be called several times a second: a listener who waits in silence is told that somebody is at work.

        Args:
            late: whether a model server is in trouble; an ordinary wait is not worth a word.
        """
        if not self.busy:
            self._silent_s = None
            return
        scope = self._scope
        leg, speaker = scope.legs.get(self._listener), scope.legs.get("agent" if self._listener == "caller" else "caller")
        speaking = speaker is not None and speaker.listener.speaking  # which is heard underneath
        if leg is None or leg.lost or leg.playout.queued_s or speaking:
            self._silent_s = None
        elif self._silent_s is None:
            self._silent_s = scope.now()
        elif late and scope.now() - self._silent_s >= HOLD_AFTER_S:
            self._silent_s = None
            metrics.FALLBACKS.labels(metrics.label("reason", "one-moment")).inc()
            scope.say(self._listener, "one_moment")

    def put(self, entry: Entry) -> None:
        """What is to be heard next."""
        self._undelivered += 1
        self._order.put_nowait(entry)

    async def run(self) -> None:
        """Play for ever."""
        while True:
            entry = await self._order.get()
            try:
                await self._play(entry)
            finally:
                self._undelivered -= 1

    def close(self) -> None:
        """Publish what was queued and never begun."""
        for rendition, result in self._queued.values():
            self._scope.publish(rendition.event(Result("failed", "call-ended", result.translated, result.confidence), StageDelays()))
        self._queued.clear()

    def repeat(self) -> bool:
        """Play the last utterance again; False when there is none, or as much as that is waiting to be played."""
        leg = self._scope.legs.get(self._listener)
        if leg is None or not self._last_audio:
            return False
        if leg.playout.queued_s >= sum(len(audio) for audio in self._last_audio) / RATE:
            return False
        for audio in self._last_audio:
            leg.playout.add("translation", audio)
        return True

    def on_started(self, key: str, now_s: float) -> None:
        """The first frame of a segment was sent."""
        rendition, result = self._queued.pop(key, (None, None))
        if rendition is None or result is None:
            return
        self._begun[key] = rendition.segment
        self.begun = rendition.segment.utterance
        self._scope.publish(rendition.event(result, rendition.segment.timeline.delays(now_s)))

    def on_ended(self, key: str) -> None:
        """The listener has heard a segment to its end."""
        segment = self._begun.pop(key, None)
        if segment is None:
            return
        scope = self._scope
        played = UtterancePlayed(
            call_id=scope.call_id, at=scope.wall(), lane=self._name, utterance=segment.utterance, segment=segment.number
        )
        scope.publish(played)

    async def _play(self, entry: Entry) -> None:
        try:
            renditions = [entry] if isinstance(entry, Rendition) else await entry
        except Exception:  # noqa: BLE001 - logged by its owner; the lane goes on with the next utterance
            self._told(Result("failed", "internal-error"))
            return
        for rendition in renditions:
            try:
                await self._deliver(rendition)
            except Exception:
                log.exception("a translation could not be played", extra={"call": self._scope.call_id, "lane": self._name})
                self._told(Result("failed", "internal-error"))

    async def _deliver(self, rendition: Rendition) -> None:
        scope, segment = self._scope, rendition.segment
        result = await rendition.result()
        leg = scope.legs.get(self._listener)
        if result.outcome == "interpreted" and (leg is None or leg.lost):
            result = Result("failed", "no-listener", result.translated, result.confidence)
        self._told(result)
        if result.outcome != "interpreted" or leg is None:
            scope.publish(rendition.event(result, StageDelays()))
            return
        key = f"{self._name[0]}{segment.utterance}.{segment.number}"
        self._queued[key] = (rendition, result)
        if segment.utterance != self._last_utterance:
            self._last_utterance = segment.utterance
            self._last_audio.clear()
        pieces: list[Samples] = []
        async for audio in rendition.audio():
            leg.playout.add("translation", audio, started="" if pieces else key)
            pieces.append(audio)
        leg.playout.add("translation", np.zeros(0, np.int16), ended=key)
        self._last_audio.append(np.concatenate(pieces))
        if rendition.cut_short:
            self._told(Result("failed", "speech-cut-short"))
