"""Translation by a CTranslate2 model with SentencePiece vocabularies beside it.

Numbers, ids and words the model never saw travel as placeholders; where a translation loses one, more hypotheses are looked
at. The format of the starter translator is the default; a folder with other tokens or files says so in `translator.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import msgspec
import sentencepiece

from appliance.engines.base import Capabilities, EngineFailed, EngineUnavailable, JobRejected, Translated, TranslateJob
from appliance.text.languages import CALLER_LANGUAGES, HINGLISH
from appliance.text.placeholders import Protected, foreign_words, protect, restore

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
    known_words: str = "known_words.txt"
    """File with the Latin words the model has seen; others travel as placeholders. Where there is no such file, all go as they are."""
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
            words = folder / self._format.known_words
            known = words.read_text(encoding="utf-8").split() if words.is_file() and self._format.placeholders else []
            self._known = frozenset(known)
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
        results = [Translated("", 0.0)] * len(batch)
        sources = {place: self._prepare(job) for place, job in enumerate(batch) if job.text.strip()}
        inexact = self._answer(sources, results, self._beam_size, 1)
        # A word it never saw is kept from the model, but only once it has seen the word: it tells it whether the sentence is off-topic.
        foreign = {place: foreign_words(batch[place].text, self._known) for place in sources if self._known and results[place].text}
        kept = {place: self._prepare(batch[place], words) for place, words in foreign.items() if words}
        inexact = (inexact - kept.keys()) | self._answer(kept, results, self._beam_size, 1)
        again = {place: source for place, source in (sources | kept).items() if place in inexact}
        self._answer(again, results, RESCUE_HYPOTHESES, RESCUE_HYPOTHESES)
        return results

    def _answer(self, sources: Mapping[int, _Source], results: list[Translated], beam_size: int, hypotheses: int) -> set[int]:
        """Put the translations of `sources` into their places of `results`; the places of those that are not exact."""
        found = self._run(list(sources.values()), beam_size, hypotheses) if sources else []
        inexact = set()
        for (place, source), result in zip(sources.items(), found, strict=True):
            results[place], exact = self._choose(source, result)
            if not exact:
                inexact.add(place)
        return inexact

    def _prepare(self, job: TranslateJob, glossary: Mapping[str, str] | None = None) -> _Source:
        protected = protect(job.text, glossary) if self._format.placeholders else Protected(job.text)
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
