"""Speech through the active engines, judged as a call judges it: recognised, its language found, translated, refused or not."""

from __future__ import annotations

import time
from dataclasses import dataclass

from appliance.config.schema import Config
from appliance.evaluation import audio
from appliance.evaluation.manifest import SpokenRow
from appliance.evaluation.results import Outcome
from appliance.evaluation.translation import Translated, Translator
from appliance.interpreter.belief import Belief
from appliance.interpreter.confidence import Evidence, is_silence, is_wordless
from appliance.interpreter.hinglish import Hinglish
from appliance.interpreter.identify import CODES, Identifier, Observation
from appliance.interpreter.models_protocol import Models, Samples
from appliance.interpreter.segment import prefix_agreement
from appliance.modelserver.messages import Transcript
from appliance.text.languages import HINGLISH, language

PARTIAL_SHARE = 0.7
"""Of the audio is given to the partial decode that the final one is compared with."""
TIMEOUT_S = 60.0
"""For one request: an evaluation measures slowness, it does not give up on it."""


@dataclass(frozen=True, slots=True)
class Listening:
    models: Models
    config: Config
    belief: Belief
    hinglish: Hinglish
    line: audio.Line
    held: bool
    """Tell the recogniser the language, as a call does with an agent, and with a caller once it is settled."""
    translate: bool
    """Translate what is recognised, too, where the manifest says into which language."""

    async def outcome(self, row: SpokenRow) -> Outcome:
        """Raises: EvaluationError for its audio, ModelServerError."""
        samples, rate = audio.read(row.audio)
        heard = self.line.heard(samples, rate, row.line)
        code = language(row.language).recogniser_code
        began = time.monotonic()
        transcript = await self.models.transcribe(
            heard, language=code if self.held else None, languages=() if self.held else CODES, timeout_s=TIMEOUT_S
        )
        text = self.hinglish.canonical(transcript.text) if row.language == HINGLISH.code else transcript.text.strip()
        found = None if self.held else await self._language(transcript, text, len(heard) / audio.RATE)
        latency_s = time.monotonic() - began
        confirmed = prefix_agreement(await self._partial(heard, transcript.language), text)
        evidence = Evidence(text, transcript.avg_logprob, transcript.no_speech_prob, confirmed, transcript.agreement, transcript.empty_prob)
        translation = Translated()
        if self.translate and row.target_language and not is_wordless(evidence):
            began = time.monotonic()
            source = row.language if found in (None, code) else str(found)
            translation = await Translator(self.models, self.hinglish).translate(text, source, row.target_language)
            latency_s += time.monotonic() - began
        reason = self._reason(evidence, translation)
        return Outcome(
            line=row.line,
            group=row.language,
            in_domain=bool(row.text),
            reference=row.text,
            hypothesis=text,
            values=row.values,
            translation_reference=row.reference if self.translate else "",
            translation=translation.text,
            translation_values=row.target_values if self.translate else (),
            language=code,
            language_found=found,
            refused=bool(reason),
            reason=reason,
            audio_s=round(len(heard) / audio.RATE, 3),
            latency_s=round(latency_s, 4),
            compute_s=round(transcript.compute_s + translation.compute_s, 4),
            avg_logprob=transcript.avg_logprob,
            no_speech_prob=transcript.no_speech_prob,
            agreement=transcript.agreement,
            empty_prob=transcript.empty_prob,
            partial_agreement=1.0 if confirmed is None else confirmed,
            translation_score=translation.score,
            translation_flaw=translation.flaw,
        )

    async def _partial(self, heard: Samples, code: str) -> str:
        """What a call would have recognised shortly before the end of the speech."""
        begun = heard[: round(len(heard) * PARTIAL_SHARE)]
        return (await self.models.transcribe(begun, language=code, partial=True, timeout_s=TIMEOUT_S)).text

    async def _language(self, transcript: Transcript, text: str, seconds: float) -> str:
        """What a call would take the language for after this one utterance of a caller it never heard."""
        written = dict((await self.models.identify(text, TIMEOUT_S)).scores) if text else {}
        identifier = Identifier(self.config.identify)
        identifier.hear(1, Observation(transcript.language_scores, written, text, seconds))
        return identifier.guess

    def _reason(self, evidence: Evidence, translation: Translated) -> str:
        if is_silence(evidence):
            return "silence"
        return self.belief.refusal(evidence, translation.score, translation.flaw)
