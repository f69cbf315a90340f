"""A whole stack as processes, with engines that answer at once: it comes up, it goes down, and nothing is left of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from appliance.config.load import load
from appliance.stack import defaults, install
from appliance.stack.background import running_stack
from appliance.stack.errors import StackError

STUBS = '[stt]\nengine = "stub"\nmodel = "text=namaste"\n[mt]\nengine = "stub"\nmodel = "text=namaste"\n'
APPLIANCE = [sys.executable, "-m", "appliance"]
PROCESSES = {"redis", "asterisk", "model-stt", "model-mt", "model-tts", "gateway-1"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return defaults.write_config(tmp_path, defaults.free_offset(), extra=STUBS)


class Up:
    """A stack in the foreground, as a person would start it."""

    def __init__(self, command: list[str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
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
        output, _ = self.process.communicate(timeout=60)
        self.lines += output.splitlines(keepends=True)
        return self.process.returncode

    def survivors(self) -> list[psutil.Process]:
        _, alive = psutil.wait_procs(self.family, timeout=15)
        return alive


@contextmanager
def started(*command: str) -> Iterator[Up]:
    up = Up([*command])
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.process.terminate()
            up.end()
        up.process.stdout.close()  # type: ignore[union-attr]


@pytest.fixture
def up(config: Path) -> Iterator[Up]:
    with started(sys.executable, "-m", "appliance.stack", "--config", str(config)) as up:
        yield up


def everything_in_etc() -> dict[str, int]:
    """Time of the last change, in ns, of every file and folder under /etc."""
    names = [Path(folder, name) for folder, folders, files in os.walk("/etc") for name in [*folders, *files]]
    return {str(path): path.lstat().st_mtime_ns for path in [Path("/etc"), *names]}


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


def test_the_command_makes_a_stack_with_the_starter_models_and_leaves_etc_alone(tmp_path: Path) -> None:
    install.programs(print)  # packages do write to /etc
    before = everything_in_etc()
    folder, offset = tmp_path / "new", defaults.free_offset()
    with started(*APPLIANCE, "up", "--dir", str(folder), "--port-offset", str(offset)) as up:
        up.until_ready()
        assert f" 127.0.0.1 port {defaults.ports(offset).sip} " in up.lines[-1]
        assert load(folder / defaults.CONFIG_NAME).config.play.quiet_numbers == [defaults.QUIET_NUMBER]
        up.process.send_signal(signal.SIGINT)
        assert up.end() == 0
        assert up.lines[-1] == "stopped\n"
        assert up.survivors() == []
    assert everything_in_etc() == before


def test_a_damaged_model_is_refused_by_its_name_before_anything_starts(tmp_path: Path) -> None:
    models = shutil.copytree(defaults.MODELS, tmp_path / "models")
    damaged = models / "starter" / "mt" / "model.bin"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    folder = tmp_path / "stack"
    defaults.write_config(folder, defaults.free_offset(), models=models, extra=STUBS.partition("[mt]")[0])
    refused = subprocess.run([*APPLIANCE, "up", "--dir", str(folder)], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert f"{damaged} is corrupted" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert refused.stdout == ""
    assert not (folder / "Procfile").exists()
    assert not [process for process in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(process.info["cmdline"] or [])]


def test_when_one_process_dies_all_stop_and_it_is_named(up: Up) -> None:
    up.until_ready()
    victim = next(process for process in up.family if "--instance" in process.cmdline() and "mt" in process.cmdline())
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
    offset = other = defaults.free_offset()
    while other == offset:  # neither runs yet: the second might be given the first one's ports
        other = defaults.free_offset()
    first, second = (defaults.write_config(tmp_path / str(number), number, extra=STUBS) for number in (offset, other))
    with running_stack(first) as one, running_stack(second) as two:
        assert one.config.telephony.sip_port != two.config.telephony.sip_port
        with pytest.raises(StackError, match="already running in"), running_stack(first):
            pass


def test_a_taken_port_is_named_with_its_owner(config: Path) -> None:
    port = load(config).config.telephony.http_port
    with socket.create_server(("127.0.0.1", port)):
        words = rf"TCP port {port} \(telephony.http_port\) is taken by \S*py\S* \(process {os.getpid()}"
        with pytest.raises(StackError, match=words), running_stack(config):
            pass
    assert not (config.parent / "Procfile").exists()
