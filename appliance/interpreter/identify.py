"""Which language the caller speaks: votes of what was heard, weighed together, with hysteresis. Pure.

Every vote is a probability for each caller language. They are combined log-linearly: the language with the greatest weighted
sum of log-probabilities leads, and its share after normalising is the confidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from appliance.config.schema import Identify
from appliance.events import LanguageVote
from appliance.text.languages import CALLER_LANGUAGES, script_shares

How = Literal["votes", "keypad", "default", "memory"]

CODES = tuple(language.code for language in CALLER_LANGUAGES)

DECIDE_AT = 0.85
"""Confidence from which the language is decided."""
SWITCH_AT = 0.97
"""Confidence that another language needs once one is decided: changing in the middle of a call is worse than asking again."""
SETTLE_AT = 0.98
"""Confidence from which nothing more is asked of the audio: the recogniser is then held to the language."""
SETTLE_AFTER = 3
"""So many utterances and the decision stands."""
ASK_AFTER = 2
"""So many undecided utterances and the caller is asked to press a key."""
PARTIAL_SPEECH_S = 2.5
"""An unfinished utterance may decide from this length on."""

_FULL_SPEECH_S = 1.5
"""Utterances shorter than this weigh less in proportion: "hello" sounds alike everywhere."""
_AUDIO, _TEXT, _SCRIPT, _MEMORY = 1.0, 0.5, 0.5, 0.7
"""Weights. Text and script follow from the language the audio was decoded in: they are witnesses of the same event."""
_REMEMBERED = 0.8
_FLOOR = 0.02
"""No vote makes a language impossible."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one utterance says about its language."""

    audio_scores: Mapping[str, float]
    """The recogniser's, empty when it was held to a language."""
    text_scores: Mapping[str, float]
    """Of the transcript's writing, by another model."""
    text: str
    speech_s: float


@dataclass(frozen=True, slots=True)
class Decided:
    language: str
    confidence: float
    how: How
    """`votes`, `memory` (they would not have been enough without it), `keypad` or `default`."""
    changed: bool
    """Whether this is the first decision or another language than before."""


@dataclass(frozen=True, slots=True)
class NeedMore:
    leading: str
    confidence: float


@dataclass(frozen=True, slots=True)
class AskKeypad:
    leading: str
    confidence: float


Verdict = Decided | NeedMore | AskKeypad


