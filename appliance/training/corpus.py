"""What the recogniser hears in training: who says which words, and what should be written down.

Beside sentences of the phrasebook there are digit strings and lone slot values, random words and beginnings of sentences
(so that growing partials and unusual wording are heard as they are), several sentences in one clip, and off-topic
sentences, whose target is empty.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.text.languages import language, script_shares
from appliance.text.spoken import digit_words, spoken_text
from appliance.training import random_voices
from appliance.training.phrasebook import LANGUAGES, Example, Phrasebook, SlotValue, Split, Template
from appliance.training.speech import VOICES, Manner

LANGUAGE_SHARES = {"ta": 0.16, "te": 0.16, "kn": 0.18, "mr": 0.19, "hi": 0.13, "hinglish": 0.18}
KIND_SHARES = {
    "sentence": 0.40,
    "digits": 0.20,
    "value": 0.06,
    "words": 0.07,
    "prefix": 0.04,
    "cut": 0.07,
    "several": 0.08,
    "offtopic": 0.08,
}
"""Share of clips; noise without speech comes on top, made while training.

`cut` is a sentence broken off in mid-air, `prefix` its first words said as if they were all.
"""

_ENGLISH_DIGITS = 0.3
"""Share of speakers who say their numbers in English."""
_WITH_DIGITS = 0.18
"""Share of sentences that are chosen for a number in them; others may have one, too."""
_SPLICED = 0.5
"""Share of off-topic speech that begins with one sentence and ends with another: a few hundred are soon known by heart, and what
is to be learnt is that they are none of the phrasebook's."""


@dataclass(frozen=True, slots=True)
class Utterance:
    kind: str
    code: str
    """Language code; `hinglish` is spoken by a Hindi voice."""
    text: str
    """What should be recognised; empty for off-topic speech."""
    spoken: tuple[str, ...]
    """What the voice reads, one entry a sentence."""
    manner: Manner
    language_known: bool = True
    """Whether the words tell the language; a lone `printer` does not."""
    keep_words: int = 0
    """For `cut`: number of words after which the clip breaks off."""
    heard: str = ""
    """What is said in off-topic speech: the encoder learns it, the decoder learns to keep quiet."""


