"""The processes of one stack as a Procfile: one shell command each, which any Procfile runner can start."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from appliance.config.instances import ServerKind
from appliance.config.load import LoadedConfig
from appliance.stack.layout import Layout
from appliance.stack.programs import Programs
from appliance.stack.render import redis_port

MODEL_NICENESS = 5
"""A model that computes must not keep Asterisk and the gateway from their 20 ms."""


def processes(loaded: LoadedConfig, layout: Layout, programs: Programs) -> dict[str, str]:
    """Shell command by process name, in the order to start them.

    Each command ends when whoever started it does (`--pdeathsig`), so a runner that is killed leaves nothing behind.
    """
    commands: dict[str, list[str]] = {}
    if redis_port(loaded) is not None:
        commands["redis"] = programs.command("redis-server", str(layout.redis_conf), visible=layout.visible)
    tls = loaded.config.telephony
    certificates = [loaded.path(path) for path in (tls.tls_certificate, tls.tls_key) if tls.tls_port and path]
    asterisk = programs.command("asterisk", "-f", "-C", str(layout.asterisk_conf), visible=[*layout.visible, *certificates])
    commands["asterisk"] = asterisk
    for name in model_names(loaded):
        server = _python("appliance.modelserver", "--instance", name, loaded.file)
        commands[f"model-{name}"] = ["nice", "-n", str(MODEL_NICENESS), *server]
    for worker in range(1, loaded.config.gateway.workers + 1):
        commands[f"gateway-{worker}"] = _python("appliance.gateway", "--worker", worker, loaded.file)
    return {name: f"exec setpriv --pdeathsig TERM -- {shlex.join(command)}" for name, command in commands.items()}


def model_names(loaded: LoadedConfig) -> list[str]:
    """Every instance of every kind of model server."""
    return [name for kind in get_args(ServerKind) for name in loaded.instances(kind)]


def procfile_text(commands: Mapping[str, str]) -> str:
    return "".join(f"{name}: {command}\n" for name, command in commands.items())


def asterisk_cli(layout: Layout, programs: Programs, command: str) -> list[str]:
    """The argument list that asks the running Asterisk of this stack."""
    return programs.command("asterisk", "-C", str(layout.asterisk_conf), "-rx", command, visible=layout.visible)


def _python(module: str, option: str, value: str | int, config: Path) -> list[str]:
    return [sys.executable, "-m", module, option, str(value), "--config", str(config)]
