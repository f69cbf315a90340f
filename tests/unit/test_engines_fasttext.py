"""Language of a text by script and by the real fastText model."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.engines.base import EngineUnavailable
from appliance.engines.fasttext_lid import FastTextIdentifier


@pytest.fixture(scope="module")
def identifier() -> FastTextIdentifier:
    return FastTextIdentifier()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("என் laptop மெதுவாக ஓடுகிறது", "ta"),
        ("నా laptop నెమ్మదిగా ఉంది", "te"),
        ("ನನ್ನ laptop ನಿಧಾನವಾಗಿದೆ", "kn"),
        ("माझ्या लॅपटॉप मध्ये समस्या आहे", "mr"),
        ("मेरे लैपटॉप में समस्या है", "hi"),
        ("आपका password reset हो गया है", "hi"),
        ("लाइट लाल आहे\nआणि काम होत नाही", "mr"),
    ],
)
def test_sentences_are_told_apart(identifier: FastTextIdentifier, text: str, code: str) -> None:
    (scores,) = identifier.identify([text])
    assert set(scores) == {"ta", "te", "kn", "mr", "hi"}
    assert sum(scores.values()) == pytest.approx(1)
    assert max(scores, key=scores.__getitem__) == code
    assert scores[code] > 0.7


def test_script_alone_decides_the_southern_languages(identifier: FastTextIdentifier) -> None:
    assert identifier.identify(["ஆம்"]) == [{"ta": 1.0, "te": 0.0, "kn": 0.0, "mr": 0.0, "hi": 0.0}]


@pytest.mark.parametrize("text", ["", "   ", "123", "yes password reset", "?!"])
def test_a_text_without_indian_letters_says_nothing(identifier: FastTextIdentifier, text: str) -> None:
    assert identifier.identify([text]) == [{}]


def test_one_short_word_is_no_strong_opinion_between_hindi_and_marathi(identifier: FastTextIdentifier) -> None:
    (scores,) = identifier.identify(["हो"])
    assert 0.3 < scores["hi"] < 0.7
    assert scores["hi"] + scores["mr"] == pytest.approx(1)


def test_two_scripts_share_the_opinion(identifier: FastTextIdentifier) -> None:
    (scores,) = identifier.identify(["கககக కకకక"])
    assert scores["ta"] == scores["te"] == pytest.approx(0.5)


def test_a_file_that_is_no_model_is_unavailable(tmp_path: Path) -> None:
    bad = tmp_path / "lid.ftz"
    bad.write_bytes(b"no model at all")
    with pytest.raises(EngineUnavailable, match=r"lid\.ftz"):
        FastTextIdentifier(bad)
    with pytest.raises(EngineUnavailable, match=r"none\.ftz"):
        FastTextIdentifier(tmp_path / "none.ftz")
