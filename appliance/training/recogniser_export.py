"""A checkpoint to a directory that plain `faster_whisper.WhisperModel` loads: `... recogniser_export CHECKPOINT OUTDIR`.

Beside CTranslate2's files it holds `ctc.npz` (weights and alphabet of the CTC head, which reads the encoder's states as a
second opinion) and `card.json` with scores on the development set, measured with the exported model.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from ctranslate2.converters import TransformersConverter
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

from appliance.training import corpus, phrasebook, recogniser_score
from appliance.training.exported_recogniser import ExportedRecogniser
from appliance.training.recogniser_model import MAX_POSITIONS, MAX_TOKENS, Recogniser, Shape
from appliance.training.recogniser_tokens import Characters, Vocabulary
from appliance.training.recogniser_train import PHRASEBOOK

DEV_CLIPS_PER_LANGUAGE = 48


def whisper(model: Recogniser, vocabulary: Vocabulary) -> WhisperForConditionalGeneration:
    """The same weights in transformers' class."""
    shape = model.shape
    config = WhisperConfig(
        vocab_size=shape.vocabulary,
        num_mel_bins=shape.mels,
        d_model=shape.width,
        encoder_layers=shape.encoder_layers,
        encoder_attention_heads=shape.heads,
        encoder_ffn_dim=4 * shape.width,
        decoder_layers=shape.decoder_layers,
        decoder_attention_heads=shape.heads,
        decoder_ffn_dim=4 * shape.width,
        max_source_positions=MAX_POSITIONS,
        max_target_positions=MAX_TOKENS,
        pad_token_id=vocabulary.end,
        bos_token_id=vocabulary.end,
        eos_token_id=vocabulary.end,
        decoder_start_token_id=vocabulary.start,
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )
    whole = WhisperForConditionalGeneration(config)
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith("ctc.")}
    weights["proj_out.weight"] = weights["model.decoder.embed_tokens.weight"]
    whole.load_state_dict(weights)
    whole.generation_config = GenerationConfig(
        suppress_tokens=[],
        begin_suppress_tokens=[],  # an empty transcript is the right answer to off-topic speech
        lang_to_id={f"<|{code}|>": number for code, number in vocabulary.languages.items()},
        task_to_id={"transcribe": vocabulary.id("<|transcribe|>"), "translate": vocabulary.id("<|translate|>")},
        no_timestamps_token_id=vocabulary.first_timestamp - 1,
        is_multilingual=True,
        decoder_start_token_id=vocabulary.start,
        eos_token_id=vocabulary.end,
        pad_token_id=vocabulary.end,
        max_length=MAX_TOKENS,
    )
    return whole


def load_checkpoint(path: Path) -> Recogniser:
    state = torch.load(path, weights_only=True)
    model = Recogniser(Shape(**state["shape"]))
    model.load_state_dict(state["model"])
    model.eval()
    return model


def export(model: Recogniser, vocabulary: Vocabulary, characters: Characters, out: Path, quantization: str = "int8") -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        whisper(model, vocabulary).save_pretrained(folder)
        vocabulary.tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}), encoding="utf-8"
        )
        extractor = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80, "sampling_rate": 16000, "hop_length": 160}
        extractor |= {"n_fft": 400, "chunk_length": 30}
        (folder / "preprocessor_config.json").write_text(json.dumps(extractor), encoding="utf-8")
        converter = TransformersConverter(str(folder), copy_files=["tokenizer.json", "preprocessor_config.json"])
        converter.convert(str(out), quantization=quantization, force=True)
    head = model.ctc
    np.savez(
        out / "ctc.npz",
        weight=head.weight.detach().numpy().astype(np.float16),
        bias=head.bias.detach().numpy().astype(np.float32),
        alphabet=np.array(characters.alphabet),
    )


def card(out: Path, book_folder: Path, recordings_folder: Path) -> dict[str, object]:
    """Scores of the exported model on development recordings (voices and combinations never trained on)."""
    dev = corpus.build(phrasebook.load(book_folder), book_folder / "offtopic.tsv", "dev")
    recogniser = ExportedRecogniser(out)
    found: dict[str, object] = {"split": "dev", "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    for name, snr in (("clean", None), ("noise 10 dB", 10.0)):
        batches = recogniser_score.dev_batches(dev, recordings_folder / "card", DEV_CLIPS_PER_LANGUAGE, snr, seed=8)
        began = time.monotonic()
        scores = recogniser_score.score(recogniser.recognise, batches)
        seconds = (time.monotonic() - began) / sum(len(batch.clips) for batch in batches)
        found[name] = {key: round(value, 4) for key, value in scores.items()} | {"seconds per clip": round(seconds, 4)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--phrasebook", type=Path, default=PHRASEBOOK)
    options = parser.parse_args()
    folder: Path = options.checkpoint.parent
    torch.set_num_threads(1)
    vocabulary = Vocabulary.load(folder / "tokenizer.json")
    characters = Characters(json.loads((folder / "characters.json").read_text(encoding="utf-8")))
    export(load_checkpoint(options.checkpoint), vocabulary, characters, options.out)
    described = card(options.out, options.phrasebook, folder / "recordings")
    (options.out / "card.json").write_text(json.dumps(described, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
