"""A benchmark's rows: as a table for people, as JSON (a list of objects with the table's columns as keys) for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich import box
from rich.table import Table

Value = float | int | str | bool | None
Row = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    """Also of the file: `NAME.json`."""
    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=tuple)
    """What a reader must know to judge the rows."""

    @property
    def columns(self) -> list[str]:
        """In the order in which rows name them first."""
        return list(dict.fromkeys(name for row in self.rows for name in row))


def table(result: Result) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=result.title, title_justify="left")
    for name in result.columns:
        words = any(isinstance(row.get(name), str) for row in result.rows)
        drawn.add_column(name, justify="left" if words else "right", overflow="fold")
    for row in result.rows:
        drawn.add_row(*(shown(row.get(name)) for name in result.columns))
    return drawn


def shown(value: Value) -> str:
    """A value as a cell: three digits that count, nothing measured as a dash."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            size = abs(value)
            digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or not value else 4
            return f"{value:.{digits}f}"
        case _:
            return str(value)


def write(result: Result, folder: Path) -> Path:
    """`NAME.json` in `folder`; every row has every column."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{name: row.get(name) for name in result.columns} for row in result.rows]
    file = folder / f"{result.name}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n")
    return file
