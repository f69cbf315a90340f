"""The exported recogniser over short windows, as the card's scores and the benches call it.

The window is the utterance's features padded with zeros to half a second more than it needs, not to 30 s: a tenth of the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ctranslate2
import numpy as np
import numpy.typing as npt
from faster_whisper.feature_extractor import FeatureExtractor

from appliance.training.recogniser_tokens import Characters, Vocabulary

STEP_FRAMES = 50
"""Windows are padded to whole half seconds, as in training."""
MAX_TOKENS = 100


@dataclass(frozen=True, slots=True)
class Heard:
    text: str
    language: str
    """Most probable language, or the given one."""
    languages: dict[str, float]
    """Probability of each language."""
    no_speech: float
    """Probability of no speech."""
    log_probability: float
    """Average over the tokens and the end, as faster_whisper counts it."""
    spelled: str
    """What the CTC head reads, without punctuation."""


def window(audio: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Features (80, frames) of 16 kHz audio in -1 to 1 as faster_whisper computes them, padded with zeros."""
    features = FeatureExtractor()(audio)[:, : len(audio) // 160]
    frames = -(-features.shape[1] // STEP_FRAMES) * STEP_FRAMES
    return np.pad(features, ((0, 0), (0, frames - features.shape[1]))).astype(np.float32)


class ExportedRecogniser:
    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.model = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="int8", intra_threads=threads)
        self.vocabulary = Vocabulary.load(folder / "tokenizer.json")
        head = np.load(folder / "ctc.npz")
        self.weight, self.bias = head["weight"].astype(np.float32), head["bias"]
        self.characters = Characters(str(head["alphabet"]))

    def recognise(self, features: npt.NDArray[np.float32], code: str | None = None) -> list[Heard]:
        """Decode a batch (batch, 80, frames) greedily; `code` forces the language."""
        states = self.model.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(features)), to_cpu=True)
        shares = [{token.strip("<|>"): share for token, share in found} for found in self.model.detect_language(states)]
        languages = [code or max(found, key=lambda name: found[name]) for found in shares]
        results = self.model.generate(
            states,
            [self.vocabulary.prompt(name) for name in languages],
            beam_size=1,
            max_length=MAX_TOKENS,
            suppress_blank=False,
            return_scores=True,
            return_no_speech_prob=True,
        )
        read = (np.asarray(states).astype(np.float32) @ self.weight.T + self.bias).argmax(2)
        heard = []
        for result, language, found, best in zip(results, languages, shares, read.tolist(), strict=True):
            ids = [number for number in result.sequences_ids[0] if number < self.vocabulary.end]
            average = result.scores[0] * len(result.sequences_ids[0]) / (len(result.sequences_ids[0]) + 1)
            spelled = self.characters.decode(best)
            heard.append(Heard(self.vocabulary.decode(ids), language, found, result.no_speech_prob, average, spelled))
        return heard
