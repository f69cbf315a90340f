"""One direction of a call: from what a party says to what the other one hears.

The clock tells of speech. While it goes on, partial decodes commit what is certain, and each committed segment is rendered at
once. In every pause the final decode and its rendition are begun on the chance that the utterance is over, so that at the end
of it the audio is there. Whatever is to be played waits in order behind what was said before.
"""

from __future__ import annotations

import asyncio
import logging

from appliance.interpreter.confidence import Evidence, is_silence, recognised, refusal
from appliance.interpreter.delivery import Delivery
from appliance.interpreter.events import LaneName, PartialRecognised, Party, StageDelays, UtteranceInterpreted
from appliance.interpreter.hearing import Ahead, Decoded, Hearing
from appliance.interpreter.leg import Leg
from appliance.interpreter.models_protocol import Samples
from appliance.interpreter.recogniser import Recogniser
from appliance.interpreter.refusals import Refusals
from appliance.interpreter.rendition import Rendition, Result, Segment, Timeline
from appliance.interpreter.scope import CallScope
from appliance.interpreter.segment import agreement, prefix_agreement, sentences
from appliance.interpreter.tasks import Tasks
from appliance.modelserver.errors import ModelServerError, TimedOut
from appliance.speech.endpoint import Heard
from appliance.speech.listen import ListenEvent, SpeechEnded, SpeechPaused, SpeechResumed, SpeechStarted, Utterance
from appliance.speech.vad import RATE

log = logging.getLogger(__name__)

_UNDECIDED_S = 3.0
"""What was said in an open language waits so long for more speech to decide it; then the caller is asked."""


