"""Whisper on windows as long as the audio: many times faster than 30 s windows, for models trained so.

The starter recogniser is; OpenAI's checkpoints are not (engine `faster-whisper`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import ctranslate2
from tokenizers import Tokenizer

from appliance.engines.base import Capabilities, EngineUnavailable, RecogniseJob, Recognition
from appliance.engines.ctc_opinion import CtcOpinion
from appliance.engines.log_mel import FRAMES_PER_S, FULL_WINDOW, LogMel, stack
from appliance.engines.whisper_decoding import WhisperDecoder

SHORTEST_S = 0.1
"""Less audio than this holds no word and is not decoded."""
STEP_FRAMES = 50
"""Windows are whole multiples of this."""
PADDING_FRAMES = 100
"""On a CPU a clip shares a batch only with clips at most this much longer: padding costs as much as speech there."""


class WhisperShort:
    def __init__(self, folder: Path, *, device: str = "cpu", compute_type: str = "int8", threads: int = 1, beam_size: int = 1) -> None:
        """Raises: EngineUnavailable."""
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._log_mel = LogMel(_mels(folder))
            model = ctranslate2.models.Whisper(str(folder), device=device, compute_type=compute_type, intra_threads=threads)
        except Exception as error:  # tokenizers raises the bare class
            raise EngineUnavailable(f"recogniser model {folder}: {error}") from error
        if model.n_mels != self._log_mel.mels:
            raise EngineUnavailable(f"recogniser model {folder}: {model.n_mels} mels, preprocessor_config.json says {self._log_mel.mels}")
        self._decoder = WhisperDecoder(model, tokenizer, beam_size=beam_size, opinion=CtcOpinion.of(folder))
        self.capabilities = Capabilities(
            "whisper-short", self._decoder.languages, max_audio_s=FULL_WINDOW / FRAMES_PER_S, batches_cheaply=model.device == "cuda"
        )

    def transcribe(self, batch: Sequence[RecogniseJob]) -> list[Recognition]:
        results = [Recognition("", job.language or "", no_speech_prob=1.0) for job in batch]
        features = {place: self._log_mel(job.samples) for place, job in enumerate(batch) if len(job.samples) >= SHORTEST_S * 16_000}
        for places in self._groups(batch, {place: item.shape[1] for place, item in features.items()}):
            longest = max(features[place].shape[1] for place in places)
            window = min(FULL_WINDOW, -(-longest // STEP_FRAMES) * STEP_FRAMES)
            found = self._decoder.decode(stack([features[place] for place in places], window), [batch[place] for place in places])
            for place, result in zip(places, found, strict=True):
                results[place] = result
        return results

    def _groups(self, batch: Sequence[RecogniseJob], frames: Mapping[int, int]) -> list[list[int]]:
        """Places of jobs that are decoded together, of like length and kind unless a batch costs next to nothing."""
        groups: list[list[int]] = []
        for place in sorted(frames, key=lambda place: (batch[place].partial, frames[place])):
            first = groups[-1][0] if groups else place
            near = self.capabilities.batches_cheaply or frames[place] - frames[first] <= PADDING_FRAMES
            if groups and near and batch[first].partial == batch[place].partial:
                groups[-1].append(place)
            else:
                groups.append([place])
        return groups


def _mels(folder: Path) -> int:
    return int(json.loads((folder / "preprocessor_config.json").read_text())["feature_size"])