@dataclass(frozen=True)
class Corpus:
    phrasebook: Phrasebook
    off_topic: dict[str, Sequence[str]]
    """Sentences on other topics by language, of this split."""
    split: Split
    words: dict[str, list[str]]
    """Every word of the phrasebook, by language."""
    drawn_voices: float = 0.0
    """Share of clips by a voice drawn at random; with any, the pitch goes further, too. Only to train on."""

    def draw(self, rng: random.Random, kind: str = "", code: str = "") -> Utterance:
        """A random utterance, of the given kind and language if there is one."""
        kind = kind or _choice(KIND_SHARES, rng)
        code = code or _choice(LANGUAGE_SHARES, rng)
        manner = self.manner(code, rng)
        english = "en" if rng.random() < _ENGLISH_DIGITS else None
        if kind == "offtopic":
            text = self._off_topic(rng, code)
            return Utterance(kind, code, "", (_say(text, code, english),), manner, heard=text)
        if kind == "digits":
            digits = self._digits(rng)
            spoken = _spoken_digits(digits, english or code, rng)
            return Utterance(kind, code, f"{digits}.", (spoken,), manner, language_known=not english)
        if kind == "value":
            text = self._value(rng, code)
            return Utterance(kind, code, f"{text}.", (_say(text, code, english),), manner, _tells_language(text, code))
        if kind == "words":
            text = " ".join(rng.choices(self.words[code], k=rng.randint(1, 6)))
            return Utterance(kind, code, text, (_say(text, code, english),), manner, _tells_language(text, code))
        if kind == "several":
            texts = [self._sentence(rng, code) for _ in range(2 if rng.random() < 0.75 else 3)]
            return Utterance(kind, code, " ".join(texts), tuple(_say(text, code, english) for text in texts), manner)
        text = self._sentence(rng, code)
        if kind in ("prefix", "cut"):
            words = text.split()
            keep = rng.randint(1, max(1, len(words) - 1))
            start = " ".join(words[:keep]).rstrip(".?,")
            known = _tells_language(start, code)
            if kind == "prefix":
                return Utterance(kind, code, start, (_say(start, code, english),), manner, known)
            spoken_words = len(_say(" ".join(words[:keep]), code, english).split())
            return Utterance(kind, code, start, (_say(text, code, english),), manner, known, spoken_words)
        return Utterance("sentence", code, text, (_say(text, code, english),), manner)

    def manner(self, code: str, rng: random.Random) -> Manner:
        if self.drawn_voices and rng.random() < self.drawn_voices:
            variant = random_voices.name(rng.randrange(random_voices.COUNT))
        else:
            variant = rng.choice(VOICES[self.split])
        return Manner(
            voice=f"{language(code).voice}+{variant}",
            words_per_minute=round(rng.triangular(130, 260, 180)),
            pitch=round(rng.triangular(10, 90, 50)) if self.drawn_voices else rng.randint(25, 75),
            pitch_range=rng.randint(20, 80),
            word_gap=rng.choice((0, 0, 0, 1, 2, 4)),
        )

    def example(self, rng: random.Random, template: Template | None = None) -> Example:
        """A filled template of this split; fillings without slots serve every split, as their voices differ."""
        while True:
            chosen = template or rng.choice(self.phrasebook.templates)
            example = self.phrasebook.draw(chosen, self.split, rng)
            if example is None and not chosen.slots:
                example = self.phrasebook.draw(chosen, "train", rng) or self.phrasebook.fill(chosen, ())
            if example is not None:
                return example
            template = None

    def _sentence(self, rng: random.Random, code: str) -> str:
        templates = self.phrasebook.templates
        with_digits = [item for item in templates if any(slot in self.phrasebook.patterns for slot in item.slots)]
        chosen = rng.choice(with_digits) if with_digits and rng.random() < _WITH_DIGITS else None
        return self.example(rng, chosen).text[code]

    def _off_topic(self, rng: random.Random, code: str) -> str:
        text = rng.choice(self.off_topic[code])
        if rng.random() >= _SPLICED:
            return text
        first, second = text.split(), rng.choice(self.off_topic[code]).split()
        return " ".join([*first[: rng.randint(1, len(first))], *second[-rng.randint(1, len(second)) :]])

    def _digits(self, rng: random.Random) -> str:
        while True:
            length = rng.choices(range(3, 11), weights=(5, 6, 7, 7, 2, 2, 1, 4))[0]
            digits = [rng.choice("0123456789")]
            while len(digits) < length:
                digits.append(digits[-1] if rng.random() < 0.2 else rng.choice("0123456789"))
            value = "".join(digits)
            lone = Example("digits", "both", (SlotValue("code", value, dict.fromkeys(LANGUAGES, value)),), {})
            if lone.split == self.split:
                return value

    def _value(self, rng: random.Random, code: str) -> str:
        slot = rng.choice(list(self.phrasebook.values))
        return rng.choice(self.phrasebook.values[slot]).text[code]


def build(phrasebook: Phrasebook, off_topic_file: Path, split: Split, drawn_voices: float = 0.0) -> Corpus:
    if drawn_voices and split != "train":
        raise ValueError("other splits keep to their own voices")
    words: dict[str, list[str]] = {}
    for code in LANGUAGES:
        found: set[str] = set()
        for template in phrasebook.templates:
            found.update(word.strip(".?,") for word in template.text[code].split() if "{" not in word)
        for values in phrasebook.values.values():
            for value in values:
                found.update(value.text[code].split())
        words[code] = sorted(found - {""})
    return Corpus(phrasebook, read_off_topic(off_topic_file, split), split, words, drawn_voices)


def read_off_topic(path: Path, split: Split) -> dict[str, Sequence[str]]:
    """Off-topic sentences by language (columns `language text`): each fifth of a language is for testing, the rest for training."""
    lines: dict[str, list[str]] = {code: [] for code in LANGUAGES}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        code, text = line.split("\t")
        lines[code].append(text)
    return {code: [text for number, text in enumerate(texts) if (number % 5 == 4) == (split != "train")] for code, texts in lines.items()}


def _choice(shares: dict[str, float], rng: random.Random) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def _say(text: str, code: str, english: str | None) -> str:
    return spoken_text(text, code, digits_in=english)


def _spoken_digits(digits: str, code: str, rng: random.Random) -> str:
    """Digit words grouped as people group them: in threes, in twos, in fours, or not at all."""
    if rng.random() < 0.5:
        return digit_words(digits, code)
    size = rng.choice((1, 2, 4, 5, 10))
    pause = rng.choice((" ", " ", ", "))
    groups = [digits[start : start + size] for start in range(0, len(digits), size)]
    return pause.join(" ".join(digit_words(digit, code) for digit in group) for group in groups)


def _tells_language(text: str, code: str) -> bool:
    return script_shares(text).get(language(code).script, 0.0) > 0.4
