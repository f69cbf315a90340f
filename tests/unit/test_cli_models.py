import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.frame import appliance

ENTRY = """
[[model]]
id = "{name}"
stage = "translate"
title = "t"
languages = ["ta", "hi"]
licence = "MIT"
commercial = {commercial}
source = "s"
revision = "r"
format = "ctranslate2-translator"
memory_mb = 60
[model.files]
"model.bin" = "{sha256}"
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    content = b"weights"
    models = tmp_path / "models"
    (models / "good").mkdir(parents=True)
    (models / "good" / "model.bin").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    entries = [
        ENTRY.format(name=name, commercial=commercial, sha256=sha256) for name, commercial in (("good", "true"), ("absent", "false"))
    ]
    (models / "catalog.toml").write_text("".join(entries))
    file = tmp_path / "appliance.toml"
    file.write_text("")
    return file


def run(config_file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(appliance, ["models", *arguments, "--config", str(config_file)])


def test_list(config_file: Path) -> None:
    lines = run(config_file, "list").output.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["good", "translate", "ta", "hi", "MIT", "yes", "60", "MB", "present"],
        ["absent", "translate", "ta", "hi", "MIT", "no", "60", "MB", "missing"],
    ]
    entries = json.loads(run(config_file, "list", "--json").output)
    assert [(entry["id"], entry["state"]) for entry in entries] == [("good", "present"), ("absent", "missing")]


def test_verify_names_what_is_wrong_and_fails(config_file: Path) -> None:
    assert run(config_file, "verify", "good").output == "model good: verified, 1 files\n"
    result = run(config_file, "verify")
    assert result.exit_code == 1
    assert "model absent: " in result.output
    assert "is missing" in result.output
    (config_file.parent / "models" / "good" / "model.bin").write_bytes(b"weightz")
    result = run(config_file, "verify", "good")
    assert result.exit_code == 1
    assert "good/model.bin is corrupted" in result.output


def test_an_unknown_model_and_a_missing_catalogue(config_file: Path) -> None:
    unknown = run(config_file, "verify", "nothing")
    assert unknown.exit_code == 2
    assert "no model 'nothing'; it has good, absent" in unknown.stderr
    (config_file.parent / "models" / "catalog.toml").unlink()
    missing = run(config_file, "list")
    assert missing.exit_code == 2
    assert "catalog.toml: cannot be read" in missing.stderr
