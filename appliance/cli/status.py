"""`appliance status`: what runs, and what it does."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from appliance.cli.options import config_option, loaded_config
from appliance.cli.table import table
from appliance.node.status import NodeStatus, node_status
from appliance.node.units import instance_units

LOOK_EVERY_S = 0.5


@click.command("status", short_help="What runs, how many calls, drained or not.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--units", is_flag=True, help="Only the names of the units this configuration needs, one a line.")
@click.option("--wait", "wait_s", type=click.FloatRange(0), default=0.0, metavar="S", help="Wait up to S seconds until calls are taken.")
def status_command(config_file: Path | None, as_json: bool, units: bool, wait_s: float) -> None:
    """Show units, model servers and workers. Exit status 0 when calls are interpreted, else 1."""
    loaded = loaded_config(config_file)
    if units:
        click.echo("\n".join(instance_units(loaded.config)))
        return
    end = time.monotonic() + wait_s
    status = node_status(loaded)
    while not status.ready and time.monotonic() < end:
        time.sleep(LOOK_EVERY_S)
        status = node_status(loaded)
    click.echo(msgspec.json.format(msgspec.json.encode(status)).decode() if as_json else _shown(status))
    if not status.ready:
        raise click.exceptions.Exit(1)


def _shown(status: NodeStatus) -> str:
    release = f", release {status.release}" if status.release else ""
    drained = f", drained: {' '.join(status.drained)}" if status.drained else ""
    ready = "takes calls" if status.ready else "takes no calls"
    lines = [f"{status.node}: Setu {status.version}{release}; {ready}, {status.calls} in progress{drained}"]
    if status.units:
        rows = [(unit.name, unit.active, str(unit.restarts), unit.since, unit.status) for unit in status.units]
        lines += ["", table(("unit", "state", "restarts", "since", "says"), rows)]
    lines += ["", table(("part", "ready", ""), [(part.name, "yes" if part.ready else "no", part.detail) for part in status.parts])]
    return "\n".join(lines)
