"""The three kinds of engine behind the model servers, each one batch in, one list out.

An engine is used by one thread at a time and knows nothing of queues, HTTP or calls. Constructing it loads the model.

    ApplianceError
    +-- EngineError             what happened, to what, and whether trying again can help
        +-- EngineUnavailable   a package, library, device or model file is missing: the server must not start
        +-- JobRejected         this job can never be answered (language not spoken by the engine, text too long)
        +-- EngineFailed        the engine broke on a batch it should have answered
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from appliance.errors import ApplianceError

Samples = npt.NDArray[np.int16]
"""Mono audio, 16 kHz unless the rate stands beside it."""


class EngineError(ApplianceError):
    retry: ClassVar[bool] = False
    """Whether the same job can succeed later."""


class EngineUnavailable(EngineError):
    pass


class JobRejected(EngineError):
    pass


class EngineFailed(EngineError):
    retry = True


@dataclass(frozen=True, slots=True)
class Capabilities:
    name: str
    """As in the configuration."""
    languages: tuple[str, ...]
    """Codes it can be asked for: recogniser codes for a recogniser, language codes otherwise."""
    pairs: frozenset[tuple[str, str]] = frozenset()
    """Source and target codes of a translator."""
    max_audio_s: float = 30.0
    max_text_chars: int = 2000
    batches_cheaply: bool = False
    """Whether a batch of n costs much less than n single jobs, so that urgent and other jobs may share one."""


@dataclass(frozen=True, slots=True)
class RecogniseJob:
    samples: Samples
    language: str | None = None
    """Recogniser code; None: found among `allowed`."""
    allowed: tuple[str, ...] = ()
    """Recogniser codes; empty: all of the engine."""
    partial: bool = False
    """A decode of speech that goes on: cheap rather than exact."""


@dataclass(frozen=True, slots=True)
class Recognition:
    text: str
    language: str
    language_scores: dict[str, float] = field(default_factory=dict)
    """Adding up to 1 over the allowed languages; empty when the language was given."""
    avg_logprob: float = 0.0
    """Mean log-probability per token, natural logarithm; 0 for an empty text."""
    no_speech_prob: float = 0.0
    agreement: float | None = None
    """How far a second reading of the sound that knows no sentences supports the text, 0 to 1; None: the engine has none."""
    empty_prob: float | None = None
    """Probability that the model would rather write nothing: no speech, or speech it was not made for; None: it does not tell."""


@dataclass(frozen=True, slots=True)
class TranslateJob:
    text: str
    """One sentence."""
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Translated:
    text: str
    score: float
    """Mean log-probability per token, natural logarithm."""


@dataclass(frozen=True, slots=True)
class SynthesiseJob:
    text: str
    language: str
    voice: str = ""
    """The engine's default for the language when empty."""


@dataclass(frozen=True, slots=True)
class Synthesis:
    samples: Samples
    rate: int
    """Hz."""


class Recogniser(Protocol):
    capabilities: Capabilities

    def transcribe(self, batch: Sequence[RecogniseJob]) -> list[Recognition]:
        """One result for each job, in order.

        Raises:
            EngineFailed: the whole batch is lost.
        """
        ...


class Translator(Protocol):
    capabilities: Capabilities

    def translate(self, batch: Sequence[TranslateJob]) -> list[Translated]:
        """One result for each job, in order. Raises: EngineFailed."""
        ...


class Synthesiser(Protocol):
    capabilities: Capabilities

    def speak(self, batch: Sequence[SynthesiseJob]) -> list[Synthesis]:
        """One result for each job, in order. Raises: EngineFailed, JobRejected."""
        ...


class LanguageIdentifier(Protocol):
    name: str

    def identify(self, batch: Sequence[str]) -> list[dict[str, float]]:
        """For each text, probability by caller language, adding up to 1; empty where the text says nothing."""
        ...


def check_recognise(job: RecogniseJob, capabilities: Capabilities) -> None:
    """Raises: JobRejected, naming what is allowed."""
    for code in (*([job.language] if job.language else []), *job.allowed):
        _check_language(code, capabilities)
    seconds = len(job.samples) / 16_000
    if seconds > capabilities.max_audio_s:
        raise JobRejected(f"{seconds:.1f} s of audio, {capabilities.name} takes at most {capabilities.max_audio_s:g} s")


def check_translate(job: TranslateJob, capabilities: Capabilities) -> None:
    """Raises: JobRejected, naming what is allowed."""
    if (job.source, job.target) not in capabilities.pairs:
        allowed = ", ".join(f"{source}-{target}" for source, target in sorted(capabilities.pairs))
        raise JobRejected(f"{capabilities.name} does not translate {job.source} to {job.target}, allowed: {allowed}")
    _check_text(job.text, capabilities)


def check_speak(job: SynthesiseJob, capabilities: Capabilities) -> None:
    """Raises: JobRejected, naming what is allowed."""
    _check_language(job.language, capabilities)
    _check_text(job.text, capabilities)


def _check_language(code: str, capabilities: Capabilities) -> None:
    if code not in capabilities.languages:
        raise JobRejected(f"{capabilities.name} has no language {code!r}, allowed: {', '.join(capabilities.languages)}")


def _check_text(text: str, capabilities: Capabilities) -> None:
    if len(text) > capabilities.max_text_chars:
        raise JobRejected(f"{len(text)} characters of text, {capabilities.name} takes at most {capabilities.max_text_chars}")
