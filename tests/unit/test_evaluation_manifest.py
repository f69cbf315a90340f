from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.evaluation import manifest
from appliance.evaluation.errors import EvaluationError

SPEECH = "audio\ttext\tlanguage"
TEXT = "source_language\tsource\ttarget_language\treference"


def test_speech_rows_with_optional_and_unknown_columns(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    file = tmp_path / "m.tsv"
    file.write_text(
        "language\taudio\tvoice\ttext\tvalues\ttarget_language\treference\ttarget_values\n"
        "ta\ta.wav\tf1\t printer 407 \tprinter| 407\thinglish\tprinter 407\tprinter\n"
        "\n"
        "hinglish\ta.wav\t\t\t\t\t\t\n"
    )
    first, second = manifest.read_speech(file)
    assert (first.line, first.audio, first.text, first.language) == (2, tmp_path / "a.wav", "printer 407", "ta")
    assert (first.values, first.target_language, first.target_values) == (("printer", "407"), "hinglish", ("printer",))
    assert (second.line, second.text, second.values, second.target_language) == (4, "", (), "")


def test_text_rows(tmp_path: Path) -> None:
    file = tmp_path / "m.tsv"
    file.write_text(f"\ufeff{TEXT}\tvalues\r\nta\tஆம்.\thinglish\tहाँ.\t\r\n", encoding="utf-8")
    assert manifest.read_text(file) == [manifest.TextRow(2, "ta", "ஆம்.", "hinglish", "हाँ.")]


@pytest.mark.parametrize(
    ("read", "content", "told"),
    [
        (
            manifest.read_speech,
            f"{SPEECH}\na.wav\tx\tde\n",
            "m.tsv:2: language: unknown language 'de', allowed: ta, te, kn, mr, hi, hinglish",
        ),
        (manifest.read_speech, f"{SPEECH}\nb.wav\tx\tta\n", "m.tsv:2: audio: there is no file"),
        (manifest.read_speech, f"{SPEECH}\n\tx\tta\n", "m.tsv:2: audio: is empty"),
        (manifest.read_speech, f"{SPEECH}\na.wav\tta\n", "m.tsv:2: 2 columns, the header has 3"),
        (manifest.read_speech, f"{SPEECH}\ttarget_language\na.wav\tx\tta\txx\n", "m.tsv:2: target_language: unknown language 'xx'"),
        (
            manifest.read_speech,
            "audio\tlanguage\n",
            "m.tsv:1: column text is missing; needed: audio, text, language; found: audio, language",
        ),
        (manifest.read_speech, f"{SPEECH}\ttext\n", "m.tsv:1: column text is there twice"),
        (manifest.read_speech, f"{SPEECH}\n\n", "m.tsv: holds no row"),
        (manifest.read_speech, "", "found: nothing"),
        (manifest.read_text, f"{TEXT}\nta\tx\tta\ty\n", "m.tsv:2: target_language: 'ta' is the source language"),
        (manifest.read_text, f"{TEXT}\nta\tx\thi\t\n", "m.tsv:2: reference: is empty"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, read: Callable[[Path], object], content: str, told: str) -> None:
    (tmp_path / "a.wav").touch()
    file = tmp_path / "m.tsv"
    file.write_text(content)
    with pytest.raises(EvaluationError) as caught:
        read(file)
    assert told in str(caught.value)


def test_a_manifest_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"none\.tsv: cannot be read: No such file"):
        manifest.read_text(tmp_path / "none.tsv")
    (tmp_path / "m.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(EvaluationError, match="not UTF-8 text"):
        manifest.read_text(tmp_path / "m.tsv")
