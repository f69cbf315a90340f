"""The demo's conversations hold what they promise: unseen sentences, both sides, every language, and a voice for each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.phone.demo import scripts, speech
from appliance.phone.demo.scripts import Line
from appliance.phone.errors import DemoScriptError
from appliance.phone.measure import sentences_of
from appliance.training import phrasebook
from appliance.training.phrasebook import Phrasebook
from appliance.training.speech import VOICES

BOOK_FOLDER = Path(__file__).parents[2] / "models" / "phrasebook"


@pytest.fixture(scope="module")
def book() -> Phrasebook:
    return phrasebook.load(BOOK_FOLDER)


@pytest.mark.parametrize("language", scripts.LANGUAGES)
def test_each_call_follows_from_the_phrasebook_and_was_never_trained_on(language: str, book: Phrasebook) -> None:
    lines = scripts.load(language)
    without_slots = 0
    for line in lines:
        composed, examples = scripts.compose(line.speaker, line.sentences, language, book)
        assert composed == line, "run python -m appliance.phone.demo.scripts"
        for example in examples:
            assert example.side in (line.speaker, "both")
            assert example.split == "test" or not example.values, f"{line.sentences} is in the {example.split} split"
            for value in example.values:
                if value.value.isdigit() and len(value.value) >= 3:
                    assert replace(example, values=(value,)).split == "test", f"{value.value} is trained on in other sentences"
        without_slots += sum(not example.values for example in examples)
    assert without_slots == 0


@pytest.mark.parametrize("language", scripts.LANGUAGES)
def test_each_call_has_three_turns_a_side_numbers_and_a_long_utterance_of_the_caller(language: str) -> None:
    lines = scripts.load(language)
    assert [line.speaker for line in lines] == ["caller", "agent"] * (len(lines) // 2)
    assert len(lines) >= 6
    assert sum(any(letter.isdigit() for letter in line.said) for line in lines) >= 2
    assert any("," in line.said or len(sentences_of(line.said)) > 1 for line in lines if line.speaker == "caller")
    assert len({line.said for line in lines}) == len(lines)


def test_caller_and_agent_have_different_voices_set_apart_for_the_demo() -> None:
    for language in scripts.LANGUAGES:
        caller, agent = (speech.voice_of(language, party) for party in ("caller", "agent"))
        assert caller != agent
        assert {caller, agent} <= set(VOICES["demo"])
    assert not set(VOICES["demo"]) & {voice for split in ("train", "dev", "test") for voice in VOICES[split]}


def test_a_line_is_spoken_at_telephone_level_with_a_pause_between_its_sentences(tmp_path: Path) -> None:
    line = Line("caller", "", "मेरा ticket नंबर 44093 है. अभी problem है.", "x", ("44093",))
    (turn,) = speech.turns("hi", [line], tmp_path)
    level = 10 * np.log10(np.mean(np.square(turn.samples.astype(float))) / 32768**2)
    assert level == pytest.approx(speech.LEVEL_DBFS, abs=1.0)
    assert turn.file.exists()
    assert turn.reference == line.said
    silent = np.abs(turn.samples) == 0
    longest = max(len(run) for run in "".join("s" if item else "." for item in silent).split("."))
    assert longest / 8000 >= speech.SENTENCE_PAUSE_S


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("speaker\tsaid\n", ":1: columns must be"),
        ("speaker\tsentences\tsaid\theard\tvalues\nboss\tcb02\ta\tb\t\n", ":2: speaker 'boss'"),
        ("speaker\tsentences\tsaid\theard\tvalues\ncaller\tcb02\t\tb\t\n", ":2: nothing is said"),
        ("speaker\tsentences\tsaid\theard\tvalues\ncaller\tcb02\n", ":2: 2 columns"),
    ],
)
def test_a_malformed_conversation_is_refused_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "ta.tsv").write_text(content)
    with pytest.raises(DemoScriptError, match=message):
        scripts.load("ta", tmp_path)


@pytest.mark.parametrize("sentences", ["zz99", "cb02", "cb02 site=Pune", "cb02 name=Nobody"])
def test_what_the_phrasebook_does_not_have_is_refused(sentences: str, book: Phrasebook) -> None:
    with pytest.raises(DemoScriptError):
        scripts.compose("caller", sentences, "ta", book)
