"""One segment on its way from text to audio: translate, check, speak clause by clause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

from appliance.events import LaneName, StageDelays, UtteranceInterpreted
from appliance.interpreter.confidence import Evidence
from appliance.interpreter.guards import flaw
from appliance.interpreter.models_protocol import Samples
from appliance.interpreter.scope import CallScope, ask
from appliance.interpreter.segment import clauses
from appliance.interpreter.tasks import Tasks
from appliance.modelserver.errors import ModelServerError

Stage = Literal["recognise", "identify", "translate", "render", "speak"]
Outcome = Literal["interpreted", "refused", "failed", "silence"]


@dataclass(slots=True)
class Timeline:
    """When a segment's stages ran, by the media clock."""

    ended_s: float
    """End of the speech."""
    decided_s: float
    """When it was clear that it had ended; what ran before that cost the listener nothing."""
    spans: list[tuple[Stage, float, float]] = field(default_factory=list)

    def delays(self, played_s: float) -> StageDelays:
        """Stages after the decision, for audio whose first frame was sent at `played_s`."""
        sums: dict[str, float] = {}
        ready_s = self.decided_s
        for stage, start_s, end_s in self.spans:
            sums[stage] = sums.get(stage, 0.0) + max(0.0, end_s - max(start_s, self.decided_s))
            ready_s = max(ready_s, end_s)
        seconds = {stage: round(value, 4) for stage, value in sums.items()}
        return StageDelays(
            endpoint_wait=round(self.decided_s - self.ended_s, 4),
            play=round(max(0.0, played_s - ready_s), 4),
            total=round(max(0.0, played_s - self.ended_s), 4),
            **seconds,
        )


@dataclass(frozen=True, slots=True)
class Segment:
    """What is to be interpreted."""

    lane: LaneName
    utterance: int
    number: int
    last: bool
    text: str
    source: str
    target: str
    """Language codes."""
    seen: Evidence
    """What the recogniser says of the decode it comes from."""
    started_s: float
    timeline: Timeline


@dataclass(frozen=True, slots=True)
class Result:
    outcome: Outcome
    reason: str = ""
    translated: str = ""
    confidence: float = 0.0


class Rendition:
    """Starts at once; `result` is there with the first audio or with the reason why there is none."""

    def __init__(self, scope: CallScope, segment: Segment, tasks: Tasks) -> None:
        self.segment = segment
        self.cut_short = False
        """Whether a later clause could not be spoken; known once `audio` has ended."""
        self._scope = scope
        self._result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._chunks: asyncio.Queue[Samples | None] = asyncio.Queue()
        self._task = tasks.start(self._run(), f"render {segment.utterance}.{segment.number}")
        self._task.add_done_callback(self._finish)

    async def result(self) -> Result:
        return await asyncio.shield(self._result)

    async def audio(self) -> AsyncIterator[Samples]:
        """Clauses as they are ready, 16 kHz; to be read once."""
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._task.cancel()

    def event(self, result: Result, delays: StageDelays) -> UtteranceInterpreted:
        segment, scope = self.segment, self._scope
        return UtteranceInterpreted(
            call_id=scope.call_id,
            at=scope.wall(),
            lane=segment.lane,
            utterance=segment.utterance,
            segment=segment.number,
            last_segment=segment.last,
            started_s=round(segment.started_s - scope.answered_s, 3),
            ended_s=round(segment.timeline.ended_s - scope.answered_s, 3),
            source_language=segment.source,
            target_language=segment.target,
            recognised=segment.text,
            translated=result.translated if result.outcome != "refused" else "",
            confidence=round(result.confidence, 4),
            outcome=result.outcome,
            reason=result.reason,
            delays=delays,
        )

    def _finish(self, task: asyncio.Task[None]) -> None:
        if not self._result.done():
            broken = not task.cancelled() and task.exception() is not None
            self._result.set_result(Result("failed", "internal-error" if broken else "given-up"))
        self._chunks.put_nowait(None)

    async def _run(self) -> None:
        text = ""
        try:
            text, confidence, reason = await self._translate()
            if reason:
                self._result.set_result(Result("refused", reason, text, confidence))
                return
            await self._speak(text, confidence)
        except ModelServerError as error:
            if self._result.done():
                self.cut_short = True
            else:
                self._result.set_result(Result("failed", f"{error.kind}-{type(error).__name__.lower()}", text))

    async def _translate(self) -> tuple[str, float, str]:
        """Text, confidence, and why it must not be spoken."""
        segment, scope = self.segment, self._scope
        text, score = segment.text, 0.0
        if segment.source != segment.target:
            timeout_s = scope.config.translate.timeout_s
            start_s = scope.now()
            answer = await ask(lambda: scope.models.translate(segment.text, segment.source, segment.target, timeout_s))
            end_s = scope.now()
            segment.timeline.spans.append(("translate", start_s, end_s))
            text, score = answer.text.strip(), answer.score
            if segment.target == "hinglish":
                text = scope.hinglish.canonical(text)
                segment.timeline.spans.append(("render", end_s, scope.now()))
        wrong = flaw(segment.text, text, segment.target)
        return text, scope.belief.overall(segment.seen, score, wrong), scope.belief.refusal(segment.seen, score, wrong)

    async def _speak(self, text: str, confidence: float) -> None:
        segment, scope = self.segment, self._scope
        timeout_s = scope.config.speak.timeout_s
        for clause in clauses(text):
            start_s = scope.now()
            audio = await ask(lambda clause=clause: scope.models.speak(clause, segment.target, timeout_s))  # type: ignore[misc]
            if not self._result.done():
                segment.timeline.spans.append(("speak", start_s, scope.now()))
                self._result.set_result(Result("interpreted", "", text, confidence))
            self._chunks.put_nowait(audio)
        if not self._result.done():
            self._result.set_result(Result("refused", "nothing-to-speak", text, confidence))