class Identifier:
    """The decision of one call."""

    def __init__(self, settings: Identify, prior: str | None = None, decided: str | None = None, *, chosen: bool = False) -> None:
        """`prior`: of an earlier call. `decided`: of this call, by whoever interpreted it before; `chosen`: by a key."""
        self._settings = settings
        known = decided if decided in CODES else prior
        self._prior = [LanguageVote("memory", _around(known), _MEMORY)] if known in CODES else []
        self._heard: dict[int, list[LanguageVote]] = {}
        self._speech_s: dict[int, float] = {}
        self._final: set[int] = set()
        self._asked = False
        self._settled = False
        self._forced: LanguageVote | None = None
        self.language: str | None = decided if decided in CODES else None
        self.confidence = DECIDE_AT if self.language else 0.0
        self.how: How = "memory" if self.language else "votes"
        if self.language and chosen:
            self.choose(self.language)

    @property
    def settled(self) -> bool:
        """Whether the recogniser may be held to the language."""
        return self._settled

    @property
    def votes(self) -> list[LanguageVote]:
        """Everything that counted, oldest first."""
        votes = [*self._prior, *(vote for heard in self._heard.values() for vote in heard)]
        return [*votes, self._forced] if self._forced else votes

    @property
    def guess(self) -> str:
        """The decided language, else the leading one, else the remembered or the default one: something must be spoken."""
        if self.language is not None:
            return self.language
        votes = self.votes
        return _leader(votes)[0] if votes else self._settings.default

    def preview(self, seen: Observation) -> str | None:
        """The language if this utterance ended now, None while that would not decide."""
        if self.language is not None and self._settled:
            return self.language
        verdict = self._verdict([*self.votes, *_votes(seen)])
        return verdict.language if isinstance(verdict, Decided) else None

    def hear(self, utterance: int, seen: Observation, final: bool = True) -> Verdict:
        """Take what utterance number `utterance` says; a later call for the same one replaces the earlier."""
        self._heard[utterance] = _votes(seen)
        self._speech_s[utterance] = seen.speech_s
        if final:
            self._final.add(utterance)
        if self._forced is not None and self.language is not None:
            return Decided(self.language, self.confidence, self.how, False)
        verdict = self._verdict(self.votes)
        if isinstance(verdict, Decided):
            if not final and seen.speech_s < PARTIAL_SPEECH_S:
                return NeedMore(verdict.language, verdict.confidence)
            self.language, self.confidence, self.how = verdict.language, verdict.confidence, verdict.how
            self._settled = self._settled or (final and (verdict.confidence >= SETTLE_AT or len(self._final) >= SETTLE_AFTER))
            return verdict
        enough = len(self._final) >= ASK_AFTER or sum(self._speech_s.values()) >= self._settings.decide_s
        if enough and final and not self._asked:
            self._asked = True
            return AskKeypad(verdict.leading, verdict.confidence)
        return verdict

    def choose(self, language: str, how: Literal["keypad", "default"] = "keypad") -> Decided:
        """Somebody pressed a key, or nobody did (`how="default"`).

        Raises:
            ValueError: not a caller language.
        """
        if language not in CODES:
            raise ValueError(f"not a caller language: {language!r}, allowed: {', '.join(CODES)}")
        changed = language != self.language
        keyed = how == "keypad"
        self._forced = LanguageVote("keypad", {language: 1.0}, 1.0) if keyed else None
        if not keyed:
            self._prior.append(LanguageVote("default", _around(language), _MEMORY))
        self.confidence = 1.0 if keyed else dict(_shares(self.votes))[language]
        self.language, self.how, self._settled = language, how, keyed
        return Decided(language, self.confidence, how, changed)

    def doubt(self) -> None:
        """What the caller says is not understood in this language: listen to the audio again, earlier votes count half."""
        if self._forced is None:
            self._settled = False
            self._final.clear()
            self._heard = {key: [_halved(vote) for vote in votes] for key, votes in self._heard.items()}

    def _verdict(self, votes: list[LanguageVote]) -> Decided | NeedMore:
        if not votes:
            return NeedMore(self._settings.default, 0.0)
        leading, confidence = _leader(votes)
        if self.language is not None:
            if leading == self.language or confidence < SWITCH_AT:
                own = dict(_shares(votes))[self.language]
                return Decided(self.language, own, self.how, False)
            return Decided(leading, confidence, "votes", True)
        if confidence < DECIDE_AT:
            return NeedMore(leading, confidence)
        heard = [vote for vote in votes if vote.source not in ("memory", "default")]
        alone = _leader(heard) if heard else (leading, 0.0)
        how: How = "votes" if alone[0] == leading and alone[1] >= DECIDE_AT else "memory"
        return Decided(leading, confidence, how, True)


def _votes(seen: Observation) -> list[LanguageVote]:
    trust = min(1.0, seen.speech_s / _FULL_SPEECH_S)
    votes = []
    if seen.audio_scores:
        votes.append(LanguageVote("audio", dict(seen.audio_scores), _AUDIO * trust))
    if seen.text_scores:
        votes.append(LanguageVote("text", dict(seen.text_scores), _TEXT * trust))
    scripts = _script_scores(seen.text)
    if scripts:
        votes.append(LanguageVote("script", scripts, _SCRIPT * trust))
    return votes


def _script_scores(text: str) -> dict[str, float]:
    """Each native script's share, divided among the languages that write it; English words say nothing."""
    native = {script: share for script, share in script_shares(text).items() if script != "Latin"}
    total = sum(native.values())
    scores: dict[str, float] = {}
    for script, share in native.items():
        users = [language.code for language in CALLER_LANGUAGES if language.script == script]
        scores |= {code: share / total / len(users) for code in users}
    return scores


def _shares(votes: list[LanguageVote]) -> list[tuple[str, float]]:
    sums = {code: sum(vote.weight * math.log(max(_FLOOR, vote.scores.get(code, 0.0))) for vote in votes) for code in CODES}
    top = max(sums.values())
    weights = {code: math.exp(value - top) for code, value in sums.items()}
    total = sum(weights.values())
    return [(code, weight / total) for code, weight in weights.items()]


def _leader(votes: list[LanguageVote]) -> tuple[str, float]:
    return max(_shares(votes), key=lambda item: item[1])


def _around(language: str | None) -> dict[str, float]:
    rest = (1 - _REMEMBERED) / (len(CODES) - 1)
    return {code: _REMEMBERED if code == language else rest for code in CODES}


def _halved(vote: LanguageVote) -> LanguageVote:
    return LanguageVote(vote.source, vote.scores, vote.weight / 2)