class Lane:
    """From `speaker` to `listener`; `start` it once both are attached."""

    def __init__(self, name: LaneName, scope: CallScope) -> None:
        self.name = name
        self.speaker: Party = "caller" if name == "caller_to_agent" else "agent"
        self.listener: Party = "agent" if self.speaker == "caller" else "caller"
        self.last_utterance: Utterance | None = None
        """The last one that was understood, with its audio."""
        self._scope = scope
        self._recogniser = Recogniser(self.speaker, scope)
        self._tasks = Tasks(f"{scope.call_id} {name}")
        self._refusals = Refusals(self.speaker, scope, self._recogniser.doubt)
        self._delivery = Delivery(name, self.listener, scope, self._refusals.told)
        self._hearing: Hearing | None = None
        self._utterances = 0
        self._running = False

    def start(self) -> None:
        self._running = True
        self._tasks.start(self._delivery.run(), "play")

    async def stop(self) -> None:
        """End all work; what was queued and never begun is published as failed."""
        self._running = False
        await self._tasks.stop()
        self._delivery.close()

    @property
    def tasks(self) -> int:
        return len(self._tasks)

    def repeat(self) -> bool:
        """Play the last translation again; False when there is none."""
        return self._delivery.repeat()

    def on_started(self, key: str, now_s: float) -> None:
        """The listener's leg sends the first frame of a translation."""
        self._delivery.on_started(key, now_s)

    def on_ended(self, key: str) -> None:
        """The listener has heard a translation to its end."""
        self._delivery.on_ended(key)

    # What the speaker's leg tells

    def on_listen(self, leg: Leg, events: list[ListenEvent], now_s: float) -> None:
        if not self._running:
            return
        for event in events:
            match event:
                case SpeechStarted(at_s=at_s):
                    self._begin(at_s)
                case SpeechPaused(samples=samples):
                    self._paused(leg, samples, now_s)
                case SpeechResumed():
                    if self._hearing is not None:
                        self._hearing.drop_ahead()
                case SpeechEnded(utterance=utterance):
                    self._ended(leg, utterance, now_s)
        if leg.listener.speaking:
            hearing = self._hearing or self._begin(now_s)
            due = now_s - hearing.partial_at_s >= self._scope.config.recognise.partial_every_s
            if due and not hearing.paused and (hearing.partial is None or hearing.partial.done()):
                self._start_partial(leg, hearing, now_s)

    def _begin(self, at_s: float) -> Hearing:
        self._utterances += 1
        self._hearing = Hearing(self._utterances, at_s, partial_at_s=at_s)
        if self.speaker == "caller" and self._scope.first_speech_s is None:
            self._scope.first_speech_s = at_s
        return self._hearing

    def _start_partial(self, leg: Leg, hearing: Hearing, now_s: float) -> None:
        pcm = leg.listener.audio_so_far()
        hearing.partial_at_s = now_s
        if leg.echoes(pcm, now_s - len(pcm) / RATE, now_s):
            return
        if leg.playout.playing == "prompt":
            self._scope.flush_prompts(self.speaker)
        hearing.partial = self._tasks.start(self._partial(hearing, pcm, now_s), f"partial {hearing.number}")

    def _paused(self, leg: Leg, samples: int, now_s: float) -> None:
        hearing = self._hearing
        if hearing is None:
            return
        pcm = leg.listener.audio_so_far()[:samples]
        if leg.echoes(pcm, now_s - len(pcm) / RATE, now_s):
            return
        hearing.ahead_samples = samples
        hearing.ahead = self._tasks.start(self._work_ahead(leg, hearing, pcm, now_s), f"ahead {hearing.number}")

    def _ended(self, leg: Leg, utterance: Utterance, now_s: float) -> None:
        hearing = self._hearing or self._begin(utterance.started_s)
        self._hearing = None
        hearing.over = True
        if hearing.ahead is not None and hearing.ahead_samples != len(utterance.audio):
            hearing.drop_ahead()
        if leg.echoes(utterance.audio, utterance.audio_s, now_s):
            hearing.drop_ahead()
            self._publish_nothing(hearing, utterance, Result("silence", "echo"))
            return
        self._delivery.put(self._tasks.start(self._conclude(hearing, utterance), f"conclude {hearing.number}"))

    # Understanding

    async def _partial(self, hearing: Hearing, pcm: Samples, now_s: float) -> None:
        try:
            decoded = await self._recogniser.decode(pcm, partial=True)
        except ModelServerError as error:
            log.debug("no partial decode: %s", error)
            return
        if hearing.over or not decoded.text:
            return
        hearing.partial_text = decoded.text
        scope = self._scope
        scope.publish(
            PartialRecognised(call_id=scope.call_id, at=scope.wall(), lane=self.name, utterance=hearing.number, text=decoded.text)
        )
        source = self._recogniser.hear(hearing.number, decoded, final=False)
        if source is None or hearing.paused or not self._recogniser.is_in(decoded, source):
            return
        confidence = recognised(_evidence(decoded))
        if refusal(self._scope.config, confidence):
            return
        for text in hearing.commit.update(decoded.text):
            self._delivery.put(self._render(hearing, text, source, False, confidence, Timeline(now_s, now_s, list(decoded.spans))))

    async def _work_ahead(self, leg: Leg, hearing: Hearing, pcm: Samples, paused_s: float) -> Ahead:
        decoded = await self._recogniser.decode(pcm)
        if not hearing.over:
            leg.listener.heard(Heard(decoded.text, agreement(decoded.text, hearing.partial_text) == 1.0))
        source = self._recogniser.preview(decoded)
        confidence = recognised(_evidence(decoded, hearing.partial_text))
        if source is None or not self._recogniser.is_in(decoded, source) or refusal(self._scope.config, confidence):
            return Ahead(decoded, "", "", [])
        timeline = Timeline(paused_s, paused_s, list(decoded.spans))
        renditions = self._render_rest(hearing, decoded, source, confidence, timeline)
        return Ahead(decoded, source, self._target(), renditions)

    async def _conclude(self, hearing: Hearing, utterance: Utterance) -> list[Rendition]:
        """Everything of the utterance that was not handed out yet."""
        try:
            ahead = await _worked(hearing.ahead)
            decoded = ahead.decoded if ahead is not None else await self._recogniser.decode(utterance.audio)
            if is_silence(_evidence(decoded)):
                self._publish_nothing(hearing, utterance, Result("silence", "no-speech"))
                return []
            source = self._recogniser.hear(hearing.number, decoded, final=True)
            if source is None:
                source = await self._until_known()
            if not self._recogniser.is_in(decoded, source):
                decoded = await self._recogniser.decode(utterance.audio, language=source)
        except ModelServerError as error:
            result = Result("failed", f"{error.kind}-{type(error).__name__.lower()}")
            self._publish_nothing(hearing, utterance, result)
            self._refusals.told(result)
            return []
        confidence = recognised(_evidence(decoded, hearing.partial_text))
        reason = refusal(self._scope.config, confidence)
        if reason:
            _cancel(ahead)
            result = Result("refused", reason, "", confidence)
            self._publish_nothing(hearing, utterance, result, decoded.text)
            self._refusals.told(result)
            return []
        self.last_utterance = utterance
        if ahead is not None and ahead.renditions and (ahead.source, ahead.target) == (source, self._target()):
            for rendition in ahead.renditions:
                rendition.segment.timeline.ended_s = utterance.ended_s
                rendition.segment.timeline.decided_s = utterance.decided_s
            return ahead.renditions
        _cancel(ahead)
        timeline = Timeline(utterance.ended_s, utterance.decided_s, list(decoded.spans))
        renditions = self._render_rest(hearing, decoded, source, confidence, timeline)
        if not renditions:
            self._publish_nothing(hearing, utterance, Result("silence", "nothing-left"))
        return renditions

    async def _until_known(self) -> str:
        """The speaker's language, once there is one: by what he says next, by a key, or by the default."""
        known = self._scope.known
        leg = self._scope.legs.get(self.speaker)
        while not known.is_set():
            try:
                await asyncio.wait_for(known.wait(), _UNDECIDED_S)
            except TimeoutError:
                if leg is None or not leg.listener.speaking:
                    self._scope.ask_language()
        return self._recogniser.source

    def _target(self) -> str:
        return "hinglish" if self.speaker == "caller" else self._scope.identifier.guess

    def _render_rest(self, hearing: Hearing, decoded: Decoded, source: str, confidence: float, timeline: Timeline) -> list[Rendition]:
        texts = sentences(hearing.commit.rest(decoded.text))
        return [
            self._render(
                hearing,
                text,
                source,
                index == len(texts),
                confidence,
                Timeline(timeline.ended_s, timeline.decided_s, list(timeline.spans)),
                number=hearing.segments + index,
            )
            for index, text in enumerate(texts, 1)
        ]

    def _render(
        self, hearing: Hearing, text: str, source: str, last: bool, confidence: float, timeline: Timeline, number: int = 0
    ) -> Rendition:
        if not number:
            hearing.segments += 1
        segment = Segment(
            lane=self.name,
            utterance=hearing.number,
            number=number or hearing.segments,
            last=last,
            text=text,
            source=source,
            target=self._target(),
            confidence=confidence,
            started_s=hearing.started_s,
            timeline=timeline,
        )
        return Rendition(self._scope, segment, self._tasks)

    def _publish_nothing(self, hearing: Hearing, utterance: Utterance, result: Result, text: str = "") -> None:
        """Tell of an utterance, or of the rest of one, that nobody will hear."""
        scope = self._scope
        scope.publish(
            UtteranceInterpreted(
                call_id=scope.call_id,
                at=scope.wall(),
                lane=self.name,
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
    return Evidence(decoded.text, transcript.avg_logprob, transcript.no_speech_prob, confirmed)


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
