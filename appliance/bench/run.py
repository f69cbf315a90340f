"""One benchmark after the other: measured, shown, written; in the end what was to be reached and what was."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console

from appliance.bench import goals, results
from appliance.bench.results import Result, Row
from appliance.errors import ApplianceError

PARTS = ("engines", "batching", "lines", "echo", "monologue", "commit", "gateway", "workers", "calls", "soak")
QUICK_PARTS = tuple(part for part in PARTS if part != "workers")
"""What a quick run without named parts measures: a stack for each number of workers takes two minutes however short the look at it."""
BUSY_SHARE = 0.5
"""Load per core from which on others disturb what is measured."""
BROKEN = (ApplianceError, OSError, httpx.HTTPError, subprocess.SubprocessError)
"""What is measured does not start, or does not answer any more: a reason to go on with the next part."""

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Finished:
    failed: dict[str, str]
    """Parts that could not be measured, and why."""
    missed: list[str]
    """Goals."""


def run(
    parts: Sequence[str], out: Path, console: Console, *, quick: bool, port_offset: int | None = None, minutes: float | None = None
) -> Finished:
    """A part that fails is told of, and the others are measured.

    Args:
        parts: some of `PARTS`; measured in that order.
        out: folder of the JSON files.
        port_offset: of the ports; None: free ones.
        minutes: of the soak; None: as long as it is by default.
    """
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load / cores > BUSY_SHARE:
        console.print(f"other programs use this machine (load {load:.1f} on {cores} cores): the figures are worse for it", style="yellow")
    found: dict[str, Sequence[Row]] = {}
    failed: dict[str, str] = {}
    for name in (part for part in PARTS if part in parts):
        began = time.monotonic()
        try:
            with console.status(f"measuring {name}") as status:
                result = _measured(name, quick, port_offset, minutes, lambda text, name=name: status.update(f"measuring {name}: {text}"))  # type: ignore[misc]
        except BROKEN as error:
            failed[name] = str(error) if isinstance(error, ApplianceError) else f"{type(error).__name__}: {error}"
            console.print(f"{name} could not be measured: {failed[name]}\n", style="red", markup=False)
            continue
        found[name] = result.rows
        _show(result, out, console, f", measured in {time.monotonic() - began:.0f} s")
    judged = goals.judged(parts, found, quick=quick)
    if judged.rows:
        _show(judged, out, console)
    return Finished(failed, goals.missed(judged.rows))


def _show(result: Result, out: Path, console: Console, more: str = "") -> None:
    file = results.write(result, out)
    for table in results.tables(result, console.width):
        console.print(table)
    for note in result.notes:
        console.print(f"  {note}", style="yellow")
    console.print(f"  {file}{more}\n", style="dim", highlight=False)


def _measured(name: str, quick: bool, port_offset: int | None, minutes: float | None, tell: Note) -> Result:
    # Imported here: each part needs programs and packages that the others do not.
    match name:
        case "engines":
            from appliance.bench.engines import measure as measure_engines

            return measure_engines(quick=quick)
        case "batching":
            from appliance.bench.batching import measure as measure_batching

            return measure_batching(quick=quick)
        case "lines":
            from appliance.bench.lines import measure as measure_lines

            return measure_lines(quick=quick, tell=tell)
        case "echo":
            from appliance.bench.echo import measure as measure_echo

            return measure_echo(quick=quick)
        case "monologue":
            from appliance.bench.monologue import measure as measure_monologue

            return measure_monologue(quick=quick)
        case "commit":
            from appliance.bench.commit import measure as measure_commit

            return measure_commit(quick=quick)
        case "gateway":
            from appliance.bench.gateway import measure as measure_gateway

            return measure_gateway(quick=quick, port_offset=port_offset, tell=tell)
        case "workers":
            from appliance.bench.workers import measure as measure_workers

            return measure_workers(quick=quick, port_offset=port_offset, tell=tell)
        case "calls":
            from appliance.bench.calls import measure as measure_calls

            return measure_calls(quick=quick, port_offset=port_offset, tell=tell)
        case "soak":
            from appliance.bench.soak import measure as measure_soak

            return measure_soak(quick=quick, minutes=minutes, port_offset=port_offset, tell=tell)
    raise ValueError(f"no part {name!r}, allowed: {', '.join(PARTS)}")
