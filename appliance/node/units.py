"""The units of a node, and what systemd says of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec

from appliance.config.instances import ServerKind, instance_names
from appliance.config.schema import Config
from appliance.node.errors import NodeError

TARGET = "appliance.target"
SHARED = ("redis-server.service", "asterisk.service")
"""Of the distribution, with a drop-in of ours."""
EXPIRY = ("appliance-expire.timer", "appliance-expire.service")
"""Deletes old records every night."""
BOOTED = Path("/run/systemd/system")
"""Exists where systemd is the first process."""
UNIT_FOLDER = Path("/etc/systemd/system")
ASK_S = 10.0
_PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "StatusText", "ActiveEnterTimestamp")


class UnitState(msgspec.Struct, frozen=True):
    """One unit as systemd has it."""

    name: str
    loaded: bool
    """Whether there is such a unit."""
    active: str
    """active, activating, failed, inactive, ..."""
    sub: str
    result: str
    """`success`, or why it failed: exit-code, watchdog, oom-kill, start-limit-hit, ..."""
    restarts: int
    """By systemd itself, since it was started by hand last."""
    status: str
    """What the process says of itself."""
    since: str
    """When it became active, as systemd writes it; empty when it is not."""


def instance_units(config: Config) -> list[str]:
    """Those that a configuration needs enabled, beside the target."""
    models = [f"appliance-model@{name}.service" for kind in get_args(ServerKind) for name in instance_names(config, kind)]
    return [*models, *(f"appliance-gateway@{number}.service" for number in range(1, config.gateway.workers + 1))]


def is_node() -> bool:
    """Whether this machine runs the appliance by systemd."""
    return BOOTED.is_dir() and (UNIT_FOLDER / TARGET).exists() and shutil.which("systemctl") is not None


def unit_states(names: Sequence[str]) -> list[UnitState]:
    """Raises: NodeError when systemd cannot be asked."""
    command = ["systemctl", "show", f"--property={','.join(_PROPERTIES)}", *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise NodeError(f"systemd does not say how its units are: {getattr(error, 'stderr', '') or error}") from error
    return read_states(done.stdout)


def read_states(text: str) -> list[UnitState]:
    """What `systemctl show` printed: one block a unit."""
    states = []
    for block in text.strip().split("\n\n"):
        said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" not in said:
            continue
        restarts = said.get("NRestarts", "")
        states.append(
            UnitState(
                name=said["Id"],
                loaded=said.get("LoadState") == "loaded",
                active=said.get("ActiveState", ""),
                sub=said.get("SubState", ""),
                result=said.get("Result", ""),
                restarts=int(restarts) if restarts.isdigit() else 0,
                status=said.get("StatusText", ""),
                since=said.get("ActiveEnterTimestamp", ""),
            )
        )
    return states
