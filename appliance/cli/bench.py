"""`appliance bench`: figures of this machine as tables and JSON."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from appliance.bench.errors import BenchError
from appliance.bench.run import PARTS, QUICK_PARTS, run

PIPE_WIDTH = 160
"""Columns where the output is no terminal."""
MISSED_STATUS = 1
"""With `--strict`, when all was measured but not all goals are met."""
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("bench", short_help="Measure engines, batching, bad lines, the gateway and real calls.")
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar=f"[{'|'.join(PARTS)}]...")
@click.option("--quick", is_flag=True, help="Fewer and shorter measurements, at most 6 minutes; workers only by name.")
@click.option("--out", type=_FOLDER, default=Path("build/bench"), show_default=True, help="Folder for the JSON.")
@click.option("--port-offset", type=int, default=None, metavar="N", help="Ports to use, as of `appliance up`; free ones by default.")
@click.option("--minutes", type=click.FloatRange(min=0.5), default=None, metavar="N", help="Of the soak; 30 by default.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a goal is missed; otherwise that changes nothing.")
def bench_command(parts: tuple[str, ...], quick: bool, out: Path, port_offset: int | None, minutes: float | None, strict: bool) -> None:
    """Measure this machine: all parts, or those named. Each prints a table and writes PART.json.

    In the end a table, also in goals.json, tells which goals the figures reach. A missed goal is no error, as figures depend on the
    machine (see --strict). A part that cannot be measured is: the others are measured, then the exit status is 2.

    Everything that is measured is started for it and ended after it. The figures mean something on a machine that does nothing else.
    """
    console = Console()
    shown = console if console.is_terminal else Console(width=PIPE_WIDTH)
    finished = run(parts or (QUICK_PARTS if quick else PARTS), out, shown, quick=quick, port_offset=port_offset, minutes=minutes)
    if finished.failed:
        raise BenchError("; ".join(f"{part} could not be measured: {why}" for part, why in finished.failed.items()))
    if strict and finished.missed:
        click.echo(f"missed: {'; '.join(finished.missed)}", err=True)
        raise click.exceptions.Exit(MISSED_STATUS)
