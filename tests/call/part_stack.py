"""A whole stack whose processes are started one by one, so that each of them can be killed, stopped and started again."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from appliance.config.load import load
from appliance.stack.defaults import free_offset, write_config
from appliance.stack.layout import layout_of
from appliance.stack.procfile import processes
from appliance.stack.programs import Programs
from appliance.stack.readiness import Readiness
from appliance.stack.render import render
from appliance.stack.up import environment

from .conftest import Running, end

START_S = 60.0


@dataclass
class PartStack(Running):
    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a process of the stack by its name there, or a model server that its configuration does not name (`model-stt-2`)."""
        commands = processes(self.loaded, self.layout, self.programs)
        if name in commands:
            command = ["sh", "-c", commands[name]]
        else:
            server = [sys.executable, "-m", "appliance.modelserver", "--instance", name.removeprefix("model-")]
            command = ["setpriv", "--pdeathsig", "TERM", "--", *server, "--config", str(self.loaded.file)]
        with (self.layout.log / f"{name}.log").open("ab") as log:
            self.parts[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())

    async def started(self, name: str) -> None:
        """Start a model server and wait until it is ready."""
        self.start(name)  # in this thread, which it does not outlive
        await asyncio.to_thread(self.ready, name)

    def ready(self, name: str) -> None:
        """Returns when a model server is ready."""
        path = self.loaded.socket(name.removeprefix("model-"))
        deadline = time.monotonic() + START_S
        while not (_listens(path) and _well(path)):
            assert time.monotonic() < deadline, self.log(name)
            assert self.parts[name].poll() is None, self.log(name)
            time.sleep(0.05)

    def send(self, name: str, number: signal.Signals) -> None:
        self.parts[name].send_signal(number)
        if number == signal.SIGKILL:
            self.parts.pop(name).wait(10)

    def stop(self, name: str) -> None:
        process = self.parts.pop(name)
        process.send_signal(signal.SIGCONT)
        end(process)

    def log(self, name: str) -> str:
        return (self.layout.log / f"{name}.log").read_text(errors="replace")

    def get(self, path: str, worker: int = 1) -> httpx.Response:
        """What a gateway worker answers."""
        gateway = self.loaded.config.gateway
        return httpx.get(f"http://{gateway.host}:{gateway.port + worker - 1}{path}", timeout=5, trust_env=False)

    def metric(self, name: str, worker: int = 1) -> float:
        """Of a gateway worker: the value of a metric as it is written, labels included; 0 when it is not there."""
        match = re.search(rf"^{re.escape(name)} (\S+)$", self._metrics(worker), re.MULTILINE)
        return float(match.group(1)) if match else 0.0

    def all_asked(self, worker: int = 1) -> bool:
        """Whether there is no model server that the gateway leaves alone."""
        return all(float(value) == 0 for value in re.findall(r"^setu_model_circuit_open\{\S+ (\S+)$", self._metrics(worker), re.MULTILINE))

    def _metrics(self, worker: int) -> str:
        return self.get("/metrics", worker).text


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _well(path: Path) -> bool:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=2) as client:
        return client.get("http://model/health").status_code == 200


@contextmanager
def part_stack(
    programs: Programs,
    extra: str,
    *,
    edit: Mapping[str, str] | None = None,
    prepare: Callable[[Path], AbstractContextManager[object]] = lambda folder: nullcontext(),
) -> Iterator[PartStack]:
    """A stack that takes calls.

    Args:
        extra: TOML for the end of its configuration.
        edit: texts of the default `appliance.toml` and what to put in their place.
        prepare: called with the stack's folder before anything runs in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="setu-call-"))  # a short path: Unix sockets have 108 bytes for their names
    try:
        file = write_config(folder, free_offset(), extra=extra)
        for old, new in (edit or {}).items():
            text = file.read_text()
            assert old in text
            file.write_text(text.replace(old, new, 1))
        loaded = load(file)
        layout = layout_of(loaded)
        render(loaded, layout, programs)
        stack = PartStack(loaded, layout, programs)
        with prepare(folder):
            try:
                for name in processes(loaded, layout, programs):
                    stack.start(name)
                readiness, deadline = Readiness(loaded, layout, programs), time.monotonic() + START_S
                while waiting := readiness.waiting_for():
                    assert time.monotonic() < deadline, f"not ready: {waiting}"
                    time.sleep(0.2)
                yield stack
            finally:
                for name in reversed(list(stack.parts)):
                    stack.stop(name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
