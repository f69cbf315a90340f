"""A real model server tells systemd that it is ready, that its engine still answers, and that it stops."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WATCHDOG_S = 3.0


@pytest.fixture
def told(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        yield systemd


@pytest.fixture
def server(tmp_path: Path, told: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    config = tmp_path / "appliance.toml"
    config.write_text('[mt]\nengine = "stub"\nmodel = ""\n')
    environment = {**os.environ, "NOTIFY_SOCKET": told.getsockname(), "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6))}
    environment.pop("WATCHDOG_PID", None)
    command = [sys.executable, "-m", "appliance.modelserver", "--instance", "mt", "--config", str(config)]
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment) as process:
        yield process
        process.kill()


def test_ready_alive_and_stopping(server: subprocess.Popen[bytes], told: socket.socket) -> None:
    assert told.recv(1000).startswith(b"STATUS=")
    assert told.recv(1000) == b"READY=1\nSTATUS=stub answers"
    for _ in range(3):
        began = time.monotonic()
        assert told.recv(1000) == b"WATCHDOG=1"
        assert time.monotonic() - began < WATCHDOG_S, "systemd would have killed it"
    server.terminate()
    rest = [told.recv(1000)]
    while rest[-1] == b"WATCHDOG=1":
        rest.append(told.recv(1000))
    assert rest[-1].startswith(b"STOPPING=1")
    assert server.wait(10) == 0
