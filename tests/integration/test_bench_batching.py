"""The batching benchmark against real server processes, for a moment only."""

from pathlib import Path

import psutil

from appliance.bench import batching, results


def test_batching_is_measured_written_and_leaves_no_process(tmp_path: Path) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    result = batching.measure(quick=True, callers=(1, 8), level_s=0.6)
    assert results.write(result, tmp_path).name == "batching.json"
    alone, together = result.rows
    assert alone["batch mean"] == 1.0
    assert isinstance(together["batch mean"], float)
    assert isinstance(together["times"], float)
    assert together["batch mean"] > 2.0
    assert together["times"] > 2.0
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before
