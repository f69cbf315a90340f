"""One benchmark after the other: measured, shown, written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from appliance.bench import results
from appliance.bench.results import Result

PARTS = ("engines", "batching", "lines", "echo", "monologue", "commit", "gateway", "calls", "soak")
BUSY_SHARE = 0.5
"""Load per core from which on others disturb what is measured."""

Note = Callable[[str], None]


def run(
    parts: Sequence[str], out: Path, console: Console, *, quick: bool, port_offset: int | None = None, minutes: float | None = None
) -> None:
    """
    Args:
        parts: some of `PARTS`; measured in that order.
        out: folder of the JSON files.
        port_offset: of the ports; None: free ones.
        minutes: of the soak; None: as long as it is by default.

    Raises:
        ApplianceError: what is to be measured does not start; what was measured before has been written.
    """
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load / cores > BUSY_SHARE:
        console.print(f"other programs use this machine (load {load:.1f} on {cores} cores): the figures are worse for it", style="yellow")
    for name in (part for part in PARTS if part in parts):
        began = time.monotonic()
        with console.status(f"measuring {name}") as status:
            result = _measured(name, quick, port_offset, minutes, lambda text, name=name: status.update(f"measuring {name}: {text}"))  # type: ignore[misc]
        file = results.write(result, out)
        console.print(results.table(result))
        for note in result.notes:
            console.print(f"  {note}", style="yellow")
        console.print(f"  {file}, measured in {time.monotonic() - began:.0f} s\n", style="dim", highlight=False)


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

            return measure_lines(quick=quick)
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
        case "calls":
            from appliance.bench.calls import measure as measure_calls

            return measure_calls(quick=quick, port_offset=port_offset, tell=tell)
        case "soak":
            from appliance.bench.soak import measure as measure_soak

            return measure_soak(quick=quick, minutes=minutes, port_offset=port_offset, tell=tell)
    raise ValueError(f"no part {name!r}, allowed: {', '.join(PARTS)}")
