"""The catalogue of models: read strictly, and files checked against it by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog.__main__ import main
from appliance.catalog.seal import seal

REPOSITORY = Path(__file__).parents[2]
ENTRY = """\
# the two models
[[model]]
id = "small/stt"
stage = "recognise"
title = "Small"
languages = ["ta"]
licence = "MIT"
commercial = true
source = "here"
revision = "1"
format = "ctranslate2-whisper"
memory_mb = 5

[[model]]
id = "small/mt"
stage = "translate"
title = "Small"
languages = ["ta", "hi"]
licence = "CC-BY-NC-4.0"
commercial = false
source = "there"
revision = "2"
format = "ctranslate2-translator"
memory_mb = 5
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "catalog.toml").write_text(ENTRY)
    for name in ("small/stt", "small/mt"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "model.bin").write_bytes(b"weights of " + name.encode())
        (tmp_path / name / "vocabulary.json").write_text("[]")
    return tmp_path


def test_the_repositorys_catalogue_is_valid_and_names_the_starter_models() -> None:
    known = catalog.load(REPOSITORY / "models" / "catalog.toml")
    assert {"starter/stt", "starter/mt", "fasttext/lid.176"} <= set(known.models)
    assert catalog.verify(known.get("fasttext/lid.176"), known.folder) == []


def test_sealed_files_verify(models: Path) -> None:
    file = models / "catalog.toml"
    for name in ("small/stt", "small/mt", "small/stt"):
        assert set(seal(file, name)) == {"model.bin", "vocabulary.json"}
    known = catalog.load(file)
    assert [catalog.verify(model, models) for model in known.models.values()] == [[], []]
    text = file.read_text()
    assert text.startswith("# the two models\n")
    assert text.count("[model.files]") == 2


def test_missing_and_corrupted_files_are_named_all_of_them(models: Path) -> None:
    file = models / "catalog.toml"
    seal(file, "small/stt")
    (models / "small/stt/model.bin").write_bytes(b"weights of something else")
    (models / "small/stt/vocabulary.json").unlink()
    known = catalog.load(file)
    with pytest.raises(catalog.ModelFilesError) as raised:
        catalog.require_intact(known, "small/stt")
    lines = str(raised.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"model small/stt: {models / 'small/stt/model.bin'} is corrupted")
    assert lines[1] == f"model small/stt: {models / 'small/stt/vocabulary.json'} is missing"


def test_a_missing_folder_and_missing_checksums_are_problems(models: Path) -> None:
    known = catalog.load(models / "catalog.toml")
    assert [problem.kind for problem in catalog.verify(known.get("small/stt"), models)] == ["unsealed"]
    assert [problem.kind for problem in catalog.verify(known.get("small/stt"), models / "elsewhere")] == ["missing"]


def test_an_unknown_model_is_refused_with_those_there_are(models: Path) -> None:
    with pytest.raises(catalog.CatalogError, match=r"no model 'big/stt'; it has small/stt, small/mt"):
        catalog.load(models / "catalog.toml").get("big/stt")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('licence = "MIT"', 'license = "MIT"', "catalog.toml:7: model[1].license: unknown key (did you mean licence?)"),
        ('stage = "recognise"', 'stage = "hear"', 'catalog.toml:4: model[1].stage: "hear" is not allowed'),
        ('id = "small/mt"', 'id = "small/stt"', "more than one entry with id small/stt"),
        ('id = "small/mt"', 'id = "../mt"', "catalog.toml:15: model[2].id"),
        ("memory_mb = 5\n\n", 'memory_mb = 5\n\n[model.files]\n"a" = "abc"\n\n', "model[1].files"),
        ("[[model]]", "[[model", "catalog.toml: "),
    ],
)
def test_a_wrong_catalogue_is_refused_with_the_place(models: Path, old: str, new: str, message: str) -> None:
    file = models / "catalog.toml"
    file.write_text(ENTRY.replace(old, new, 1))
    with pytest.raises(catalog.CatalogError) as raised:
        catalog.load(file)
    assert message in str(raised.value)


def test_the_command_seals_and_verifies(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = ["--file", str(models / "catalog.toml")]
    assert main(["verify", *file]) == 1
    assert "small/mt" in capsys.readouterr().err
    assert main(["seal", *file]) == 0
    assert main(["verify", *file]) == 0
    (models / "small/mt/model.bin").write_bytes(b"")
    assert main(["verify", "small/stt", *file]) == 0
    assert main(["verify", "small/mt", *file]) == 1
    assert main(["verify", "nothing", *file]) == 2
