"""Translation by a CTranslate2 model with SentencePiece vocabularies beside it.

Numbers and ids travel as placeholders; a translation that loses one is looked for again among more hypotheses.
The format of the starter translator is the default; a folder with other tokens or files says so in `translator.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import msgspec
import sentencepiece

from appliance.engines.base import Capabilities, EngineFailed, EngineUnavailable, JobRejected, Translated, TranslateJob
from appliance.text.languages import CALLER_LANGUAGES, HINGLISH
from appliance.text.placeholders import Protected, protect, restore

RESCUE_HYPOTHESES = 5
"""How many translations are looked at when the best one lost a number."""
TARGET_PER_SOURCE = 3
"""A translation has at most this many pieces for each source piece, and `SPARE_PIECES`: more is a decoder repeating itself."""
SPARE_PIECES = 24
_CODES: tuple[str, ...] = (*(item.code for item in CALLER_LANGUAGES), HINGLISH.code)


class Format(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`translator.json`"""

    tokens: dict[str, str] = msgspec.field(default_factory=lambda: {code: f"__{code}__" for code in _CODES})
    """Language token of the model by language code."""
    pairs: list[tuple[str, str]] = msgspec.field(
        default_factory=lambda: [pair for item in CALLER_LANGUAGES for pair in ((item.code, HINGLISH.code), (HINGLISH.code, item.code))]
    )
    source_pieces: str = "spm.model"
    target_pieces: str = "spm.model"
    source_ends_with: str = "</s>"
    off_topic: str = "<offtopic>"
    """What the model writes when the source is about nothing it knows; the translation is then empty."""
    placeholders: bool = True
    """Whether the model knows `<n1>`, `<t1>`... as pieces."""
    max_pieces: int = 250
    """Of a source sentence: positions of the model, less its own tokens."""


@dataclass(frozen=True, slots=True)
class _Source:
    protected: Protected
    tokens: list[str]
    prefix: list[str]

    @property
    def limit(self) -> int:
        """Pieces of its translation."""
        return SPARE_PIECES + TARGET_PER_SOURCE * len(self.tokens)


class CT2Translator:
    def __init__(self, folder: Path, *, device: str = "cpu", compute_type: str = "int8", threads: int = 1, beam_size: int = 2) -> None:
        """Raises: EngineUnavailable."""
        self._beam_size = beam_size
        try:
            described = folder / "translator.json"
            self._format = msgspec.json.decode(described.read_bytes(), type=Format) if described.is_file() else Format()
            self._source = sentencepiece.SentencePieceProcessor(model_file=str(folder / self._format.source_pieces))
            self._target = sentencepiece.SentencePieceProcessor(model_file=str(folder / self._format.target_pieces))
            self._model = ctranslate2.Translator(str(folder), device=device, compute_type=compute_type, intra_threads=threads)
        except (OSError, ValueError, RuntimeError) as error:  # msgspec's errors are ValueErrors
            raise EngineUnavailable(f"translation model {folder}: {error}") from error
        for code, token in self._format.tokens.items():
            if self._source.piece_to_id(token) == self._source.unk_id():
                raise EngineUnavailable(
                    f"translation model {folder}: {self._format.source_pieces} has no token {token} for language {code}"
                )
        pairs = frozenset(self._format.pairs)
        codes = tuple(dict.fromkeys(code for pair in self._format.pairs for code in pair))
        self.capabilities = Capabilities("ctranslate2", codes, pairs, max_text_chars=1000, batches_cheaply=self._model.device == "cuda")

    def translate(self, batch: Sequence[TranslateJob]) -> list[Translated]:
        sources = [self._prepare(job) for job in batch]
        results = [Translated("", 0.0)] * len(batch)
        waiting = [place for place, job in enumerate(batch) if job.text.strip()]
        again = []
        if waiting:
            for place, result in zip(waiting, self._run([sources[place] for place in waiting], self._beam_size, 1), strict=True):
                results[place], exact = self._choose(sources[place], result)
                if not exact:
                    again.append(place)
        if again:
            rescued = self._run([sources[place] for place in again], RESCUE_HYPOTHESES, RESCUE_HYPOTHESES)
            for place, result in zip(again, rescued, strict=True):
                found, exact = self._choose(sources[place], result)
                results[place] = found if exact else results[place]
        return results

    def _prepare(self, job: TranslateJob) -> _Source:
        protected = protect(job.text) if self._format.placeholders else Protected(job.text)
        pieces = self._source.encode(protected.text, out_type=str)
        if len(pieces) > self._format.max_pieces:
            raise JobRejected(f"sentence of {len(pieces)} pieces, the model takes {self._format.max_pieces}")
        tokens = [self._format.tokens[job.source], *pieces, self._format.source_ends_with]
        return _Source(protected, tokens, [self._format.tokens[job.target]])

    def _run(self, sources: Sequence[_Source], beam_size: int, hypotheses: int) -> list[Any]:
        try:
            return list(
                self._model.translate_batch(
                    [source.tokens for source in sources],
                    target_prefix=[source.prefix for source in sources],
                    beam_size=beam_size,
                    num_hypotheses=hypotheses,
                    max_decoding_length=max(source.limit for source in sources),
                    return_scores=True,
                )
            )
        except RuntimeError as error:
            raise EngineFailed(f"translation of {len(sources)} sentences: {error}") from error

    def _choose(self, source: _Source, result: Any) -> tuple[Translated, bool]:
        """The best hypothesis that came to an end and has every value of the source once, and whether there is one; else the best."""
        best: Translated | None = None
        for tokens, score in zip(result.hypotheses, result.scores, strict=True):
            pieces = tokens[len(source.prefix) : source.limit]
            if self._format.off_topic in pieces:
                found, exact = Translated("", score), True
            else:
                restored = restore(self._target.decode(pieces), source.protected.values)
                found, exact = Translated(restored.text, score), restored.exact and len(tokens) < source.limit
            if exact:
                return found, True
            best = best or found
        return best or Translated("", 0.0), False
