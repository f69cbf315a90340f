"""The phrasebook files, their loader, their split and their checker."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from appliance.training import phrasebook
from appliance.training.phrasebook import LANGUAGES, Phrasebook, PhrasebookError
from appliance.training.phrasebook_check import SLOT_COLUMNS, TEMPLATE_COLUMNS, check

STARTER = Path(__file__).parents[2] / "models" / "phrasebook"

TEMPLATE = "x01\tcaller\terror_shown\t{app} இல் error {error} வருகிறது.\t{app} లో error {error} వస్తోంది.\t{app} ನಲ್ಲಿ error {error} ಬರುತ್ತಿದೆ.\t"
TEMPLATE += "{app} मध्ये error {error} येत आहे.\t{app} में error {error} आ रहा है.\t{app} में error {error} आ रहा है."
APP = "app\tSAP" + "\tSAP" * 6
ERROR = "error\t[0-9]{3}" + "\t*" * 6


def write(folder: Path, templates: list[str], slots: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "templates.tsv").write_text("\n".join(["\t".join(TEMPLATE_COLUMNS), *templates, ""]), encoding="utf-8")
    (folder / "slots.tsv").write_text("\n".join(["\t".join(SLOT_COLUMNS), *slots, ""]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def starter() -> Phrasebook:
    return phrasebook.load(STARTER)


def test_the_starter_phrasebook_has_no_fault() -> None:
    assert check(STARTER) == []


def test_the_starter_phrasebook_is_large_enough(starter: Phrasebook) -> None:
    sides = [template.side for template in starter.templates]
    assert len(sides) >= 160
    assert sides.count("caller") >= 90
    assert sides.count("agent") >= 70
    assert sides.count("both") >= 10


def test_every_template_can_be_trained_on(starter: Phrasebook) -> None:
    rng = random.Random(1)
    assert [template.id for template in starter.templates if starter.draw(template, "train", rng) is None] == []


def test_filled_sentences_have_no_slot_left(starter: Phrasebook) -> None:
    rng = random.Random(2)
    for template in starter.templates:
        example = starter.draw(template, "train", rng)
        assert example is not None
        assert not [text for text in example.text.values() if "{" in text or "*" in text]


def test_the_split_is_a_function_of_the_combination(starter: Phrasebook) -> None:
    rng = random.Random(3)
    template = next(item for item in starter.templates if len(item.slots) == 2 and not set(item.slots) & starter.patterns.keys())
    splits = {(example.split, example.text["ta"]) for example in starter.closed_fillings(template)}
    again = {(example.split, example.text["ta"]) for example in starter.closed_fillings(template)}
    assert splits == again
    assert {split for split, _ in splits} == {"train", "dev", "test"}
    assert sum(split == "train" for split, _ in splits) / len(splits) > 0.8
    for split in phrasebook.SPLITS:
        drawn = starter.draw(template, split, rng)
        assert drawn is not None
        assert drawn.split == split


def test_a_digit_string_of_the_test_split_is_in_no_training_sentence(starter: Phrasebook) -> None:
    rng = random.Random(4)
    templates = [item for item in starter.templates if set(item.slots) & starter.patterns.keys()]
    trained: set[str] = set()
    for _ in range(3000):
        example = starter.draw(rng.choice(templates), "train", rng)
        if example is not None:
            trained.update(value.value for value in example.values if value.slot in starter.patterns)
    held_out: set[str] = set()
    for digits in trained | {f"{number:03}" for number in range(1000)}:
        value = phrasebook.SlotValue("code", digits, dict.fromkeys(LANGUAGES, digits))
        if phrasebook.Example("any", "both", (value,), {}).split != "train":
            held_out.add(digits)
    assert held_out
    assert trained.isdisjoint(held_out)


def test_a_template_without_slots_is_trained_on(starter: Phrasebook) -> None:
    plain = [template for template in starter.templates if not template.slots]
    assert plain
    assert {starter.fill(template, ()).split for template in plain} == {"train"}


def test_a_companys_phrasebook_is_read_beside_the_starters(tmp_path: Path, starter: Phrasebook) -> None:
    own = write(tmp_path / "own", [TEMPLATE], ["app\tKavach" + "\tKavach" * 6])
    book = phrasebook.load(STARTER, own)
    assert len(book.templates) == len(starter.templates) + 1
    assert {value.value for value in book.values["app"]} >= {"SAP", "Kavach"}
    assert check(STARTER, own) == []


def test_a_digit_pattern_draws_strings_of_its_length() -> None:
    pattern = phrasebook.DigitPattern("ticket", 5, 6)
    rng = random.Random(5)
    drawn = [pattern.draw(rng) for _ in range(200)]
    assert {len(value.value) for value in drawn} == {5, 6}
    assert all(set(value.text) == set(LANGUAGES) and value.value.isdigit() for value in drawn)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (TEMPLATE.replace("caller", "boss"), "side 'boss', allowed: caller, agent, both"),
        (TEMPLATE.replace("\t{app} में error {error} आ रहा है.\t", "\t{app} में error आ रहा है.\t"), "slots of hi differ"),
        (TEMPLATE.replace("{app}", "{tool}"), "unknown slot 'tool', allowed: app, error"),
        (TEMPLATE + "\textra", "10 columns, expected 9"),
        (TEMPLATE.replace("error_shown", " "), "empty cell"),
    ],
)
def test_the_loader_names_what_is_wrong(tmp_path: Path, template: str, message: str) -> None:
    folder = write(tmp_path / "book", [template], [APP, ERROR])
    with pytest.raises(PhrasebookError, match=message):
        phrasebook.load(folder)


def test_a_sound_phrasebook_passes_the_checker(tmp_path: Path) -> None:
    assert check(write(tmp_path / "book", [TEMPLATE], [APP, ERROR])) == []


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("caller", "boss", "side 'boss', allowed: caller, agent, both"),
        ("error_shown", "Error Shown", "intent 'Error Shown', allowed: small letters, digits and _"),
        ("{app} இல்", "{app}இல்", "ta: a slot must stand alone"),
        ("{app} லో".replace("ல", "ల"), "SAP లో", "te: slots ['error'], hinglish has ['app', 'error']"),
        ("வருகிறது.", "வருகிறது?", "the languages do not agree whether it ends with . or ?"),
        ("ಬರುತ್ತಿದೆ.", "ಬರುತ್ತಿದೆ", "kn: no final . or ?"),
        ("येत आहे.", "येत आहे।", "mr: '।' U+0964"),
        ("येत आहे.", "येत ಆಹೆ.", "mr: 'ಆ' U+0C86"),
        ("में error {error} आ रहा है.\t", "में  error {error} आ रहा है.\t", "hi: spaces at the ends or doubled"),
        ("में error {error} आ रहा है.\t", "में error {error}, 5 आ रहा है.\t", "hi: digits outside slots"),
        ("में error {error} आ रहा है.\t", "में error {error} . आ रहा है.\t", "hi: . or ? inside the sentence"),
        ("में error {error} आ रहा है.\t", "में error {error} आ रहा" + " है" * 10 + ".\t", "hi: 16 words, allowed: 14"),
        ("आ रहा है.\t", "पढ\u093c रहा है.\t", ""),
        ("आ रहा है.\t", "प\u095c रहा है.\t", "hi: not in Unicode normal form NFC"),
    ],
)
def test_the_checker_names_file_and_line(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in TEMPLATE
    faults = [str(fault) for fault in check(write(tmp_path / "book", [TEMPLATE.replace(before, after)], [APP, ERROR]))]
    if not message:
        assert faults == []
        return
    assert any(f"book/templates.tsv:2: {message}" in fault for fault in faults), faults


@pytest.mark.parametrize(
    ("slots", "line", "message"),
    [
        ([APP, ERROR, "site\tPune" + "\tPune" * 6], 4, "slot 'site' is used by no template"),
        ([APP, APP, ERROR], 3, "value 'SAP' is already in slots.tsv:2"),
        ([APP, ERROR.replace("{3}", "{3,}")], 3, "value '[0-9]{3,}', allowed: [0-9]{n} or [0-9]{n,m}"),
        ([APP, ERROR.replace("*", "1", 1)], 3, "ta: a digit pattern has * in every language"),
        ([APP, "app\tTeams" + "\tTeams" * 5 + "\tटीम 5", ERROR], 3, "ta: numbers [], hinglish has ['5']"),
        ([APP, ERROR, "error\t404" + "\t404" * 6], 3, "slot 'error' mixes a digit pattern with other values"),
        ([APP, ERROR, "time\tnine"], 4, "3 columns, expected 8"[0:0] + "2 columns, expected 8"),
    ],
)
def test_the_checker_reads_the_slots(tmp_path: Path, slots: list[str], line: int, message: str) -> None:
    faults = [str(fault) for fault in check(write(tmp_path / "book", [TEMPLATE], slots))]
    assert any(f"book/slots.tsv:{line}: {message}" in fault for fault in faults), faults


def test_the_checker_finds_double_sentences_and_ids(tmp_path: Path) -> None:
    faults = [str(fault) for fault in check(write(tmp_path / "book", [TEMPLATE, TEMPLATE], [APP, ERROR]))]
    assert len([fault for fault in faults if "templates.tsv:3:" in fault and "is already in templates.tsv:2" in fault]) == 2 + len(
        LANGUAGES
    )


def test_the_checker_wants_enough_off_topic_sentences(tmp_path: Path) -> None:
    folder = write(tmp_path / "book", [TEMPLATE], [APP, ERROR])
    (folder / "offtopic.tsv").write_text("language\ttext\nta\tவணக்கம்.\nxx\tmoin\n", encoding="utf-8")
    faults = [str(fault) for fault in check(folder)]
    assert any("offtopic.tsv:3: language 'xx', allowed: ta, te" in fault for fault in faults)
    assert any("offtopic.tsv:1: 1 sentences in ta, at least 100 are needed" in fault for fault in faults)
