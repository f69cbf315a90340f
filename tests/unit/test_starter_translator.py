"""The shipped translator: loads without Transformers, keeps numbers, knows what it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.training import phrasebook
from appliance.training.translator_pairs import DIRECTIONS
from appliance.training.translator_score import StarterTranslator, held_out

STARTER = Path(__file__).parents[2] / "models" / "starter" / "mt"
BOOK = phrasebook.load(STARTER.parents[1] / "phrasebook")


@pytest.fixture(scope="module")
def translator() -> StarterTranslator:
    return StarterTranslator(STARTER)


def test_the_bundle_is_small() -> None:
    assert sum(path.stat().st_size for path in STARTER.iterdir()) <= 8_000_000


@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
def test_unseen_combinations_are_translated(translator: StarterTranslator, source: str, target: str) -> None:
    examples = held_out(BOOK, "dev", 40, seed=9)
    outputs = translator.translate([example.text[source] for example in examples], source, target)
    right = [output.text == example.text[target] for output, example in zip(outputs, examples, strict=True)]
    assert sum(right) >= 36
    assert all(output.exact_numbers for output in outputs)


@pytest.mark.parametrize("digits", ["7", "00", "407", "0072255", "98765432109876543210", "98765 43210"])
def test_numbers_of_any_length_are_kept(translator: StarterTranslator, digits: str) -> None:
    lone, sentence = translator.translate([f"{digits}.", f"என் ticket நம்பர் {digits}."], "ta", "hinglish")
    assert lone.text.rstrip(".") == digits
    assert sentence.text == f"मेरा ticket number {digits} है."


def test_other_topics_are_told(translator: StarterTranslator) -> None:
    (output,) = translator.translate(["கிரிக்கெட் போட்டியில் நம்ம அணி ஜெயித்தது, எல்லோரும் ரொம்ப சந்தோஷமாக இருந்தார்கள்."], "ta", "hinglish")
    assert output.text == "" or output.score < -0.3
