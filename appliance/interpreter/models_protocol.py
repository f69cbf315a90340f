"""What the lanes ask of the model servers: fulfilled by `appliance.modelserver.client.ModelClient` and by a scripted stand-in in tests.

Every method may raise `appliance.modelserver.errors.ModelServerError`, whose `retry` says whether asking again can help.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from appliance.modelserver.messages import LanguageScores, Transcript, Translation

Samples = npt.NDArray[np.int16]
"""16 kHz mono."""


class Speaks(Protocol):
    async def speak(self, text: str, language: str, timeout_s: float, voice: str = "") -> Samples: ...


class Models(Speaks, Protocol):
    async def transcribe(
        self,
        pcm: Samples,
        *,
        language: str | None,
        languages: Sequence[str] = (),
        partial: bool = False,
        stream: str = "",
        timeout_s: float,
    ) -> Transcript:
        """Recognise.

        Args:
            pcm: an utterance, or what is there of it.
            language: recogniser code; None to have it told too, among `languages`.
            languages: recogniser codes.
            partial: the speech goes on; given up for others when the server is busy.
            stream: name of the lane: its newer requests replace a partial one that still waits.
            timeout_s: for all of it.
        """
        ...

    async def identify(self, text: str, timeout_s: float) -> LanguageScores: ...

    async def translate(self, text: str, source: str, target: str, timeout_s: float) -> Translation:
        """One sentence."""
        ...
