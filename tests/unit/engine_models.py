"""Models of the real formats with random weights, a few hundred kilobytes: for what does not depend on what they say."""

from __future__ import annotations

import json
from pathlib import Path

import ctranslate2
import numpy as np
from ctranslate2.specs import whisper_spec

from appliance.training.recogniser_tokens import LANGUAGES, Vocabulary, train_vocabulary

WIDTH = 32
HEADS = 2
MELS = 80
LINES = ["மடிக்கணினி வேலை செய்யவில்லை", "ల్యాప్‌టాప్ పని చేయడం లేదు", "ಲ್ಯಾಪ್‌ಟಾಪ್ ಕೆಲಸ ಮಾಡುತ್ತಿಲ್ಲ", "लॅपटॉप काम करत नाही", "लैपटॉप काम नहीं कर रहा"]


def random_whisper(folder: Path, seed: int = 0) -> Vocabulary:
    """A multilingual Whisper of one layer each in CTranslate2's format, with its tokenizer."""
    rng = np.random.default_rng(seed)
    vocabulary = train_vocabulary(LINES)

    def matrix(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

    def linear(spec: object, out: int, inner: int) -> None:
        spec.weight, spec.bias = matrix(out, inner), np.zeros(out, np.float32)  # type: ignore[attr-defined]

    def norm(spec: object) -> None:
        spec.gamma, spec.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)  # type: ignore[attr-defined]

    def feed_forward(spec: object) -> None:
        norm(spec.layer_norm)  # type: ignore[attr-defined]
        linear(spec.linear_0, 4 * WIDTH, WIDTH)  # type: ignore[attr-defined]
        linear(spec.linear_1, WIDTH, 4 * WIDTH)  # type: ignore[attr-defined]

    def attention(spec: object, widths: list[int]) -> None:
        norm(spec.layer_norm)  # type: ignore[attr-defined]
        for part, width in zip(spec.linear, widths, strict=True):  # type: ignore[attr-defined]
            linear(part, width, WIDTH)

    spec = whisper_spec.WhisperSpec(1, HEADS, 1, HEADS)
    spec.encoder.conv1.weight, spec.encoder.conv1.bias = matrix(WIDTH, MELS, 3), np.zeros(WIDTH, np.float32)
    spec.encoder.conv2.weight, spec.encoder.conv2.bias = matrix(WIDTH, WIDTH, 3), np.zeros(WIDTH, np.float32)
    spec.encoder.position_encodings.encodings = matrix(1500, WIDTH)
    norm(spec.encoder.layer_norm)
    attention(spec.encoder.layer[0].self_attention, [3 * WIDTH, WIDTH])
    feed_forward(spec.encoder.layer[0].ffn)
    spec.decoder.embeddings.weight = matrix(vocabulary.size, WIDTH)
    spec.decoder.position_encodings.encodings = matrix(448, WIDTH)
    norm(spec.decoder.layer_norm)
    attention(spec.decoder.layer[0].self_attention, [3 * WIDTH, WIDTH])
    attention(spec.decoder.layer[0].attention, [WIDTH, 2 * WIDTH, WIDTH])
    feed_forward(spec.decoder.layer[0].ffn)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    tokens = [vocabulary.tokenizer.id_to_token(number) for number in range(vocabulary.size)]
    spec.register_vocabulary([f"<|{number}|>" if token is None else token for number, token in enumerate(tokens)])
    spec.config.lang_ids = [vocabulary.languages[code] for code in LANGUAGES]
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [vocabulary.end]
    spec.validate()
    spec.optimize()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    vocabulary.tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": MELS, "chunk_length": 30}))
    assert ctranslate2.models.Whisper(str(folder)).is_multilingual
    return vocabulary
