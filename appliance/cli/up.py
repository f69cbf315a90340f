"""`appliance up`: the stack in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.stack.defaults import stack_config
from appliance.stack.up import up

STACK_DIR = Path("build/stack")


@click.command("up", short_help="Run the stack in the foreground.")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), default=STACK_DIR, show_default=True, help="Folder of the stack."
)
@click.option("--port-offset", type=int, default=None, metavar="N", help="Shift all ports by N, so that two stacks run side by side.")
def up_command(folder: Path, port_offset: int | None) -> None:
    """Run the whole stack in the foreground until Ctrl-C: Asterisk, Redis, the model servers and the gateway.

    The folder's appliance.toml is made when it is missing (one machine, everything on loopback); a line that begins with
    "ready:" tells when calls are taken.
    """
    up(stack_config(folder, port_offset))
