"""One part after the other, and those that fail; how tables are laid out."""

import subprocess
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from click.testing import Result as Exit
from rich.console import Console

from appliance.bench import results, run
from appliance.bench.errors import BenchError
from appliance.bench.results import Result, Row
from appliance.cli.frame import appliance

ECHO: Row = {"played": 50, "taken for speech": 0}


def measured(name: str, *_: object) -> Result:
    """In place of the parts: two are broken."""
    match name:
        case "batching":
            raise BenchError("no such server", hint="start it")
        case "gateway":
            raise subprocess.TimeoutExpired(["asterisk"], 10.0)
        case "echo":
            return Result(name, "Echo", [ECHO], ("a note",))
    return Result(name, name, [{"value": 1.0}])


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_measured", measured)


def bench(*arguments: object) -> Exit:
    return CliRunner().invoke(appliance, ["bench", *map(str, arguments)])


def test_a_part_that_fails_is_told_of_and_the_others_are_measured(tmp_path: Path) -> None:
    text = StringIO()
    finished = run.run(["gateway", "batching", "echo", "commit"], tmp_path, Console(file=text, width=160), quick=True)
    assert list(finished.failed) == ["batching", "gateway"]
    assert finished.failed["batching"] == "no such server (start it)"
    assert "TimeoutExpired" in finished.failed["gateway"]
    assert finished.missed == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["commit.json", "echo.json", "goals.json"]
    assert "batching could not be measured: no such server (start it)" in text.getvalue()
    judged = msgspec.json.decode((tmp_path / "goals.json").read_bytes())
    assert {(row["part"], row["met"]) for row in judged} == {("batching", None), ("echo", True), ("gateway", None)}


def test_other_errors_are_nobody_s_to_hide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Result:
        raise KeyError("a mistake in the program")

    monkeypatch.setattr(run, "_measured", broken)
    with pytest.raises(KeyError):
        run.run(["echo"], tmp_path, Console(file=StringIO()), quick=True)


def test_the_exit_status_names_failed_parts_and_missed_goals_only_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = bench("batching", "echo", "--out", tmp_path)
    assert failed.exit_code == 2
    assert "error: batching could not be measured: no such server (start it)" in failed.output
    assert bench("echo", "--strict", "--out", tmp_path).exit_code == 0
    monkeypatch.setitem(ECHO, "taken for speech", 1)
    assert bench("echo", "--out", tmp_path).exit_code == 0
    missed = bench("echo", "--strict", "--out", tmp_path)
    assert missed.exit_code == 1
    assert "missed: echo: " in missed.output


def test_a_quick_run_leaves_out_what_takes_long_unless_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def noted(name: str, *_: object) -> Result:
        asked.append(name)
        raise BenchError("not now")

    monkeypatch.setattr(run, "_measured", noted)
    bench("--quick", "--out", tmp_path)
    assert set(run.PARTS) - set(asked) == {"workers"}
    bench("--quick", "workers", "--out", tmp_path)
    assert asked[-1] == "workers"


def drawn(result: Result, width: int) -> list[str]:
    text = StringIO()
    console = Console(file=text, width=width)
    for table in results.tables(result, width):
        console.print(table)
    return text.getvalue().splitlines()


def test_headings_break_between_words_and_what_does_not_fit_follows_below() -> None:
    rows: list[Row] = [{"call": "Tamil, interpreted", "INVITE to greeting s": 0.07, "utterances": 12, "memory per call MB": None}]
    wide = drawn(Result("x", "Title", rows), 100)
    assert any("call                 INVITE to greeting s   utterances   memory per call MB" in line for line in wide)
    narrow = drawn(Result("x", "Title", rows), 44)
    assert all(len(line) <= 44 for line in narrow)
    words = {word for line in narrow for word in line.split()}
    assert {"INVITE", "greeting", "utterances", "memory", "interpreted", "Tamil,"} <= words
    narrower = drawn(Result("x", "Title", rows), 28)
    assert sum("Title" in line for line in narrower) == 1
    assert sum("call" in line.split()[:1] for line in narrower) >= 2, "the first column is in each table"


def test_rows_of_another_kind_have_a_table_of_their_own_but_one_list_in_the_file(tmp_path: Path) -> None:
    rows: list[Row] = [{"call": "ta", "lost": 0}, {"call": "all", "lost": 0}, {"call": "SIPp", "CPU": 1.0}, {"call": "ta"}]
    first, second = results.tables(Result("x", "Title", rows), 80)
    assert [len(table.rows) for table in (first, second)] == [3, 1]
    written = msgspec.json.decode(results.write(Result("x", "Title", rows), tmp_path).read_bytes())
    assert written[2] == {"call": "SIPp", "lost": None, "CPU": 1.0}


def test_a_row_without_anything_in_a_further_table_is_left_out_of_it() -> None:
    rows: list[Row] = [{"what": "minute", "memory": 1, "calls": 2}, {"what": "growth", "memory": 3}, {"what": "after", "calls": 0}]
    first, second = results.tables(Result("x", "Title", rows), 18)
    assert list(first.columns[0].cells) == ["minute", "growth"]
    assert list(second.columns[0].cells) == ["minute", "after"]
