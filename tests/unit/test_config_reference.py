import subprocess
import sys
from pathlib import Path

from appliance.config.reference import reference

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_document_of_all_keys_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == reference(), "run: python -m appliance.config --reference > docs/configuration.md"


def test_it_has_limits_defaults_and_docstrings() -> None:
    text = reference()
    assert "## `[[telephony.trunks]]`" in text
    assert "| `workers` | whole number from 1 to 64 | `1` |" in text
    assert "| `min_confidence` | number from 0 to 1 | unset |" in text
    assert "Worker N listens on `port` + N - 1." in text
    assert "| `name` | text in quotes that matches `^[a-z][a-z0-9-]{0,30}$` | *required* |" in text


def test_the_check_command(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text("[node]\nname = 'n1'\n")
    bad.write_text("[node]\nnmae = 'n1'\n")
    command = [sys.executable, "-m", "appliance.config"]
    assert subprocess.run([*command, good], capture_output=True, text=True).stdout == f"{good}: valid\n"
    refused = subprocess.run([*command, bad], capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"{bad}:2: node.nmae: unknown key (did you mean name?)")
    assert "Traceback" not in refused.stderr
