"""A real Asterisk with this project's configuration and nothing behind it, for tests of the telephone side alone."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from appliance.config.load import LoadedConfig, load
from appliance.stack import defaults, install
from appliance.stack.layout import Layout, layout_of
from appliance.stack.procfile import asterisk_cli, processes
from appliance.stack.programs import Programs
from appliance.stack.render import render
from appliance.stack.up import environment

START_S = 20.0


@dataclass(frozen=True, slots=True)
class RunningAsterisk:
    loaded: LoadedConfig
    layout: Layout
    programs: Programs
    process: asyncio.subprocess.Process

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.loaded.config.telephony.sip_port}"

    def ask(self, command: str) -> str:
        """What the command prints on Asterisk's console."""
        shown = subprocess.run(asterisk_cli(self.layout, self.programs, command), capture_output=True, text=True, timeout=20, check=True)
        return shown.stdout

    def log(self) -> str:
        return (self.layout.asterisk_log / "messages").read_text()


@contextlib.asynccontextmanager
async def running_asterisk(folder: Path, *, edit: dict[str, str] | None = None) -> AsyncIterator[RunningAsterisk]:
    """Asterisk on ports of its own, ready for calls; stopped at the end of the block.

    Args:
        edit: texts of the default `appliance.toml` and what to put in their place.
    """
    file = defaults.write_config(folder, defaults.free_offset())
    text = file.read_text()
    for old, new in (edit or {}).items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    loaded = load(file)
    layout = layout_of(loaded)
    programs = install.programs(print)
    render(loaded, layout, programs)
    command = processes(loaded, layout, programs)["asterisk"]
    with (folder / "asterisk.out").open("wb") as output:
        process = await asyncio.create_subprocess_shell(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment())
    running = RunningAsterisk(loaded, layout, programs, process)
    try:
        await _until_booted(running)
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            raise


async def _until_booted(running: RunningAsterisk) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert running.process.returncode is None, "Asterisk ended at once"
        command = asterisk_cli(running.layout, running.programs, "core waitfullybooted")
        asked = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        printed, _ = await asked.communicate()
        if b"fully booted" in printed:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"Asterisk has not booted after {START_S:g} s")
