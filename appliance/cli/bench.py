"""`appliance bench`: figures of this machine as tables and JSON."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from appliance.bench.run import PARTS, run

PIPE_WIDTH = 160
"""Columns where the output is no terminal."""
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("bench", short_help="Measure engines, batching, the gateway and real calls.")
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar="[engines|batching|gateway|calls]...")
@click.option("--quick", is_flag=True, help="Fewer and shorter measurements: at most 6 minutes for all of them.")
@click.option("--out", type=_FOLDER, default=Path("build/bench"), show_default=True, help="Folder for the JSON.")
@click.option("--port-offset", type=int, default=None, metavar="N", help="Ports to use, as of `appliance up`; free ones by default.")
def bench_command(parts: tuple[str, ...], quick: bool, out: Path, port_offset: int | None) -> None:
    """Measure this machine: all parts, or those named. Each prints a table and writes PART.json.

    Everything that is measured is started for it and ended after it. The figures mean something on a machine that does nothing else.
    """
    console = Console()
    run(parts or PARTS, out, console if console.is_terminal else Console(width=PIPE_WIDTH), quick=quick, port_offset=port_offset)
