"""Whisper checkpoints as faster-whisper loads them: 30 s windows, utterances of all calls stacked into one batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from faster_whisper import WhisperModel

from appliance.engines.base import Capabilities, EngineUnavailable, RecogniseJob, Recognition
from appliance.engines.ctc_opinion import CtcOpinion
from appliance.engines.log_mel import FRAMES_PER_S, FULL_WINDOW, LogMel, stack
from appliance.engines.whisper_decoding import WhisperDecoder
from appliance.engines.whisper_short import SHORTEST_S


class FasterWhisper:
    def __init__(self, folder: Path, *, device: str = "cpu", compute_type: str = "int8", threads: int = 1, beam_size: int = 1) -> None:
        """Raises: EngineUnavailable."""
        try:
            loaded = WhisperModel(str(folder), device=device, compute_type=compute_type, cpu_threads=threads, local_files_only=True)
        except Exception as error:  # tokenizers raises the bare class
            raise EngineUnavailable(f"recogniser model {folder}: {error}") from error
        # WhisperModel.transcribe takes one file at a time; its parts take a batch.
        self._log_mel = LogMel(loaded.model.n_mels)
        self._decoder = WhisperDecoder(loaded.model, loaded.hf_tokenizer, beam_size=beam_size, opinion=CtcOpinion.of(folder))
        self.capabilities = Capabilities(
            "faster-whisper", self._decoder.languages, max_audio_s=FULL_WINDOW / FRAMES_PER_S, batches_cheaply=loaded.model.device == "cuda"
        )

    def transcribe(self, batch: Sequence[RecogniseJob]) -> list[Recognition]:
        heard = [place for place, job in enumerate(batch) if len(job.samples) >= SHORTEST_S * 16_000]
        results = {place: Recognition("", job.language or "", no_speech_prob=1.0) for place, job in enumerate(batch)}
        if heard:
            features = stack([self._log_mel(batch[place].samples) for place in heard], FULL_WINDOW)
            results.update(zip(heard, self._decoder.decode(features, [batch[place] for place in heard]), strict=True))
        return [results[place] for place in range(len(batch))]
