"""Decoding a batch of log-mel features with a Whisper model in CTranslate2: language, text and how sure the model is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ctranslate2
import numpy as np

from appliance.engines.base import EngineFailed, EngineUnavailable, RecogniseJob, Recognition
from appliance.engines.ctc_opinion import CtcOpinion, Floats
from appliance.engines.log_mel import FRAMES_PER_S, Features
from appliance.text.languages import CALLER_LANGUAGES

TOKENS_PER_S = 30
"""More than any of the languages needs, so that a decoder that repeats itself on a short clip stops early."""
SPARE_TOKENS = 16
SAMPLES_PER_STATE = 320  # 20 ms
DECLINED_FROM = 0.5
"""Probability of no speech from which on a model that would rather write nothing is not asked what it might be."""
MAX_TOKENS = 448
"""Positions of Whisper's decoder, prompt included."""


class WhisperDecoder:
    def __init__(self, model: ctranslate2.models.Whisper, tokenizer: Any, *, beam_size: int, opinion: CtcOpinion | None = None) -> None:
        """`tokenizer`: a `tokenizers.Tokenizer`. Raises: EngineUnavailable when the model is no multilingual Whisper."""
        self._model = model
        self._tokenizer = tokenizer
        self._beam_size = beam_size
        self._opinion = opinion
        if not model.is_multilingual:
            raise EngineUnavailable("the recogniser's model knows no languages: its vocabulary is not that of a multilingual Whisper")
        self._start = self._id("<|startoftranscript|>")
        self._task = [self._id("<|transcribe|>"), self._id("<|notimestamps|>")]
        self._end = self._id("<|endoftext|>")
        codes = dict.fromkeys(item.recogniser_code for item in CALLER_LANGUAGES)
        self._languages = {code: number for code in codes if (number := tokenizer.token_to_id(f"<|{code}|>")) is not None}
        if not self._languages:
            raise EngineUnavailable(f"the recogniser's model has none of the languages {', '.join(codes)}")

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self._languages)

    def decode(self, features: Features, jobs: Sequence[RecogniseJob]) -> list[Recognition]:
        """Features (batch, mels, frames), one row for each job. Raises: EngineFailed.

        A finished utterance is decoded into `beam_size` hypotheses; where there is a second reading, it and the decoder choose
        together (rescoring of hybrid CTC/attention recognition, Watanabe et al. 2017, both log-probabilities weighing the same).
        """
        scores: list[dict[str, float]] = [{} for _ in jobs]
        beam = 1 if all(job.partial for job in jobs) else self._beam_size
        try:
            states = self._model.encode(ctranslate2.StorageView.from_array(features), to_cpu=self._opinion is not None)
            if any(job.language is None for job in jobs):
                found = self._model.detect_language(states)
                scores = [{} if job.language else self._among(item, job) for job, item in zip(jobs, found, strict=True)]
            languages = [job.language or max(item, key=item.__getitem__) for job, item in zip(jobs, scores, strict=True)]
            prompts = [[self._start, self._languages[code], *self._task] for code in languages]
            results = self._generate(states, prompts, beam=1, length=len(prompts[0]) if beam > 1 else _longest(features))
            empty = [self._empty_prob(result) for result in results]
            if beam > 1:
                # A beam ranks an empty text last, whatever its probability: only the first step of a greedy decode tells that one.
                wider = self._generate(states, prompts, beam=beam, length=_longest(features))
                declined = map(_declines, results, empty)
                results = [first if kept else other for first, other, kept in zip(results, wider, declined, strict=True)]
        except RuntimeError as error:
            raise EngineFailed(f"recognition of {len(jobs)} utterances: {error}") from error
        heard = np.asarray(states).astype(np.float32, copy=False) if self._opinion else [None] * len(jobs)
        return [
            self._recognition(result, language, shares, nothing, None if row is None else row[: len(job.samples) // SAMPLES_PER_STATE])
            for result, language, shares, nothing, row, job in zip(results, languages, scores, empty, heard, jobs, strict=True)
        ]

    def _generate(self, states: Any, prompts: list[list[int]], *, beam: int, length: int) -> list[Any]:
        """`length`: most tokens, all of the prompt but one included. The logits are told for a greedy decode."""
        found: list[Any] = self._model.generate(
            states,
            prompts,
            beam_size=beam,
            num_hypotheses=beam if self._opinion else 1,
            max_length=length,
            return_scores=True,
            return_logits_vocab=beam == 1,
            return_no_speech_prob=True,
        )
        return found

    def _empty_prob(self, result: Any) -> float:
        """Probability that the first token of a greedy decode is the end."""
        first = np.asarray(result.logits[0], np.float64).reshape(-1)
        return float(np.exp(first[self._end] - first.max()) / np.exp(first - first.max()).sum())

    def _recognition(self, result: Any, language: str, scores: dict[str, float], empty: float, states: Floats | None) -> Recognition:
        texts = [self._text(ids) for ids in result.sequences_ids]
        best, agreement = 0, None
        if self._opinion is not None and states is not None:
            supports = self._opinion.supports(states, texts)
            sums = [
                score * len(ids) + support.log_likelihood if ids else -np.inf
                for score, ids, support in zip(result.scores, result.sequences_ids, supports, strict=True)
            ]
            best = int(np.argmax(sums))
            agreement = supports[best].agreement
        length = len(result.sequences_ids[best])
        return Recognition(
            text=texts[best],
            language=language,
            language_scores=scores,
            # CTranslate2 leaves the end token out of its mean, and has none for an empty text.
            avg_logprob=result.scores[best] * length / (length + 1) if length else 0.0,
            no_speech_prob=result.no_speech_prob,
            agreement=agreement,
            empty_prob=empty,
        )

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode([number for number in ids if number < self._end])
        whole = text.replace("\ufffd", "").strip()  # a letter cut between two tokens
        return whole if any(map(str.isalnum, whole)) else ""  # a full stop alone is what a beam finds in noise

    def _among(self, found: list[tuple[str, float]], job: RecogniseJob) -> dict[str, float]:
        allowed = job.allowed or self.languages
        shares = {token[2:-2]: probability for token, probability in found if token[2:-2] in allowed}
        total = sum(shares.values())
        return {code: shares.get(code, 0.0) / total for code in allowed} if total > 0 else dict.fromkeys(allowed, 1 / len(allowed))

    def _id(self, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise EngineUnavailable(f"the recogniser's tokenizer.json has no token {token}")
        return int(number)


def _longest(features: Features) -> int:
    frames: int = features.shape[2]
    return min(MAX_TOKENS, SPARE_TOKENS + TOKENS_PER_S * frames // FRAMES_PER_S)


def _declines(first: Any, empty: float) -> bool:
    """Whether there is nothing to write: an empty decode of what is no speech. One of speech the beam has a guess at."""
    return not first.sequences_ids[0] and empty >= DECLINED_FROM and first.no_speech_prob >= DECLINED_FROM
