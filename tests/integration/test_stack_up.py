"""A whole stack as processes, with engines that answer at once: it comes up, it goes down, and nothing is left of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from appliance.config.load import load
from appliance.stack import defaults
from appliance.stack.background import running_stack
from appliance.stack.errors import StackError

STUBS = '[stt]\nengine = "stub"\nmodel = "text=namaste"\n[mt]\nengine = "stub"\nmodel = "text=namaste"\n'
PROCESSES = {"redis", "asterisk", "model-stt", "model-mt", "model-tts", "gateway-1"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return defaults.write_config(tmp_path, defaults.free_offset(), extra=STUBS)


class Up:
    """`python -m appliance.stack` as a person would start it."""

    def __init__(self, config: Path) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "appliance.stack", "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "http_proxy": "http://127.0.0.1:9"},
        )
        self.family: list[psutil.Process] = []

    def until_ready(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("ready:"):
                self.family = psutil.Process(self.process.pid).children(recursive=True)
                return
        raise AssertionError("".join(self.lines))

    def end(self) -> int:
        """Exit status, with all output read."""
        output, _ = self.process.communicate(timeout=30)
        self.lines += output.splitlines(keepends=True)
        return self.process.returncode

    def survivors(self) -> list[psutil.Process]:
        _, alive = psutil.wait_procs(self.family, timeout=5)
        return alive


@pytest.fixture
def up(config: Path) -> Iterator[Up]:
    started = Up(config)
    yield started
    if started.process.poll() is None:
        started.process.terminate()
        started.end()
    started.process.stdout.close()  # type: ignore[union-attr]


def test_it_comes_up_and_goes_down_cleanly(up: Up, config: Path) -> None:
    up.until_ready()
    names = {process.name() for process in up.family}
    assert {"redis-server", "asterisk"} <= names
    prefixes = {line.split()[1] for line in up.lines if "| " in line}
    assert prefixes == PROCESSES
    assert {path.stem for path in (config.parent / "log").glob("*.log")} == PROCESSES
    procfile = (config.parent / "Procfile").read_text()
    assert {line.split(":")[0] for line in procfile.splitlines()} == PROCESSES
    up.process.send_signal(signal.SIGTERM)
    assert up.end() == 0
    assert up.survivors() == []


def test_when_one_process_dies_all_stop_and_it_is_named(up: Up) -> None:
    up.until_ready()
    victim = next(process for process in up.family if "--kind" in process.cmdline() and "mt" in process.cmdline())
    victim.kill()
    assert up.end() == 1
    assert up.lines[-1].startswith("error: model-mt was ended by SIGKILL, so the stack was stopped")
    assert up.survivors() == []


def test_killed_it_takes_everything_with_it(up: Up) -> None:
    up.until_ready()
    up.process.kill()
    up.end()
    assert up.survivors() == []


def test_two_stacks_run_side_by_side_but_not_in_one_folder(tmp_path: Path) -> None:
    first, second = (defaults.write_config(tmp_path / name, defaults.free_offset(), extra=STUBS) for name in ("a", "b"))
    with running_stack(first) as one, running_stack(second) as other:
        assert one.config.telephony.sip_port != other.config.telephony.sip_port
        with pytest.raises(StackError, match="already running in"), running_stack(first):
            pass


def test_a_taken_port_is_named_with_its_owner(config: Path) -> None:
    port = load(config).config.telephony.http_port
    with socket.create_server(("127.0.0.1", port)):
        words = rf"TCP port {port} \(telephony.http_port\) is taken by \S*py\S* \(process {os.getpid()}"
        with pytest.raises(StackError, match=words), running_stack(config):
            pass
    assert not (config.parent / "Procfile").exists()
