"""A stack that runs beside the program that needs it: for the demo, `appliance call` and tests."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.config.load import LoadedConfig, load
from appliance.stack.errors import StackError
from appliance.stack.up import READY

START_S = 150.0
"""The stack itself gives up before."""
STOP_S = 20.0
POLL_S = 0.1


@contextmanager
def running_stack(config_file: Path, *, progress: Callable[[str], None] = lambda line: None) -> Iterator[LoadedConfig]:
    """Starts the stack of this configuration, waits until it takes calls, and stops it in the end.

    Must be entered from a thread that lives as long as the stack shall: the stack ends with it. What the stack prints goes to
    `log/up.log` in its folder.

    Args:
        progress: called with each line the stack prints until it is ready.

    Raises:
        ConfigError: the configuration cannot be used.
        StackError: the stack did not start; its own words.
    """
    loaded = load(config_file)
    log = loaded.folder / "log" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "appliance.stack", "--config", str(loaded.file)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        _wait_until_ready(process, log, progress)
        yield loaded
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, progress: Callable[[str], None]) -> None:
    deadline = time.monotonic() + START_S
    shown = 0
    while True:
        ended = process.poll() is not None
        lines = log.read_text(errors="replace").split("\n")[:-1]
        for line in lines[shown:]:
            progress(line)
            if line.startswith(READY):
                return
        shown = len(lines)
        if ended:
            errors = [line for line in lines if line.startswith("error:")] or lines[-1:]
            raise StackError("\n".join(line.removeprefix("error: ") for line in errors) or f"the stack ended, see {log}")
        if time.monotonic() > deadline:
            raise StackError(f"the stack was not ready after {START_S:g} s", hint=f"log: {log}")
        time.sleep(POLL_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its children end with it
            process.wait()
