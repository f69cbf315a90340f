import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import frame
from appliance.cli.frame import COMMANDS, LazyCommand, appliance
from appliance.cli.options import USUAL_PLACES, config_path
from appliance.cli.table import table
from appliance.config.errors import ConfigError
from appliance.config.load import load
from appliance.stack.defaults import stack_config


def test_help_lists_every_command_without_importing_any() -> None:
    code = (
        "import sys\nsys.argv = ['appliance', '--help']\nfrom appliance.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in sys.modules if name in ('sqlalchemy', 'numpy', 'litestar', 'appliance.phone.cli')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert shown.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_can_be_imported_and_explains_itself(name: str) -> None:
    result = CliRunner().invoke(appliance, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    "place",
    [
        LazyCommand("appliance.nowhere", "x", ""),
        LazyCommand("appliance.cli.frame", "x", ""),
        LazyCommand("appliance.cli.frame", "COMMANDS", ""),
    ],
)
def test_a_missing_command_says_so_in_one_line_and_harms_no_other(monkeypatch: pytest.MonkeyPatch, place: LazyCommand) -> None:
    monkeypatch.setitem(frame.COMMANDS, "call", place)
    result = CliRunner().invoke(appliance, ["call", "--number", "1"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the command `call` is not part of this installation: ")
    assert result.stderr.count("\n") == 1
    assert CliRunner().invoke(appliance, ["doctor", "--help"]).exit_code == 0
    assert CliRunner().invoke(appliance, ["--help"]).exit_code == 0


@pytest.mark.parametrize(
    "words", [["transcripts", "list", "--config", "{file}"], ["up", "--dir", "{folder}"], ["demo", "--dir", "{folder}"]], ids=" ".join
)
def test_an_error_of_the_appliance_is_a_message_and_status_2(tmp_path: Path, words: list[str]) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text("[gateway]\nprot = 1\n")
    command = [sys.executable, "-m", "appliance", *(word.format(file=file, folder=tmp_path) for word in words)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {file}:2: gateway.prot: unknown key (did you mean port?); allowed in [gateway]: host, port, ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == [file]


def test_the_configuration_is_the_named_one_then_the_variable_then_the_usual_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SETU_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="--config FILE"):
        config_path(None)
    for place in USUAL_PLACES[1::-1]:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        assert config_path(None) == place
    monkeypatch.setenv("SETU_CONFIG", "/etc/x.toml")
    assert config_path(None) == Path("/etc/x.toml")
    assert config_path(Path("y.toml")) == Path("y.toml")
    assert config_path(Path("build/stack")) == Path("build/stack/appliance.toml")


def test_up_makes_a_configuration_once_and_keeps_it(tmp_path: Path) -> None:
    file = stack_config(tmp_path / "stack", 100)
    assert load(file).config.telephony.sip_port == 5160
    text = file.read_text()
    assert stack_config(tmp_path / "stack", None) == stack_config(tmp_path / "stack", 100) == file
    assert file.read_text() == text
    with pytest.raises(ConfigError, match=r"has other ports \(SIP 5160, gateway 8180\) than offset 200 means"):
        stack_config(tmp_path / "stack", 200)


def test_up_refuses_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(appliance, ["up", "--dir", str(tmp_path / "file" / "stack")])
    assert result.exit_code == 2
    assert "cannot be made" in result.stderr


def test_columns_stay_aligned_under_letters_with_vowel_signs() -> None:
    lines = table(("a", "b"), [("हिन्दी", "1"), ("tamil", "2")]).splitlines()
    # ह ि न ् द ी: the virama takes no column, the spacing vowel signs do
    assert lines == ["a      b", "हिन्दी  1", "tamil  2"]
