"""What model servers are asked and what they answer. HTTP over a Unix socket; JSON but for audio, which is raw PCM.

    POST /v1/transcribe?language=ta&languages=ta,te&partial=1&stream=ID   body: s16le mono 16 kHz   -> Transcript
    POST /v1/identify    TextQuery                                                          -> LanguageScores
    POST /v1/translate   TranslationRequest                                                 -> Translation
    POST /v1/speak       SpeechRequest         -> s16le mono, rate in the header X-Sample-Rate, X-Engine
    GET  /health         -> Health, status 503 until a warm-up request has been answered
    GET  /metrics        -> Prometheus text

A newer request with the same `stream` replaces a partial one that still waits. The header X-Timeout-S says how long the sender
waits: a request that could not be computed by then is not computed at all.
An error is JSON too: `Problem`, with status 400 (the request is wrong), 429 (the queue is full) or 503 (the engine cannot answer).
"""

from __future__ import annotations

from typing import Literal

import msgspec

SAMPLE_RATE = 16_000
"""Hz of all audio between the gateway and the model servers, and of the media WebSockets (`slin16`)."""


class Transcript(msgspec.Struct, frozen=True):
    text: str
    """Canonical text, ids as ASCII digits; empty when nothing was understood."""
    language: str
    """Recogniser code of the language it was decoded in (Hinglish is `hi`)."""
    language_scores: dict[str, float]
    """Probability by recogniser code over the allowed languages, adding up to 1; empty when the language was given."""
    avg_logprob: float
    """Mean log-probability per token, natural logarithm."""
    no_speech_prob: float
    duration_s: float
    """Length of the audio."""
    engine: str
    batch_size: int
    queue_s: float
    """Wait for the batch."""
    compute_s: float
    """Time in the engine."""
    agreement: float | None = None
    """How far a second reading of the sound that knows no sentences supports the text, 0 to 1; null: the engine has none."""
    empty_prob: float | None = None
    """Probability that the recogniser would rather write nothing: no speech, or speech it was not made for; null: it does not tell."""


class TextQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str


class LanguageScores(msgspec.Struct, frozen=True):
    scores: dict[str, float]
    """Probability by caller language, adding up to 1, from how the text is written; empty when that says nothing."""
    engine: str


class TranslationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    """One sentence."""
    source: str
    target: str
    """Language codes, `hinglish` included."""


class Translation(msgspec.Struct, frozen=True):
    text: str
    score: float
    """Mean log-probability per token, natural logarithm."""
    engine: str
    batch_size: int
    queue_s: float
    compute_s: float


class SpeechRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    """Canonical text; the server makes the spoken form of numbers itself."""
    language: str
    voice: str = ""
    """Name of a voice of the engine; its default for the language when empty."""


class Health(msgspec.Struct, frozen=True):
    status: Literal["ready", "warming", "failed"]
    kind: Literal["stt", "mt", "tts"]
    engine: str
    languages: list[str]
    detail: str = ""
    model: str = ""
    """Name of the model in the configuration; empty when the engine needs none."""


class Problem(msgspec.Struct, frozen=True):
    error: str
    """What happened, to what, and what is allowed."""
    retry: bool
    """Whether the same request can succeed later."""
