import subprocess
import sys
from pathlib import Path

import pytest

from appliance.evaluation import audio, heldout, manifest, testset
from appliance.text.placeholders import numbers
from appliance.text.spoken import ID_MIN_DIGITS
from appliance.training import phrasebook
from appliance.training.phrasebook import LANGUAGES, Example, SlotValue
from appliance.training.speech import VOICES

BOOK = Path(__file__).parents[2] / "models" / "phrasebook"
PER_LANGUAGE = 4


def made(folder: Path, **options: object) -> None:
    testset.write(folder, BOOK, **{"per_language": PER_LANGUAGE, "progress": lambda done, total: None} | options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("set")
    made(place)
    return place


def test_the_same_seed_makes_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):  # each by a process of its own: the voices' flutter goes on from utterance to utterance
        command = [sys.executable, "-m", "appliance", "evaluate", "testset", "--out", str(tmp_path / name), "--per-language", "2"]
        subprocess.run(command, check=True, capture_output=True, cwd=BOOK.parents[1])
    one, two = (
        {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        for place in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two
    assert len(one) > 20


def test_another_seed_makes_another_set(folder: Path, tmp_path: Path) -> None:
    made(tmp_path, seed=2)
    assert (tmp_path / "stt.tsv").read_text() != (folder / "stt.tsv").read_text()
    assert (tmp_path / "mt.tsv").read_text() != (folder / "mt.tsv").read_text()


def test_manifests_can_be_evaluated(folder: Path) -> None:
    rows = manifest.read_speech(folder / "stt.tsv")
    assert [sum(row.language == code for row in rows) for code in LANGUAGES] == [PER_LANGUAGE] * len(LANGUAGES)
    for row in rows:
        samples, rate = audio.read(row.audio)
        assert rate == 8000
        assert 0.5 < len(samples) / rate < 13
        assert not samples[: int(testset.LEAD_S * rate)].any()
        assert row.target_language == "hinglish" or row.language == "hinglish"
        assert all(value in row.text for value in row.values)
        assert all(value in row.reference for value in row.target_values)
        assert sorted(numbers(row.text)) == sorted(numbers(row.reference))
    assert {row.text for row in manifest.read_speech(folder / "offtopic.tsv")} == {""}
    assert len(manifest.read_speech(folder / "quiet.tsv")) == 10
    assert len(manifest.read_text(folder / "mt.tsv")) == 10 * PER_LANGUAGE


@pytest.mark.parametrize(
    ("text", "code", "digits_own", "told"),
    [
        ("1102", "mr", True, True),
        ("1102", "mr", False, False),
        ("Outlook version 12", "ta", False, False),
        ("printer வேலை செய்யவில்லை", "ta", False, True),
        ("OK", "hi", True, False),
    ],
)
def test_the_words_of_an_utterance_tell_its_language_or_not(text: str, code: str, digits_own: bool, told: bool) -> None:
    assert testset._has_own_word(text, code, digits_own=digits_own) is told


def test_what_no_word_tells_the_language_of_is_left_out_for_it(folder: Path) -> None:
    lines = {name: (folder / f"{name}.tsv").read_text(encoding="utf-8").splitlines() for name in ("stt", "lid")}
    assert set(lines["lid"]) == {line for line in lines["stt"] if line.split("\t")[-2] != testset.ENGLISH}


def test_voices_and_digits_are_held_out(folder: Path) -> None:
    lines = [line.split("\t") for line in (folder / "stt.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    assert {line[-1].partition("+")[2] for line in lines} <= set(VOICES["test"])
    strings = {value for line in lines for value in line[3].split("|") if value.isdecimal() and len(value) >= ID_MIN_DIGITS}
    assert strings
    for digits in strings:
        value = SlotValue("code", digits, dict.fromkeys(LANGUAGES, digits))
        assert Example("digits", "both", (value,), {}).split == "test"


def test_development_and_test_have_other_off_topic_sentences(folder: Path, tmp_path: Path) -> None:
    made(tmp_path, split="dev", per_language=2)
    listed = heldout.read_and_list(BOOK)
    for code in LANGUAGES:
        texts = {
            split: {line.partition(": ")[2] for line in listed.splitlines() if line.startswith(f"offtopic {code} {split}:")}
            for split in ("dev", "test")
        }
        assert texts["dev"]
        assert texts["test"]
        assert not texts["dev"] & texts["test"]
    dev = (tmp_path / "stt.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert {line.split("\t")[-1].partition("+")[2] for line in dev} <= set(VOICES["dev"])


def test_the_listing_agrees_with_the_split() -> None:
    lines = heldout.read_and_list(BOOK).splitlines()
    book = phrasebook.load(BOOK)
    assert f"voices test: {' '.join(VOICES['test'])}" in lines
    lone = next(line for line in lines if line.startswith("digits test")).partition(": ")[2].split()
    assert all(phrasebook._bucket(f"digits {digits}") == 0 for digits in lone)
    assert 20 < len(lone) < 90
    listed = [line for line in lines if line.startswith("template ")]
    template = next(item for item in book.templates if listed[0].split()[1] == item.id)
    expected = [item for item in book.closed_fillings(template) if item.split == "test"]
    assert listed[0].count("|") + 1 == len(expected)
