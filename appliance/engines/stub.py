"""Engines that only take time: for load tests, where the figures must be about everything but the models.

The model string says how they behave: `delay_s=0.12,each_s=0.01,text=...`; the variable SETU_STUB goes before it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from appliance.engines.base import (
    Capabilities,
    EngineFailed,
    EngineUnavailable,
    RecogniseJob,
    Recognition,
    Synthesis,
    SynthesiseJob,
    Translated,
    TranslateJob,
)
from appliance.text.languages import BY_CODE, CALLER_LANGUAGES

VARIABLE = "SETU_STUB"
RATE_HZ = 16_000
TONE_HZ = 440.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    delay_s: float = 0.0
    """Of each batch."""
    each_s: float = 0.0
    """Of each job in it besides."""
    speech_s: float = 1.0
    """Length of synthesised audio."""
    fail: str = ""
    """A job whose text contains this fails its batch; for a recogniser, `*` fails every batch."""
    text: str = "नमस्ते"
    """What is recognised, and written as translation behind the source."""
    gate: str = ""
    """A named pipe: while it is there, each batch waits until somebody has opened it for writing and closed it again."""

    @classmethod
    def parse(cls, model: str) -> Behaviour:
        """Raises: EngineUnavailable, naming what is allowed."""
        text = os.environ.get(VARIABLE, "") or model
        kinds = {item.name: item.type for item in fields(cls)}
        values: dict[str, float | str] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            name, separator, value = part.partition("=")
            if not separator or name not in kinds:
                raise EngineUnavailable(f"stub model {text!r}: {part!r} is none of {', '.join(f'{kind}=...' for kind in kinds)}")
            try:
                values[name] = float(value) if kinds[name] == "float" else value
            except ValueError as error:
                raise EngineUnavailable(f"stub model {text!r}: {part!r} is no number") from error
        return cls(**values)  # type: ignore[arg-type]

    def take_time(self, jobs: int) -> None:
        time.sleep(self.delay_s + jobs * self.each_s)
        if self.gate:
            with suppress(FileNotFoundError):
                Path(self.gate).read_bytes()


class StubRecogniser:
    def __init__(self, model: str) -> None:
        self._behaviour = Behaviour.parse(model)
        codes = tuple(dict.fromkeys(item.recogniser_code for item in CALLER_LANGUAGES))
        self.capabilities = Capabilities("stub", codes, batches_cheaply=True)

    def transcribe(self, batch: Sequence[RecogniseJob]) -> list[Recognition]:
        self._behaviour.take_time(len(batch))
        if self._behaviour.fail == "*":
            raise EngineFailed("the stub was told to fail")
        return [self._recognition(job) for job in batch]

    def _recognition(self, job: RecogniseJob) -> Recognition:
        allowed = job.allowed or self.capabilities.languages
        scores = {} if job.language else {code: float(place == 0) for place, code in enumerate(allowed)}
        return Recognition(self._behaviour.text, job.language or allowed[0], scores, -0.05, 0.01)


class StubTranslator:
    def __init__(self, model: str) -> None:
        self._behaviour = Behaviour.parse(model)
        pairs = frozenset((source, target) for source in BY_CODE for target in BY_CODE if source != target)
        self.capabilities = Capabilities("stub", tuple(BY_CODE), pairs, batches_cheaply=True)

    def translate(self, batch: Sequence[TranslateJob]) -> list[Translated]:
        self._behaviour.take_time(len(batch))
        if self._behaviour.fail and any(self._behaviour.fail in job.text for job in batch):
            raise EngineFailed("the stub was told to fail")
        return [Translated(job.text, -0.05) for job in batch]


class StubSynthesiser:
    def __init__(self, model: str) -> None:
        self._behaviour = Behaviour.parse(model)
        times = np.arange(int(self._behaviour.speech_s * RATE_HZ)) / RATE_HZ
        self._tone = (8000 * np.sin(2 * np.pi * TONE_HZ * times)).astype(np.int16)
        self.capabilities = Capabilities("stub", tuple(BY_CODE), batches_cheaply=True)

    def speak(self, batch: Sequence[SynthesiseJob]) -> list[Synthesis]:
        self._behaviour.take_time(len(batch))
        if self._behaviour.fail and any(self._behaviour.fail in job.text for job in batch):
            raise EngineFailed("the stub was told to fail")
        return [Synthesis(self._tone, RATE_HZ) for _ in batch]
