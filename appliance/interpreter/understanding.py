"""What a lane makes of the speech it is given: partial decodes that commit, work ahead in a pause, the end of an utterance."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from appliance.events import LaneName, PartialRecognised, Party, StageDelays, UtteranceInterpreted
from appliance.interpreter.confidence import Evidence, is_silence, is_wordless
from appliance.interpreter.delivery import Entry
from appliance.interpreter.hearing import Ahead, Decoded, Hearing
from appliance.interpreter.leg import Leg
from appliance.interpreter.models_protocol import Samples
from appliance.interpreter.recogniser import Recogniser
from appliance.interpreter.rendition import Rendition, Result, Segment, Timeline
from appliance.interpreter.scope import CallScope
from appliance.interpreter.segment import agreement, prefix_agreement, sentences
from appliance.interpreter.tasks import Tasks
from appliance.modelserver.errors import ModelServerError, TimedOut
from appliance.speech.endpoint import Heard
from appliance.speech.listen import Utterance
from appliance.speech.vad import RATE

log = logging.getLogger(__name__)

_ASKED_FROM_S = 1.0
"""Something of which no word was understood is to be said again only if it was so long: less is a cough or a murmur."""
_RECENT = 4
"""Utterances whose audio is kept: the listener may be as far behind."""
_UNDECIDED_S = 3.0
"""What was said in an open language waits so long for more speech to decide it; then the caller is asked."""


class Understanding:
    """Owned by a lane, whose tasks run its methods.

    Args:
        put: takes what is to be heard next.
        told: called with the result of an utterance that nobody will hear.
    """

    def __init__(
        self,
        name: LaneName,
        speaker: Party,
        scope: CallScope,
        recogniser: Recogniser,
        tasks: Tasks,
        put: Callable[[Entry], None],
        told: Callable[[Result], None],
    ) -> None:
        self.last_utterance: Utterance | None = None
        """The last one that was understood, with its audio."""
        self.recent: dict[int, Utterance] = {}
        """The last few of them, by number."""
        self._name = name
        self._speaker = speaker
        self._scope = scope
        self._recogniser = recogniser
        self._tasks = tasks
        self._put = put
        self._told = told

    async def partial(self, hearing: Hearing, pcm: Samples, now_s: float) -> None:
        """Recognise what was said until `now_s`, and hand out what is certain of it."""
        try:
            decoded = await self._recogniser.decode(pcm, partial=True)
        except ModelServerError as error:
            log.debug("no partial decode: %s", error)
            return
        await self._go_on_from(hearing)
        if hearing.over or not decoded.text:
            return
        hearing.partial_text = decoded.text
        scope = self._scope
        scope.publish(
            PartialRecognised(call_id=scope.call_id, at=scope.wall(), lane=self._name, utterance=hearing.number, text=decoded.text)
        )
        source = self._recogniser.hear(hearing.number, decoded, final=False)
        if source is None or hearing.paused or not self._recogniser.is_in(decoded, source):
            return
        seen = _evidence(decoded)
        if not scope.belief.certain(seen):
            return
        for text in hearing.commit.update(decoded.text):
            self._put(self._render(hearing, text, source, False, seen, Timeline(now_s, now_s, list(decoded.spans))))

    async def work_ahead(self, leg: Leg, hearing: Hearing, pcm: Samples, paused_s: float) -> Ahead:
        """Everything up to the audio, as if the utterance ended here. Raises: ModelServerError."""
        decoded = await self._recogniser.decode(pcm)
        if not hearing.over:
            leg.listener.heard(Heard(decoded.text, agreement(decoded.text, hearing.partial_text) == 1.0))
        source = self._recogniser.preview(decoded)
        seen = _evidence(decoded, hearing.partial_text)
        if source is None or not self._recogniser.is_in(decoded, source) or self._scope.belief.refusal(seen):
            return Ahead(decoded, "", "", [])
        await self._go_on_from(hearing)
        timeline = Timeline(paused_s, paused_s, list(decoded.spans))
        renditions = self._render_rest(hearing, decoded, source, seen, timeline)
        return Ahead(decoded, source, self._target(), renditions)

    async def conclude(self, hearing: Hearing, utterance: Utterance) -> list[Rendition]:
        """Everything of the utterance that was not handed out yet."""
        try:
            return await self._conclude(hearing, utterance)
        finally:
            hearing.left_known.set()

    async def _conclude(self, hearing: Hearing, utterance: Utterance) -> list[Rendition]:
        try:
            ahead = await _worked(hearing.ahead)
            decoded = ahead.decoded if ahead is not None else await self._recogniser.decode(utterance.audio)
            await self._go_on_from(hearing)
            if utterance.cut:
                hearing.left = hearing.commit.beyond(decoded.text)
                hearing.left_known.set()
            if _is_nothing(_evidence(decoded), utterance):
                self.nothing(hearing, utterance, Result("silence", "no-speech"))
                return []
            source = self._recogniser.hear(hearing.number, decoded, final=True)
            if source is None:
                source = await self._until_known()
            if not self._recogniser.is_in(decoded, source):
                decoded = await self._recogniser.decode(utterance.audio, language=source)
        except ModelServerError as error:
            result = Result("failed", f"{error.kind}-{type(error).__name__.lower()}")
            self.nothing(hearing, utterance, result)
            self._told(result)
            return []
        seen = _evidence(decoded, hearing.partial_text)
        belief = self._scope.belief
        if reason := belief.refusal(seen):
            _cancel(ahead)
            result = Result("refused", reason, "", belief.recognised(seen))
            self.nothing(hearing, utterance, result, decoded.text)
            self._told(result)
            return []
        self.last_utterance = self.recent[hearing.number] = utterance
        if len(self.recent) > _RECENT:
            del self.recent[next(iter(self.recent))]
        if ahead is not None and ahead.renditions and (ahead.source, ahead.target) == (source, self._target()):
            for rendition in ahead.renditions:
                rendition.segment.timeline.ended_s = utterance.ended_s
                rendition.segment.timeline.decided_s = utterance.decided_s
            return ahead.renditions
        _cancel(ahead)
        timeline = Timeline(utterance.ended_s, utterance.decided_s, list(decoded.spans))
        renditions = self._render_rest(hearing, decoded, source, seen, timeline)
        if not renditions:
            self.nothing(hearing, utterance, Result("silence", "nothing-left"))
        return renditions

    async def _go_on_from(self, hearing: Hearing) -> None:
        """Where the utterance was cut from one before: know what of it was handed out already."""
        before = hearing.cut_from
        if before is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._scope.config.recognise.timeout_s):
                await before.left_known.wait()
        if hearing.cut_from is before:
            hearing.cut_from = None
            hearing.commit.carry(before.left)

    async def _until_known(self) -> str:
        """The speaker's language, once there is one: by what he says next, by a key, or by the default."""
        known = self._scope.known
        leg = self._scope.legs.get(self._speaker)
        while not known.is_set():
            try:
                await asyncio.wait_for(known.wait(), _UNDECIDED_S)
            except TimeoutError:
                if leg is None or not leg.listener.speaking:
                    self._scope.ask_language()
        return self._recogniser.source

    def _target(self) -> str:
        return "hinglish" if self._speaker == "caller" else self._scope.identifier.guess

    def _render_rest(self, hearing: Hearing, decoded: Decoded, source: str, seen: Evidence, timeline: Timeline) -> list[Rendition]:
        texts = sentences(hearing.commit.rest(decoded.text))
        return [
            self._render(
                hearing,
                text,
                source,
                index == len(texts),
                seen,
                Timeline(timeline.ended_s, timeline.decided_s, list(timeline.spans)),
                number=hearing.segments + index,
            )
            for index, text in enumerate(texts, 1)
        ]

    def _render(
        self, hearing: Hearing, text: str, source: str, last: bool, seen: Evidence, timeline: Timeline, number: int = 0
    ) -> Rendition:
        if not number:
            hearing.segments += 1
        segment = Segment(
            lane=self._name,
            utterance=hearing.number,
            number=number or hearing.segments,
            last=last,
            text=text,
            source=source,
            target=self._target(),
            seen=seen,
            started_s=hearing.started_s,
            timeline=timeline,
        )
        return Rendition(self._scope, segment, self._tasks)

    def nothing(self, hearing: Hearing, utterance: Utterance, result: Result, text: str = "") -> None:
        """Tell of an utterance, or of the rest of one, that nobody will hear."""
        scope = self._scope
        scope.publish(
            UtteranceInterpreted(
                call_id=scope.call_id,
                at=scope.wall(),
                lane=self._name,
                utterance=hearing.number,
                segment=hearing.segments + 1,
                last_segment=True,
                started_s=round(utterance.started_s - scope.answered_s, 3),
                ended_s=round(utterance.ended_s - scope.answered_s, 3),
                source_language=self._recogniser.source,
                target_language=self._target(),
                recognised=text,
                translated="",
                confidence=round(result.confidence, 4),
                outcome=result.outcome,
                reason=result.reason,
                delays=StageDelays(endpoint_wait=round(utterance.decided_s - utterance.ended_s, 4)),
            )
        )


def _evidence(decoded: Decoded, partial: str = "") -> Evidence:
    transcript = decoded.transcript
    confirmed = prefix_agreement(partial, decoded.text) if partial else None
    return Evidence(decoded.text, transcript.avg_logprob, transcript.no_speech_prob, confirmed, transcript.agreement, transcript.empty_prob)


def _is_nothing(seen: Evidence, utterance: Utterance) -> bool:
    return is_silence(seen) or (is_wordless(seen) and len(utterance.audio) < _ASKED_FROM_S * RATE)


async def _worked(ahead: asyncio.Task[Ahead] | None) -> Ahead | None:
    """What was done ahead; None when there was nothing or another attempt may do better.

    Raises:
        ModelServerError: another attempt would not.
    """
    if ahead is None:
        return None
    try:
        return await ahead
    except ModelServerError as error:
        if not error.retry or isinstance(error, TimedOut):
            raise
        return None


def _cancel(ahead: Ahead | None) -> None:
    for rendition in ahead.renditions if ahead is not None else ():
        rendition.cancel()
