"""What a model server serves: an engine, what it is given to warm up, and how its requests are gathered into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

import numpy as np

from appliance.config.schema import Config, MtServer, SttServer, TtsServer
from appliance.engines import registry
from appliance.engines.base import Capabilities, RecogniseJob, Recognition, Synthesis, SynthesiseJob, Translated, TranslateJob
from appliance.text.languages import BY_CODE

Kind = Literal["stt", "mt", "tts"]
Job = TypeVar("Job")
Result = TypeVar("Result")

WARM_UP_S = (1.0, 6.0)
"""Lengths of the noise a recogniser is given first: memory for long audio is then there before the first call."""
WARM_UP_TEXT = "नमस्ते 12"


@dataclass(frozen=True, slots=True)
class Served(Generic[Job, Result]):
    kind: Kind
    model: str
    """Name in the configuration; empty when the engine needs none."""
    capabilities: Capabilities
    run: Callable[[Sequence[Job]], list[Result]]
    warm_up: tuple[Job, ...]
    settings: SttServer | MtServer | TtsServer

    @property
    def languages(self) -> list[str]:
        return list(self.capabilities.languages)


def recognition(config: Config, models: Path) -> Served[RecogniseJob, Recognition]:
    """`models`: the folder of the models. Raises: EngineUnavailable, as the other two."""
    engine = registry.recogniser(config.stt, models)
    rng = np.random.default_rng(0)
    jobs = tuple(RecogniseJob((rng.normal(size=int(seconds * 16_000)) * 100).astype(np.int16)) for seconds in WARM_UP_S)
    return Served("stt", config.stt.model, engine.capabilities, engine.transcribe, jobs, config.stt)


def translation(config: Config, models: Path) -> Served[TranslateJob, Translated]:
    engine = registry.translator(config.mt, models)
    jobs = tuple(TranslateJob(WARM_UP_TEXT, source, target) for source, target in sorted(engine.capabilities.pairs)[:1])
    return Served("mt", config.mt.model, engine.capabilities, engine.translate, jobs, config.mt)


def speech(config: Config, models: Path) -> Served[SynthesiseJob, Synthesis]:
    engine = registry.synthesiser(config.tts, models)
    jobs = tuple(SynthesiseJob(chr(BY_CODE[code].first + 5) * 3, code) for code in engine.capabilities.languages)
    return Served("tts", config.tts.model, engine.capabilities, engine.speak, jobs, config.tts)
