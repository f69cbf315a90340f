"""The starter translator: its SentencePiece vocabulary, its small M2M100 and how pairs become token ids.

Source tokens are `[language] pieces </s>`, target tokens `[language] pieces </s>` behind the start token `</s>`. Token ids
are those of the SentencePiece model, which knows the languages as control symbols and the placeholders as symbols.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration

from appliance.text.placeholders import NUMBER_PLACEHOLDERS, TERM_PLACEHOLDERS
from appliance.training.phrasebook import LANGUAGES
from appliance.training.translator_pairs import OFF_TOPIC, Pair, PairSource, language_token

BOS, PAD, EOS, UNK = 0, 1, 2, 3
"""Token ids as M2M100 has them."""
VOCABULARY = 3000
LEARN_FROM = 40_000
"""Pairs the vocabulary is learnt from."""
SAMPLED = 0.3
"""Share of sources cut into pieces at random instead of the best way, which makes unseen spellings familiar."""


def learn_vocabulary(pairs: PairSource, off_topic: dict[str, list[str]], prefix: Path) -> None:
    """Write `PREFIX.model` (and SentencePiece's own `PREFIX.vocab`)."""
    lines = [text for texts in off_topic.values() for text in texts]
    for _ in range(LEARN_FROM):
        pair = pairs.draw()
        lines += [pair.source, pair.target] if pair.target != OFF_TOPIC else []
    native = {chr(point) for first in (0x0900, 0x0B80, 0x0C00, 0x0C80) for point in range(first, first + 0x80)}
    letters = {character for line in lines for character in line} & native
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(prefix),
        model_type="unigram",
        vocab_size=VOCABULARY,
        hard_vocab_limit=False,
        character_coverage=1.0,
        required_chars="".join(sorted(letters)) + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?",
        normalization_rule_name="nmt_nfkc",
        control_symbols=[*(language_token(code) for code in LANGUAGES), OFF_TOPIC],
        user_defined_symbols=[*NUMBER_PLACEHOLDERS, *TERM_PLACEHOLDERS],
        bos_id=BOS,
        pad_id=PAD,
        eos_id=EOS,
        unk_id=UNK,
        num_threads=1,
        minloglevel=2,
    )


def new_model(vocabulary_size: int) -> M2M100ForConditionalGeneration:
    return M2M100ForConditionalGeneration(
        M2M100Config(
            vocab_size=vocabulary_size,
            d_model=256,
            encoder_layers=3,
            decoder_layers=2,
            encoder_ffn_dim=1024,
            decoder_ffn_dim=1024,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_layerdrop=0.0,
            decoder_layerdrop=0.0,
            dropout=0.1,
            attention_dropout=0.0,
            activation_dropout=0.0,
            max_position_embeddings=256,
            bos_token_id=BOS,
            pad_token_id=PAD,
            eos_token_id=EOS,
            decoder_start_token_id=EOS,
            scale_embedding=True,
        )
    )


@dataclass(frozen=True, slots=True)
class Batch:
    source: torch.Tensor
    """int64 (sentences, tokens), padded with PAD."""
    target: torch.Tensor
    """int64 (sentences, tokens): start token, language, pieces, end."""

    @property
    def inputs(self) -> torch.Tensor:
        return self.target[:, :-1]

    @property
    def labels(self) -> torch.Tensor:
        """What follows each input; the language is given at use, so it is no label (-100)."""
        labels = self.target[:, 1:].masked_fill(self.target[:, 1:] == PAD, -100)
        labels[:, 0] = -100
        return labels


class Batches:
    """Batches of about `tokens` target tokens of like length, without end."""

    def __init__(self, pairs: PairSource, pieces: sentencepiece.SentencePieceProcessor, tokens: int, rng: random.Random) -> None:
        self._pairs = pairs
        self._pieces = pieces
        self._tokens = tokens
        self._rng = rng
        self._ready: list[Batch] = []

    def next(self) -> Batch:
        if not self._ready:
            pool = sorted((self._encode(self._pairs.draw()) for _ in range(3000)), key=lambda item: (len(item[1]), len(item[0])))
            rows: list[tuple[list[int], list[int]]] = []
            for item in pool:
                if rows and (len(rows) + 1) * max(len(item[0]), len(item[1])) > self._tokens:
                    self._ready.append(_batch(rows))
                    rows = []
                rows.append(item)
            self._ready.append(_batch(rows))
            self._rng.shuffle(self._ready)
        return self._ready.pop()

    def _encode(self, pair: Pair) -> tuple[list[int], list[int]]:
        if self._rng.random() < SAMPLED:
            source = self._pieces.encode(pair.source, enable_sampling=True, nbest_size=-1, alpha=0.2)
        else:
            source = self._pieces.encode(pair.source)
        identity = self._pieces.piece_to_id
        target = [identity(OFF_TOPIC)] if pair.target == OFF_TOPIC else self._pieces.encode(pair.target)
        return (
            [identity(language_token(pair.source_language)), *source, EOS],
            [EOS, identity(language_token(pair.target_language)), *target, EOS],
        )


def _batch(rows: Sequence[tuple[list[int], list[int]]]) -> Batch:
    return Batch(_padded([source for source, _ in rows]), _padded([target for _, target in rows]))


def _padded(rows: Sequence[list[int]]) -> torch.Tensor:
    padded = torch.full((len(rows), max(len(row) for row in rows)), PAD)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = torch.tensor(row)
    return padded
