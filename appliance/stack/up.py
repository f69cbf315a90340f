"""`appliance up`: from a configuration file to a stack that takes calls, in the foreground until it is told to stop."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from appliance.config.load import LoadedConfig, load
from appliance.stack import install
from appliance.stack.layout import layout_of
from appliance.stack.models import check_models
from appliance.stack.preflight import check_ports, listeners, only_stack_in
from appliance.stack.procfile import processes, procfile_text
from appliance.stack.readiness import Readiness
from appliance.stack.render import render
from appliance.stack.supervisor import Supervisor

READY = "ready:"
"""Begins the one line that says that calls are taken."""
READY_S = 120.0


def up(config_file: Path, *, output: TextIO | None = sys.stdout) -> None:
    """Runs the stack of this configuration until SIGINT or SIGTERM. Must be called from the main thread.

    Args:
        output: gets progress, the prefixed lines of every process and the line that begins with `READY`.

    Raises:
        ConfigError: the configuration cannot be used.
        ModelFilesError: a model is missing or damaged.
        StackError: the stack could not be started, or a process of it ended.
    """

    def say(line: str) -> None:
        if output is not None:
            output.write(f"{line}\n")
            output.flush()

    loaded = load(config_file)
    layout = layout_of(loaded)
    check_models(loaded)
    programs = install.programs(say)
    with only_stack_in(layout):
        check_ports(listeners(loaded))
        render(loaded, layout, programs)
        commands = processes(loaded, layout, programs)
        layout.procfile.write_text(procfile_text(commands))
        supervisor = Supervisor(commands, cwd=layout.top, environment=environment(), log_folder=layout.log, output=output)
        readiness = Readiness(loaded, layout, programs)
        say(f"starting {', '.join(commands)}")
        supervisor.run(readiness.waiting_for, lambda: say(ready_line(loaded)), ready_s=READY_S)
        say("stopped")


def environment() -> dict[str, str]:
    """That of every process of a stack: proxies are for the outside world, and a stack only speaks to itself."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def ready_line(loaded: LoadedConfig) -> str:
    """What a person needs to place the first call."""
    telephony = loaded.config.telephony
    host = "this machine" if telephony.bind in ("0.0.0.0", "::") else telephony.bind  # noqa: S104
    agents = ", ".join(agent.name for agent in telephony.agents) or "none"
    trunks = ", ".join(trunk.address for trunk in telephony.trunks) or "nowhere"
    return f"{READY} calls to {telephony.company_number} at {host} port {telephony.sip_port} from {trunks}; agents: {agents}"
