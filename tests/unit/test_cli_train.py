import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.catalog import load, verify
from appliance.cli import train
from appliance.cli.frame import appliance
from appliance.cli.train import STAGES, TrainingError

ENTRY = """
[[model]]
id = "starter/mt"
stage = "translate"
title = "t"
languages = ["ta", "hi"]
licence = "MIT"
commercial = true
source = "s"
revision = "r"
format = "ctranslate2-translator"
memory_mb = 60
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    (folder / "starter" / "mt").mkdir(parents=True)
    (folder / "starter" / "mt" / "old.bin").write_text("old")
    (folder / "phrasebook").mkdir()
    (folder / "phrasebook" / "slots.tsv").write_text("slots")
    (folder / "catalog.toml").write_text(ENTRY)
    monkeypatch.setattr(train, "require_packages", lambda stage: None)
    monkeypatch.setattr(train, "version", lambda name: "1.0")
    return folder


class Recipe:
    """Stands for the programs that train and export."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.commands: list[Sequence[str]] = []

    def __call__(self, command: Sequence[str]) -> int:
        self.commands.append(command)
        if self.failing and self.failing in command[2]:
            return 3
        if command[2].endswith("_export"):
            folder = Path(command[-1])
            folder.mkdir()
            (folder / "model.bin").write_text("new")
            (folder / "card.json").write_text('{"clean": {"wer": 0.1}}')
        return 0


def test_a_stage_is_trained_exported_put_in_place_and_sealed(models: Path, tmp_path: Path) -> None:
    recipe = Recipe()
    files = train.train(STAGES["mt"], models, tmp_path / "train", minutes=7, resume=True, execute=recipe)
    first, second = recipe.commands
    assert first[1:] == ["-m", "appliance.training.translator_train", "--minutes", "7", "--folder", str(tmp_path / "train/mt"), "--resume"]
    assert second[1:4] == ["-m", "appliance.training.translator_export", str(tmp_path / "train/mt/final.pt")]
    assert sorted(files) == ["card.json", "model.bin"]
    assert [path.name for path in (models / "starter").iterdir()] == ["mt"]
    catalog = load(models / "catalog.toml")
    assert verify(catalog.get("starter/mt"), catalog.folder) == []
    card = json.loads((models / "starter/mt/card.json").read_text())
    assert (card["minutes"], card["clean"], list(card["data"])) == (7, {"wer": 0.1}, ["slots.tsv"])


@pytest.mark.parametrize("failing", ["translator_train", "translator_export"])
def test_a_failed_step_leaves_the_model_in_place(models: Path, tmp_path: Path, failing: str) -> None:
    before = (models / "catalog.toml").read_text()
    with pytest.raises(TrainingError, match=r"ended with status 3 .*--stage mt --resume"):
        train.train(STAGES["mt"], models, tmp_path, minutes=None, resume=False, execute=Recipe(failing))
    assert (models / "starter/mt/old.bin").read_text() == "old"
    assert [path.name for path in (models / "starter").iterdir()] == ["mt"]
    assert (models / "catalog.toml").read_text() == before


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train.importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(appliance, ["models", "train", "starter", "--stage", "stt"])
    assert result.exit_code == 2
    assert "stage stt needs packages that are not installed: torch, transformers" in result.stderr
    assert "[export]" in result.stderr


def test_the_identifier_needs_no_training() -> None:
    result = CliRunner().invoke(appliance, ["models", "train", "starter", "--stage", "lid"])
    assert result.exit_code == 0
    assert result.output.startswith("lid: nothing to train")
    assert len(result.output.splitlines()) == 1


def test_refusal_is_weighed_on_development_data_over_clean_and_noisy_lines(models: Path) -> None:
    commands: list[Sequence[str]] = []
    (models / "starter" / "stt").mkdir()
    second = ENTRY.replace("starter/mt", "starter/stt").replace('stage = "translate"', 'stage = "recognise"')
    (models / "catalog.toml").write_text(ENTRY + second)

    def execute(command: Sequence[str]) -> int:
        commands.append(command[4:])
        if command[4] == "refusal":
            Path(command[command.index("--out") + 1]).write_text("{}")
        return 0

    files = train.weigh(models, execute=execute)
    assert "refusal.json" in files
    testset, *measured, last = commands
    assert testset[:3] == ("testset", "--split", "dev")
    assert [("--noise" in command, "offtopic.tsv" in " ".join(command)) for command in measured] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
    reports = [command[command.index("--report") + 1] for command in measured]
    assert [last[place + 1] for place, item in enumerate(last) if item == "--report"] == reports


def test_a_measurement_that_fails_leaves_the_earlier_calibration(models: Path) -> None:
    place = models / "starter" / "stt"
    place.mkdir()
    (place / "refusal.json").write_text("before")
    with pytest.raises(TrainingError, match="stage refusal: measuring ended with status 3"):
        train.weigh(models, execute=lambda command: 3)
    assert (place / "refusal.json").read_text() == "before"
