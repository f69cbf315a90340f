"""Score an exported translator: `python -m appliance.training.translator_score DIRECTORY [--split test]`.

chrF, exact sentences, right numbers and milliseconds per sentence (one thread, one sentence at a time), per direction.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ctranslate2
import sacrebleu
import sentencepiece

from appliance.text.placeholders import Protected, foreign_words, protect, restore
from appliance.training import phrasebook
from appliance.training.phrasebook import Example, Phrasebook, Split
from appliance.training.translator_pairs import DIRECTIONS, OFF_TOPIC, language_token, read_off_topic

PHRASEBOOK = Path(__file__).parents[2] / "models" / "phrasebook"


@dataclass(frozen=True, slots=True)
class Output:
    text: str
    """Empty when the translator takes the source for off-topic."""
    score: float
    """Mean log-probability per token, natural logarithm."""
    exact_numbers: bool


class StarterTranslator:
    """The exported directory as an engine would use it."""

    def __init__(self, folder: Path, *, beam_size: int = 1) -> None:
        self._translator = ctranslate2.Translator(str(folder), device="cpu", inter_threads=1, intra_threads=1)
        self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
        self._beam_size = beam_size
        self._known = frozenset((folder / "known_words.txt").read_text(encoding="utf-8").split())

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
        """Words it never saw are kept from it, but only after it has seen them and did not find the sentence off-topic."""
        outputs = self._translate([protect(text) for text in texts], source, target)
        for index, text in enumerate(texts):
            foreign = foreign_words(text, self._known)
            if foreign and outputs[index].text:
                outputs[index : index + 1] = self._translate([protect(text, foreign)], source, target)
        return outputs

    def _translate(self, protected: Sequence[Protected], source: str, target: str) -> list[Output]:
        results = self._translator.translate_batch(
            [[language_token(source), *self._pieces.encode(item.text, out_type=str), "</s>"] for item in protected],
            target_prefix=[[language_token(target)]] * len(protected),
            beam_size=self._beam_size,
            return_scores=True,
            max_decoding_length=96,
        )
        outputs = []
        for item, result in zip(protected, results, strict=True):
            tokens = result.hypotheses[0][1:]
            if OFF_TOPIC in tokens:
                outputs.append(Output("", result.scores[0], exact_numbers=False))
                continue
            restored = restore(self._pieces.decode(tokens), item.values)
            outputs.append(Output(restored.text, result.scores[0], restored.exact))
        return outputs


@dataclass(frozen=True, slots=True)
class DirectionScore:
    sentences: int
    chrf: float
    exact: float
    numbers: float
    off_topic: float
    """Share taken for off-topic, wrongly."""
    milliseconds: float
    """Median per sentence."""
    wrong: tuple[tuple[str, str, str], ...]
    """Source, reference and output of the sentences that are not exact."""


def held_out(book: Phrasebook, split: Split, count: int, *, seed: int) -> list[Example]:
    """`count` sentences of a split, or fewer when it has no more, spread over its templates."""
    rng = random.Random(seed)
    found: dict[str, Example] = {}
    templates = [template for template in book.templates if book.draw(template, split, rng) is not None]
    for _ in range(20):
        rng.shuffle(templates)
        for template in templates:
            example = book.draw(template, split, rng)
            if example is not None and len(found) < count:
                found[example.text["hinglish"]] = example
    return list(found.values())


def score(folder: Path, examples: Sequence[Example]) -> dict[str, DirectionScore]:
    translator = StarterTranslator(folder)
    scores = {}
    for source, target in DIRECTIONS:
        references = [example.text[target] for example in examples]
        outputs, times = [], []
        for example in examples:
            start = time.perf_counter()
            outputs += translator.translate([example.text[source]], source, target)
            times.append(time.perf_counter() - start)
        wrong = tuple(
            (example.text[source], reference, output.text)
            for example, reference, output in zip(examples, references, outputs, strict=True)
            if output.text != reference
        )
        scores[f"{source}-{target}"] = DirectionScore(
            sentences=len(examples),
            chrf=sacrebleu.corpus_chrf([output.text for output in outputs], [references]).score,
            exact=1 - len(wrong) / len(examples),
            numbers=sum(output.exact_numbers for output in outputs) / len(outputs),
            off_topic=sum(not output.text for output in outputs) / len(outputs),
            milliseconds=sorted(times)[len(times) // 2] * 1000,
            wrong=wrong,
        )
    return scores


def report(scores: Mapping[str, DirectionScore]) -> str:
    lines = [f"{'direction':14} sentences  chrF   exact  numbers  off-topic   ms"]
    for direction, item in scores.items():
        shares = f"{item.exact:7.1%} {item.numbers:8.1%} {item.off_topic:10.1%}"
        lines.append(f"{direction:14} {item.sentences:9} {item.chrf:5.1f} {shares} {item.milliseconds:4.1f}")
    return "\n".join(lines)


def refused(folder: Path, split: Split) -> dict[str, float]:
    """Share of the off-topic sentences of a split that are recognised as such, by source language."""
    translator = StarterTranslator(folder)
    shares = {}
    for code, texts in read_off_topic(PHRASEBOOK / "offtopic.tsv", split).items():
        target = "ta" if code == "hinglish" else "hinglish"
        outputs = translator.translate(texts, code, target)
        shares[code] = sum(not output.text for output in outputs) / max(1, len(outputs))
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--sentences", type=int, default=400)
    parser.add_argument("--wrong", type=int, default=0, help="show this many wrong sentences per direction")
    arguments = parser.parse_args()
    book = phrasebook.load(PHRASEBOOK)
    scores = score(arguments.directory, held_out(book, arguments.split, arguments.sentences, seed=7))
    print(report(scores))  # noqa: T201
    for direction, item in scores.items():
        for source, reference, output in item.wrong[: arguments.wrong]:
            print(f"{direction}\n  {source}\n  {reference}\n  {output or '(off-topic)'}")  # noqa: T201
    print("off-topic refused:", {code: f"{share:.0%}" for code, share in refused(arguments.directory, arguments.split).items()})  # noqa: T201


if __name__ == "__main__":
    main()
