"""What a lane asks the recogniser, and in which language the answer is."""

from __future__ import annotations

from appliance.events import Party
from appliance.interpreter.hearing import Decoded
from appliance.interpreter.identify import CODES, AskKeypad, Decided, Observation
from appliance.interpreter.models_protocol import Samples
from appliance.interpreter.rendition import Stage
from appliance.interpreter.scope import CallScope, ask
from appliance.modelserver.errors import ModelServerError
from appliance.modelserver.messages import Transcript
from appliance.speech.vad import RATE
from appliance.text.languages import HINGLISH, language

_IDENTIFY_TIMEOUT_S = 0.5
"""The opinion of another model on the text is not worth more waiting."""


class Recogniser:
    """Agents are heard in one language; a caller's is told until it is settled."""

    def __init__(self, speaker: Party, scope: CallScope) -> None:
        self._agent = speaker == "agent"
        self._scope = scope
        self._stream = f"{scope.call_id}/{speaker}"

    @property
    def source(self) -> str:
        """The speaker's language, or the best guess."""
        return HINGLISH.code if self._agent else self._scope.identifier.guess

    async def decode(self, pcm: Samples, *, partial: bool = False, language: str = "") -> Decoded:
        """Recognise an utterance.

        Args:
            pcm: 16 kHz.
            partial: it goes on.
            language: code to decode in; else the lane's language once that is settled, else the one it is heard to be.

        Raises:
            ModelServerError: also after a second attempt (a partial decode has one).
        """
        scope = self._scope
        held = language or self._held()
        start_s = scope.now()

        async def request() -> Transcript:
            return await scope.models.transcribe(
                pcm,
                language=_recogniser_code(held) if held else None,
                languages=() if held else CODES,
                partial=partial,
                stream=self._stream,
                timeout_s=scope.config.recognise.timeout_s,
            )

        transcript = await (request() if partial else ask(request))
        end_s = scope.now()
        spans: list[tuple[Stage, float, float]] = [("recognise", start_s, end_s)]
        text = scope.hinglish.canonical(transcript.text) if self._agent else transcript.text.strip()
        seen = None
        if not held:
            written = await self._written(text) if text else {}
            spans.append(("identify", end_s, scope.now()))
            seen = Observation(transcript.language_scores, written, text, len(pcm) / RATE)
        return Decoded(transcript, text, seen, tuple(spans))

    def preview(self, decoded: Decoded) -> str | None:
        """The speaker's language if the utterance ended now; None while that would leave it open."""
        if self._agent or decoded.seen is None:
            return self.source
        return self._scope.identifier.preview(decoded.seen)

    def hear(self, utterance: int, decoded: Decoded, final: bool) -> str | None:
        """Let a decode vote on the caller's language; the language, None while it is open."""
        if self._agent:
            return HINGLISH.code
        identifier = self._scope.identifier
        if decoded.seen is not None:
            verdict = identifier.hear(utterance, decoded.seen, final)
            if isinstance(verdict, Decided):
                self._scope.decided(verdict)
            elif isinstance(verdict, AskKeypad) and not self._speaking():
                self._scope.ask_language()
        return identifier.language

    def is_in(self, decoded: Decoded, code: str) -> bool:
        """Whether a decode was made in this language."""
        return decoded.transcript.language == _recogniser_code(code)

    def doubt(self) -> None:
        if not self._agent:
            self._scope.identifier.doubt()

    def _speaking(self) -> bool:
        leg = self._scope.legs.get("caller")
        return leg is not None and leg.listener.speaking

    def _held(self) -> str:
        if self._agent:
            return HINGLISH.code
        identifier = self._scope.identifier
        return identifier.language or "" if identifier.settled else ""

    async def _written(self, text: str) -> dict[str, float]:
        """Another model's opinion on the writing; none when it cannot be had."""
        try:
            return dict((await self._scope.models.identify(text, _IDENTIFY_TIMEOUT_S)).scores)
        except ModelServerError:
            return {}


def _recogniser_code(code: str) -> str:
    return language(code).recogniser_code
