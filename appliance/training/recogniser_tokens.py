"""The recogniser's vocabulary: byte-level BPE of the phrasebook's languages and Whisper's special tokens in OpenAI's order.

What must hold for plain faster_whisper and CTranslate2: an empty-string token before `<|endoftext|>` (or the model does not
count as multilingual), timestamps after `<|notimestamps|>`, and ` -`, ` '` and ` ` + the first byte of a music note as
single tokens (the default suppression would otherwise forbid the blank before digits).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

LANGUAGES: tuple[str, ...] = ("ta", "te", "kn", "mr", "hi")
TEXT_TOKENS = 1200
TIMESTAMPS = 1501
"""0.00 to 30.00 s in steps of 20 ms."""
IGNORED = -100

_SPECIAL: tuple[str, ...] = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{code}|>" for code in LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)


@dataclass(frozen=True)
class Vocabulary:
    tokenizer: Tokenizer

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        return cls(Tokenizer.from_file(str(path)))

    def id(self, token: str) -> int:
        """Raises: KeyError for an unknown token."""
        number = self.tokenizer.token_to_id(token)
        if number is None:
            raise KeyError(token)
        return int(number)

    @cached_property
    def end(self) -> int:
        return self.id("<|endoftext|>")

    @cached_property
    def start(self) -> int:
        return self.id("<|startoftranscript|>")

    @cached_property
    def no_speech(self) -> int:
        return self.id("<|nospeech|>")

    @cached_property
    def first_timestamp(self) -> int:
        return self.id("<|notimestamps|>") + 1

    @cached_property
    def languages(self) -> dict[str, int]:
        return {code: self.id(f"<|{code}|>") for code in LANGUAGES}

    @property
    def size(self) -> int:
        return self.first_timestamp + TIMESTAMPS

    def prompt(self, code: str, timestamps: bool = False) -> list[int]:
        """Start of transcript, language, task and, without timestamps, the token that says so."""
        head = [self.start, self.languages[code], self.id("<|transcribe|>")]
        return head if timestamps else [*head, self.first_timestamp - 1]

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(f" {text}", add_special_tokens=False).ids) if text else []

    def decode(self, ids: Iterable[int]) -> str:
        return str(self.tokenizer.decode([number for number in ids if number < self.end])).strip()

    def target(
        self, text: str, code: str, *, language_known: bool = True, speech: bool = True, seconds: float | None = None
    ) -> tuple[list[int], list[int]]:
        """Input ids and labels (`IGNORED` where nothing is to be learnt) of one utterance.

        Args:
            code: language of the prompt, one of `LANGUAGES`.
            language_known: whether the language can be told from the audio.
            speech: False for noise, which is to be answered with no-speech in place of the language.
            seconds: end of the speech, for a target with timestamps.
        """
        prompt = self.prompt(code, timestamps=seconds is not None)
        body = self.encode(text)
        if seconds is not None:
            last = self.first_timestamp + min(round(seconds * 50), TIMESTAMPS - 1)
            body = [self.first_timestamp, *body, last] if body else [self.first_timestamp]
        first = self.no_speech if not speech else self.languages[code] if language_known else IGNORED
        labels = [first, *[IGNORED] * (len(prompt) - 2), *body, self.end]
        return prompt + body, labels


def train_vocabulary(texts: Sequence[str]) -> Vocabulary:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(" ", "merged_with_next"),  # Latin-minded patterns split before Indic vowel signs
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.Split(Regex(r"[.?,]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=TEXT_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    suppressed = [mark for mark in ("x -", "x '", "x ♪") for _ in range(len(texts))]
    bpe.train_from_iterator([*(f" {text}" for text in texts), *suppressed], trainer)
    bpe.add_tokens([AddedToken("", normalized=False)])
    if bpe.token_to_id("") is None:
        bpe = _with_empty_token(bpe)
    bpe.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in _SPECIAL])
    return Vocabulary(bpe)


def _with_empty_token(bpe: Tokenizer) -> Tokenizer:
    """`add_tokens` ignores an empty string, so it goes into the model's own vocabulary."""
    data = json.loads(bpe.to_str())
    vocabulary = data["model"]["vocab"]
    vocabulary[""] = len(vocabulary)
    return Tokenizer.from_str(json.dumps(data))


class Characters:
    """Characters of the auxiliary CTC loss: 0 is blank, punctuation is left out."""

    def __init__(self, alphabet: str) -> None:
        self.alphabet = alphabet
        self._ids = {character: number for number, character in enumerate(alphabet, start=1)}

    @classmethod
    def of(cls, texts: Iterable[str]) -> Characters:
        return cls("".join(sorted({character for text in texts for character in text} - set(".?,"))))

    def __len__(self) -> int:
        return len(self.alphabet) + 1

    def encode(self, text: str) -> list[int]:
        return [self._ids[character] for character in text if character in self._ids]

    def decode(self, best: Sequence[int]) -> str:
        """Text of the best class of each frame."""
        kept = [number for place, number in enumerate(best) if number and (place == 0 or best[place - 1] != number)]
        return "".join(self.alphabet[number - 1] for number in kept)
