"""What the starter translator is trained on."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from appliance.training import phrasebook
from appliance.training.phrasebook import LANGUAGES
from appliance.training.simulated_errors import misheard
from appliance.training.translator_pairs import (
    DIRECTIONS,
    OFF_TOPIC,
    Pair,
    PairSource,
    clause_count,
    clauses,
    latin_words,
    read_off_topic,
    vocabulary,
    with_placeholders,
)

STARTER = Path(__file__).parents[2] / "models" / "phrasebook"
BOOK = phrasebook.load(STARTER)
PLACEHOLDER = re.compile(r"<[nt]\d+>")


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    source = PairSource(BOOK, read_off_topic(STARTER / "offtopic.tsv", "train"), random.Random(1))
    return [source.draw() for _ in range(5000)]


def test_every_direction_and_off_topic_sources_are_there(pairs: list[Pair]) -> None:
    assert {(pair.source_language, pair.target_language) for pair in pairs} == set(DIRECTIONS)
    assert 0.03 < sum(pair.target == OFF_TOPIC for pair in pairs) / len(pairs) < 0.12


def test_both_sides_have_the_same_placeholders_and_no_digits(pairs: list[Pair]) -> None:
    for pair in pairs:
        assert not re.search(r"\d", PLACEHOLDER.sub("", pair.source + pair.target)), pair
        if pair.target != OFF_TOPIC:
            assert sorted(PLACEHOLDER.findall(pair.source)) == sorted(PLACEHOLDER.findall(pair.target)), pair


def test_numbers_that_change_places_keep_their_placeholder() -> None:
    pair = with_placeholders(Pair("ta", "hinglish", "5 minutes, error 404", "error 404, 5 minute"))
    assert (pair.source, pair.target) == ("<n1> minutes, error <n2>", "error <n2>, <n1> minute")
    with pytest.raises(ValueError, match="'7'"):
        with_placeholders(Pair("ta", "hinglish", "error 404", "error 7"))


def test_clauses_join_to_the_sentence() -> None:
    rng = random.Random(2)
    split = [template for template in BOOK.templates if clause_count(template) > 1]
    assert len(split) > 20
    for template in split:
        example = BOOK.draw(template, "train", rng)
        assert example is not None
        for code in LANGUAGES:
            assert " ".join(part[code] for part in clauses(example)) == example.text[code]


def test_simulated_errors_keep_placeholders_and_unknown_words() -> None:
    rng = random.Random(3)
    words = vocabulary(BOOK, "hi")
    text = "Zorgo में error <n1> आ रहा है, Teams बंद है."
    heard = [misheard(text, words, rng) for _ in range(500)]
    assert len(set(heard)) > 200
    assert all("<n1>" in item and "zorgo" in item.lower() for item in heard)


def test_off_topic_splits_are_apart() -> None:
    splits = [read_off_topic(STARTER / "offtopic.tsv", split) for split in phrasebook.SPLITS]
    for code in LANGUAGES:
        train, dev, test = (set(split[code]) for split in splits)
        assert min(len(train), len(dev), len(test)) > 0
        assert train.isdisjoint(dev | test)
        assert dev.isdisjoint(test)


def test_latin_words_are_words_and_no_slots() -> None:
    words = latin_words(BOOK)
    assert {"printer", "ups", "onedrive", "number"} <= set(words)
    assert not {"device", "app", "past_day", "minutes"} & set(words)
