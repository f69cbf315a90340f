"""Text through the active translator as a call sends it: sentence by sentence, canonical Hinglish, the guards at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass

from appliance.evaluation.manifest import TextRow
from appliance.evaluation.results import Outcome
from appliance.interpreter.belief import Belief
from appliance.interpreter.confidence import Evidence
from appliance.interpreter.guards import flaw
from appliance.interpreter.hinglish import Hinglish
from appliance.interpreter.models_protocol import Models
from appliance.interpreter.segment import sentences
from appliance.text.languages import HINGLISH

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Translated:
    text: str = ""
    score: float | None = None
    """Lowest mean log-probability per token of its sentences; None when nothing was translated."""
    flaw: str = ""
    """First thing the guards found wrong."""
    compute_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Translator:
    models: Models
    hinglish: Hinglish

    async def translate(self, text: str, source: str, target: str) -> Translated:
        """Raises: ModelServerError."""
        if source == target:
            return Translated(text, 0.0)
        pieces, scores, flaws, compute_s = [], [], [], 0.0
        for sentence in sentences(text):
            answer = await self.models.translate(sentence, source, target, TIMEOUT_S)
            piece = answer.text.strip()
            if target == HINGLISH.code:
                piece = self.hinglish.canonical(piece)
            pieces.append(piece)
            scores.append(answer.score)
            flaws.append(flaw(sentence, piece, target))
            compute_s += answer.compute_s
        found = next(filter(None, flaws), "")
        return Translated(" ".join(filter(None, pieces)), min(scores, default=None), found, compute_s)


async def outcome(row: TextRow, translator: Translator, belief: Belief) -> Outcome:
    """Raises: ModelServerError."""
    began = time.monotonic()
    answer = await translator.translate(row.source, row.source_language, row.target_language)
    latency_s = time.monotonic() - began
    heard = Evidence(row.source, avg_logprob=0.0, no_speech_prob=0.0, support=1.0)  # perfectly: only the translation is judged
    reason = belief.refusal(heard, answer.score, answer.flaw)
    return Outcome(
        line=row.line,
        group=f"{row.source_language}-{row.target_language}",
        translation_reference=row.reference,
        translation=answer.text,
        translation_values=row.values,
        refused=bool(reason),
        reason=reason,
        latency_s=round(latency_s, 4),
        compute_s=round(answer.compute_s, 4),
        translation_score=answer.score,
        translation_flaw=answer.flaw,
    )
