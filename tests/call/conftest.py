"""Real calls to a real stack, which is started once for all tests of this folder, on ports and in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from asterisk_console import NO_ANSWER, active_channels, bridge_ids

from appliance.config.load import LoadedConfig, load
from appliance.phone import program
from appliance.phone.station import Station, station
from appliance.stack import install
from appliance.stack.background import running_stack
from appliance.stack.defaults import free_offset, write_config
from appliance.stack.layout import Layout, layout_of
from appliance.stack.procfile import asterisk_cli, processes
from appliance.stack.programs import Programs
from appliance.stack.render import render

SETTLED_S = 15.0
"""A call that has ended leaves nothing behind after this, on however busy a machine."""
RING_S = 6.0


@dataclass
class Running:
    """A stack, or a part of one, that tests call."""

    loaded: LoadedConfig
    layout: Layout
    programs: Programs

    @property
    def station(self) -> Station:
        return station(self.loaded, self.programs)

    def asterisk(self, command: str) -> str:
        """What Asterisk's console prints for a command."""
        shown = subprocess.run(asterisk_cli(self.layout, self.programs, command), capture_output=True, text=True, timeout=10, check=False)
        return shown.stdout

    def status(self) -> dict[str, Any]:
        """What the gateway's worker has open."""
        gateway = self.loaded.config.gateway
        answer = httpx.get(f"http://{gateway.host}:{gateway.port}/api/status", timeout=5)
        return dict(answer.raise_for_status().json())

    def channels(self) -> int:
        """-1 while the console does not answer."""
        return active_channels(self.asterisk("core show channels count"))

    def settled(self, timeout_s: float = SETTLED_S) -> None:
        """Waits until nothing is left of any call, in the gateway and in Asterisk; fails naming what is.

        A gateway that keeps a task or a socket would lose a little with each call.
        """
        deadline = time.monotonic() + timeout_s
        while left := self.left():
            if time.monotonic() > deadline:
                pytest.fail(f"left after the call: {left}")
            time.sleep(0.2)

    def left(self) -> dict[str, int]:
        """What is not zero."""
        status = self.status()
        counts = {name: int(status[name]) for name in ("calls", "channels", "bridges", "media_sockets", "media_expected", "call_tasks")}
        counts |= {"asterisk channels": self.channels(), "asterisk bridges": self.bridges()}
        return {name: count for name, count in counts.items() if count}

    def bridges(self) -> int:
        """-1 while the console does not answer."""
        found = bridge_ids(self.asterisk("bridge show all"))
        return -1 if found == [NO_ANSWER] else len(found)


@pytest.fixture(scope="session")
def programs() -> Programs:
    return install.programs(lambda line: None)


@pytest.fixture(scope="session")
def stack(programs: Programs) -> Iterator[Running]:
    """A whole stack that takes calls."""
    with stack_folder() as folder:
        file = write_config(folder, free_offset())
        file.write_text(file.read_text().replace("[telephony]\n", f"[telephony]\nring_s = {RING_S}\n", 1))
        with running_stack(file) as loaded:
            yield Running(loaded, layout_of(loaded), programs)


@pytest.fixture
def asterisk_alone(programs: Programs) -> Iterator[Running]:
    """Asterisk with the stack's own configuration and nothing else: no gateway, no models, no Redis."""
    with stack_folder() as folder, only_asterisk(write_config(folder, free_offset()), programs) as running:
        yield running


@contextmanager
def only_asterisk(file: Path, programs: Programs) -> Iterator[Running]:
    """Asterisk of the stack with this configuration, ready for calls."""
    loaded = load(file)
    layout = layout_of(loaded)
    render(loaded, layout, programs)
    command = processes(loaded, layout, programs)["asterisk"]
    with (layout.log / "asterisk.log").open("wb") as log:
        process = subprocess.Popen(["sh", "-c", command], cwd=file.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    running = Running(loaded, layout, programs)
    try:
        wait_until(lambda: "fully booted" in running.asterisk("core waitfullybooted").lower(), 30, "Asterisk did not start")
        yield running
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Politely, if it can be done in time."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


@pytest.fixture
def phones() -> Iterator[Path]:
    """A folder for telephones."""
    folder = program.work_folder()
    yield folder
    shutil.rmtree(folder)


def wait_until(true: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(otherwise)
        time.sleep(0.2)


@contextmanager
def stack_folder() -> Iterator[Path]:
    """A short path: Unix sockets have 108 bytes for their names."""
    path = Path(tempfile.mkdtemp(prefix="setu-call-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
