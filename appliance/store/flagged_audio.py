"""Audio of utterances that agents flagged as wrongly translated: WAV files in the state folder, found by call and number."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from appliance.store.errors import StoreError

FOLDER = "flagged"
"""In the state folder: a folder for each call."""
RATE = 16_000


class FlaggedAudio:
    """
    Args:
        state_dir: of the node.
    """

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER

    def path(self, call_id: str, lane: str, utterance: int) -> Path:
        """Where the audio of an utterance is kept, if it was flagged."""
        return self._folder / call_id / f"{lane}-{utterance}.wav"

    def keep(self, call_id: str, lane: str, utterance: int, samples: npt.NDArray[np.int16]) -> Path:
        """Write what was said (16 kHz); flagged again, it is written again.

        Raises:
            StoreError: it cannot be written.
        """
        path = self.path(call_id, lane, utterance)
        half = path.with_suffix(".part")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            half.touch(mode=0o600)
            with wave.open(str(half), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes(samples.astype("<i2").tobytes())
            half.replace(path)
        except OSError as error:
            raise StoreError(f"{path}: the audio of a flagged utterance cannot be written: {error.strerror or error}") from error
        return path
