"""A benchmark's rows: as tables for people, as JSON (a list of objects with the tables' columns as keys) for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich import box
from rich.table import Table

Value = float | int | str | bool | None
Row = dict[str, Value]

_BETWEEN, _AROUND = 3, 2
"""Characters between two columns and at both ends of a line."""


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    """Also of the file: `NAME.json`."""
    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=tuple)
    """What a reader must know to judge the rows."""
    nothing: str = "-"
    """Stands in the table where nothing was measured."""

    @property
    def columns(self) -> list[str]:
        """In the order in which rows name them first."""
        return list(dict.fromkeys(name for row in self.rows for name in row))


def tables(result: Result, width: int) -> list[Table]:
    """What is to be printed on lines of `width` characters: no word is broken while a line has room for it, headings are before cells.

    Rows of another kind (they name columns that the first row does not) have a table of their own. Where there are too many columns
    for a line the rest follows in further tables, each with the first column; rows that have nothing in them are left out there.
    """
    drawn: list[Table] = []
    for rows in _kinds(result.rows):
        names = list(dict.fromkeys(name for row in rows for name in row))
        cells = {name: [shown(row.get(name), result.nothing) for row in rows] for name in names}
        least = {name: max(map(len, f"{name} {' '.join(cells[name])}".split())) for name in names}
        parts = _lines(names, least, width)
        for part in parts:
            kept = [row for row in rows if len(parts) == 1 or any(row.get(name) is not None for name in part[1:])]
            bodies = {name: max(least[name], *map(len, cells[name])) for name in part}
            widths = _widths([{name: max(len(name), bodies[name]) for name in part}, bodies, {name: least[name] for name in part}], width)
            drawn.append(_table(result, kept, widths, "" if drawn else result.title))
    return drawn


def _kinds(rows: Sequence[Row]) -> list[list[Row]]:
    kinds: list[list[Row]] = []
    for row in rows:
        fitting = [kind for kind in kinds if row.keys() <= kind[0].keys()]
        if fitting:
            fitting[0].append(row)
        else:
            kinds.append([row])
    return kinds


def _lines(names: Sequence[str], least: dict[str, int], width: int) -> list[list[str]]:
    """The columns of each table."""
    parts = [[names[0]]]
    for name in names[1:]:
        if len(parts[-1]) > 1 and _taken([least[item] for item in (*parts[-1], name)]) > width:
            parts.append([names[0]])
        parts[-1].append(name)
    return parts


def _widths(wanted: Sequence[Mapping[str, int]], width: int) -> dict[str, int]:
    """The first of these widths there is room for; between one and the next the widest columns are made narrower."""
    widths = dict(wanted[0])
    for narrower in wanted[1:]:
        while _taken(list(widths.values())) > width and (wide := [name for name in widths if widths[name] > narrower[name]]):
            widths[max(wide, key=lambda name: widths[name])] -= 1
    return widths


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + _BETWEEN * (len(widths) - 1) + _AROUND


def _table(result: Result, rows: Sequence[Row], widths: dict[str, int], title: str) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title or None, title_justify="left")
    for name, width in widths.items():
        words = any(isinstance(row.get(name), str) for row in rows)
        drawn.add_column(name, justify="left" if words else "right", overflow="fold", width=width)
    for row in rows:
        drawn.add_row(*(shown(row.get(name), result.nothing) for name in widths))
    return drawn


def shown(value: Value, nothing: str = "-") -> str:
    """A value as a cell: three digits that count."""
    match value:
        case None:
            return nothing
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
