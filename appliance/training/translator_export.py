"""Export a checkpoint of the starter translator: `python -m appliance.training.translator_export CHECKPOINT OUTDIR`.

OUTDIR is then a CTranslate2 directory (int8) that plain `ctranslate2.Translator` loads, with `spm.model` beside it and
`known_words.txt`, the Latin words of the phrasebook: others are best kept from the translator as placeholders.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import ctranslate2
import sentencepiece
import torch
from ctranslate2.converters.transformers import M2M100Loader

from appliance.training import phrasebook
from appliance.training.translator_model import new_model
from appliance.training.translator_pairs import latin_words

PHRASEBOOK = Path(__file__).parents[2] / "models" / "phrasebook"


class _Converter(ctranslate2.converters.Converter):
    """CTranslate2's M2M100 conversion with a vocabulary of our own instead of a Transformers tokenizer."""

    def __init__(self, model: torch.nn.Module, tokens: list[str]) -> None:
        self._model = model
        self._tokens = tokens

    def _load(self) -> Any:
        with torch.no_grad():
            spec = M2M100Loader().get_model_spec(self._model)
        spec.register_source_vocabulary(self._tokens)
        spec.register_target_vocabulary(self._tokens)
        spec.config.bos_token = "<s>"
        spec.config.eos_token = "</s>"
        spec.config.unk_token = "<unk>"
        spec.config.decoder_start_token = "</s>"
        return spec


def export(checkpoint: Path, folder: Path, extra: tuple[Path, ...] = ()) -> None:
    """Convert `checkpoint`, whose vocabulary lies beside it and which was trained with the phrasebooks `extra`, too."""
    vocabulary = checkpoint.parent / "spm.model"
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary))
    model: Any = new_model(pieces.vocab_size())
    model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["model"])
    model.eval()
    tokens = [pieces.id_to_piece(index) for index in range(pieces.vocab_size())]
    _Converter(model, tokens).convert(str(folder), quantization="int8", force=True)
    shutil.copyfile(vocabulary, folder / "spm.model")
    known = latin_words(phrasebook.load(PHRASEBOOK, *extra))
    (folder / "known_words.txt").write_text("\n".join(known) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--phrasebook", type=Path, action="append", default=[], help="a company's own phrasebook, as in the training")
    arguments = parser.parse_args()
    export(arguments.checkpoint, arguments.outdir, tuple(arguments.phrasebook))
    size = sum(path.stat().st_size for path in arguments.outdir.iterdir())
    print(f"{arguments.outdir}: {size / 1e6:.1f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
