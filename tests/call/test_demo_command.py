"""`appliance demo` as a command: whatever the models make of the call, its report, recordings and exit status agree."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path

import jsonschema
import pytest

from appliance.phone import report as reports
from appliance.phone.measure import PARTIES

from .conftest import Running


@pytest.mark.timeout(300)
def test_the_demo_reports_its_call_on_a_stack_that_runs(stack: Running, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "appliance", "demo", "--dir", str(stack.layout.top), "--language", "ta", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert "is running" in done.stdout
    written = json.loads((tmp_path / "report.json").read_text())
    schema = json.loads(reports.SCHEMA_FILE.read_text())
    jsonschema.validate(written, schema, cls=jsonschema.Draft202012Validator)
    assert done.returncode == (0 if written["summary"]["passed"] else 1)
    (call,) = written["calls"]
    assert call["through"]
    assert call["language"]["expected"] == "ta"
    assert call["utterances"]
    for party in PARTIES:
        with wave.open(str(tmp_path / call["audio"][party])) as recording:
            assert recording.getnchannels() == 2
            assert recording.getnframes() / recording.getframerate() == pytest.approx(call["duration_s"], abs=0.1)
    stack.settled()
