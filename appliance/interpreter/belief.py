"""How far an utterance is believed, and why it is refused: what a call does and what an evaluation counts. Pure.

A recogniser with a calibration is believed by its score, weighed with the translation's; any other by its own probabilities, one
half after the other (`appliance.interpreter.confidence`). So is a decode by an engine that does not tell all that is weighed.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.config.schema import Config
from appliance.interpreter import confidence
from appliance.interpreter.calibration import TRANSLATION, Calibration, features
from appliance.interpreter.confidence import Evidence, is_silence, is_wordless

SPEECH_LEAST = 0.35
"""Threshold of a recogniser without a calibration."""
TRANSLATION_LEAST = 0.3
"""That of a translation which no calibration weighs."""
UNCLEAR = "unclear-speech"
UNSUPPORTED = "unsupported-speech"
"""The recogniser is sure, but what it wrote is not what sounds: it recites a sentence it knows."""
UNKNOWN = "unknown-speech"
"""Speech that the recogniser was not made for."""
UNSURE = "unsure-translation"
EMPTY_MOST = 0.5
"""Without a calibration, what is more probably to be left empty than not is refused."""
_REASONS = {"log_agreement": UNSUPPORTED, "empty_log_odds": UNKNOWN, TRANSLATION: UNSURE}
"""By the feature that costs most; `UNCLEAR` for the others."""


@dataclass(frozen=True, slots=True)
class Belief:
    """Every confidence is 0 to 1. The score of a translation is its mean log-probability per token, natural logarithm."""

    config: Config
    calibration: Calibration | None = None
    """Of the active recogniser."""

    def recognised(self, seen: Evidence) -> float:
        """Confidence in an utterance before its translation is known: that with a perfect translation."""
        return self.overall(seen, None)

    def overall(self, seen: Evidence, translation_score: float | None, flaw: str = "") -> float:
        """Confidence in an utterance and its translation; 0 for silence and for a translation with a flaw."""
        if flaw or is_wordless(seen) or is_silence(seen):
            return 0.0
        if (weighed := self._weighed(seen, translation_score)) is not None:
            calibration, values = weighed
            return calibration.score(values)
        heard = confidence.recognised(seen)
        return heard if translation_score is None else confidence.overall(heard, confidence.translated(translation_score))

    def refusal(self, seen: Evidence, translation_score: float | None = None, flaw: str = "") -> str:
        """Why an utterance must not be spoken, as a code word; empty when it may.

        Without `translation_score` only what no translation can make good is refused.

        Args:
            flaw: what the guards found wrong with the translation.
        """
        if flaw:
            return flaw
        if is_wordless(seen) or is_silence(seen):
            return UNCLEAR
        weighed = self._weighed(seen, translation_score)
        if weighed is None:
            if seen.empty_prob is not None and seen.empty_prob > EMPTY_MOST:
                return UNKNOWN
            if confidence.recognised(seen) < self._least(None):
                return UNCLEAR
        else:
            calibration, values = weighed
            if calibration.score(values) < self._least(calibration):
                return _REASONS.get(calibration.weakest(values), UNCLEAR)
        least = self.config.translate.min_confidence
        if least is None:
            least = 0.0 if weighed is not None and weighed[0].weighs_translation else TRANSLATION_LEAST
        return UNSURE if translation_score is not None and confidence.translated(translation_score) < least else ""

    def certain(self, seen: Evidence) -> bool:
        """Whether a partial decode may be spoken before the speaker has finished.

        It is greedy and hears half of what is said, which calibrated scores are not made for: with those it must be at most half
        as doubtful as the threshold allows.
        """
        if self.refusal(seen):
            return False
        weighed = self._weighed(seen, None)
        return weighed is None or weighed[0].score(weighed[1]) >= (1 + self._least(weighed[0])) / 2

    def _weighed(self, seen: Evidence, translation_score: float | None) -> tuple[Calibration, dict[str, float]] | None:
        """The calibration and the features it weighs; None when there is none or the engines do not tell them all."""
        calibration = self.calibration
        if calibration is None:
            return None
        values = features(
            avg_logprob=seen.avg_logprob,
            no_speech_prob=seen.no_speech_prob,
            support=seen.support,
            empty_prob=seen.empty_prob,
            partial_agreement=1.0 if seen.agreement is None else seen.agreement,
            translation_score=translation_score,
        )
        if translation_score is None and calibration.weighs_translation:
            values[TRANSLATION] = calibration.best(TRANSLATION)
        return None if calibration.missing(values) else (calibration, values)

    def _least(self, calibration: Calibration | None) -> float:
        configured = self.config.recognise.min_confidence
        if configured is not None:
            return configured
        return SPEECH_LEAST if calibration is None else calibration.threshold
