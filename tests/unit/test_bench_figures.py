from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from appliance.bench.figures import Spread, batch_mean, beyond_s, per_second, real_time_factor, spread_ms
from appliance.bench.results import Result, shown, tables, write


def test_a_spread_is_of_measured_values_in_milliseconds() -> None:
    assert spread_ms([number / 1000 for number in range(1, 101)]) == Spread(50.0, 95.0, 99.0, 100.0)
    assert spread_ms([0.0123456]) == Spread(12.35, 12.35, 12.35, 12.35)
    assert spread_ms([]) is None


def test_the_mean_batch_counts_each_batch_once() -> None:
    one_of_four_and_two_single = [4, 4, 4, 4, 1, 1]
    assert batch_mean(one_of_four_and_two_single) == 2.0
    assert batch_mean([]) is None


def test_rates_and_factors_have_no_meaning_without_time_or_audio() -> None:
    assert per_second(30, 2.0) == 15.0
    assert per_second(30, 0.0) == 0.0
    assert real_time_factor(0.3, 3.0) == 0.1
    assert real_time_factor(0.3, 0.0) is None


@pytest.mark.parametrize(
    ("endpoint_wait_s", "expected_s"),
    [(0.35, 0.09), (0.70, -0.20)],  # the engines take longer than the wait; the wait is longer than the engines
)
def test_the_engines_begin_at_the_pause_not_at_the_end_of_the_wait(endpoint_wait_s: float, expected_s: float) -> None:
    assert beyond_s(0.50, endpoint_wait_s, pause_s=0.16, engines_s=0.25) == pytest.approx(expected_s)


ROWS = Result("sample", "A sample", [{"name": "a", "ms": 12.345}, {"name": "b", "ms": None, "later": 3}])


def test_the_file_is_a_list_of_rows_with_the_columns_of_the_table(tmp_path: Path) -> None:
    file = write(ROWS, tmp_path / "bench")
    assert file.name == "sample.json"
    read = msgspec.json.decode(file.read_bytes())
    assert read == [{"name": "a", "ms": 12.345, "later": None}, {"name": "b", "ms": None, "later": 3}]
    console = Console(width=80, record=True, file=(tmp_path / "shown").open("w"))
    for table in tables(ROWS, console.width):
        console.print(table)
    lines = [line.split() for line in console.export_text().splitlines() if line.strip(" ─")]
    assert lines[0] == ["A", "sample"]
    assert lines[1:] == [["name", "ms"], ["a", "12.3"], ["name", "ms", "later"], ["b", "-", "3"]]  # a row of another kind has its own
    console.file.close()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (3, "3"),
        ("ta", "ta"),
        (0.0, "0.00"),
        (0.00123, "0.0012"),
        (1.234, "1.23"),
        (123.4, "123"),
    ],
)
def test_cells_show_what_counts(value: float | str | bool | None, text: str) -> None:
    assert shown(value) == text
