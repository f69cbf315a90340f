"""`appliance up`: the stack in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.config.errors import ConfigError
from appliance.config.load import load
from appliance.stack.defaults import CONFIG_NAME, ports, write_config
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


def stack_config(folder: Path, port_offset: int | None) -> Path:
    """The configuration of the stack in `folder`, made when there is none.

    Raises:
        ConfigError: there is one, with other ports than asked for; or it cannot be made.
    """
    file = folder / CONFIG_NAME
    if not file.exists():
        try:
            return write_config(folder, port_offset or 0)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be made: {error.strerror}") from error
    if port_offset is not None:
        config, wanted = load(file).config, ports(port_offset)
        if (config.telephony.sip_port, config.gateway.port) != (wanted.sip, wanted.gateway):
            raise ConfigError(
                f"{file} has other ports (SIP {config.telephony.sip_port}, gateway {config.gateway.port}) than offset {port_offset} means",
                hint="take another folder with --dir, or remove the file",
            )
    return file
