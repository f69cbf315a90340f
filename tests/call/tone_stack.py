"""Real Asterisk, real Redis and gateway workers as processes that can be killed one by one; only the interpreter is made of tones."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from asterisk_console import active_channels, bridge_ids

from appliance.config.load import LoadedConfig, load
from appliance.phone.baresip import Phone
from appliance.phone.station import Station, station, unused_number
from appliance.stack.defaults import free_offset, write_config
from appliance.stack.layout import Layout, layout_of
from appliance.stack.procfile import asterisk_cli, processes
from appliance.stack.programs import Programs
from appliance.stack.readiness import connected_workers
from appliance.stack.render import render
from appliance.stack.up import environment

START_S = 30.0
TONE_GATEWAY = Path(__file__).with_name("tone_gateway.py")


@dataclass
class ToneStack:
    loaded: LoadedConfig
    layout: Layout
    programs: Programs
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    """By name: `asterisk`, `redis`, `gateway-1`, ..."""

    @property
    def station(self) -> Station:
        return station(self.loaded, self.programs)

    @property
    def number(self) -> str:
        return self.loaded.config.telephony.company_number

    def start(self, name: str, *options: str) -> None:
        """Start a process of the stack, in its place in the configuration; with options of `tone_gateway` when it is a worker."""
        if name.startswith("gateway-"):
            number = name.removeprefix("gateway-")
            command = [sys.executable, str(TONE_GATEWAY), "--worker", number, "--config", str(self.loaded.file), *options]
            command = ["setpriv", "--pdeathsig", "TERM", "--", *command]
        else:
            command = ["sh", "-c", processes(self.loaded, self.layout, self.programs)[name]]
        with (self.layout.log / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())

    def kill(self, name: str) -> float:
        """Kill a process without warning; returns when (`time.monotonic()`)."""
        process = self.running.pop(name)
        at = time.monotonic()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        return at

    def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def console(self, command: str) -> str:
        """What Asterisk's console prints for a command."""
        shown = subprocess.run(asterisk_cli(self.layout, self.programs, command), capture_output=True, text=True, timeout=10, check=False)
        return shown.stdout

    def url(self, worker: int) -> str:
        gateway = self.loaded.config.gateway
        return f"http://{gateway.host}:{gateway.port + worker - 1}"

    def get(self, worker: int, path: str) -> Any:
        """A worker's answer as JSON; whatever its status."""
        return httpx.get(f"{self.url(worker)}{path}", timeout=5, trust_env=False).json()

    def status(self, worker: int) -> dict[str, Any]:
        return dict(self.get(worker, "/api/status"))

    def metric(self, worker: int, name: str) -> float:
        """The value of a metric as it is written, labels included; 0 when it is not there."""
        text = httpx.get(f"{self.url(worker)}/metrics", timeout=5, trust_env=False).text
        match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(match.group(1)) if match else 0.0

    def log(self, name: str) -> str:
        return (self.layout.log / f"{name}.log").read_text(errors="replace")

    def connected(self) -> set[int]:
        """Numbers of the workers Asterisk is connected to."""
        return connected_workers(self.console("ari show websocket sessions"))

    def channels(self) -> int:
        """-1 while the console does not answer."""
        return active_channels(self.console("core show channels count"))

    def bridges(self) -> list[str]:
        return bridge_ids(self.console("bridge show all"))

    def until(self, true: Callable[[], object], what: str, timeout_s: float = 10.0, every_s: float = 0.1) -> float:
        """Waits until something holds; returns how long that took."""
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < timeout_s, f"{what} did not happen in {timeout_s:g} s\n{self.evidence()}"
            time.sleep(every_s)
        return time.monotonic() - began

    def evidence(self) -> str:
        shown = [self.console("core show channels concise"), self.console("bridge show all")]
        logs = [f"{name}: {self.log(name)[-2500:]}" for name in ("gateway-1", "gateway-2") if (self.layout.log / f"{name}.log").exists()]
        return "\n".join([*shown, *logs])

    async def reached(self, worker: int, state: str, timeout_s: float = 15.0) -> float:
        """Waits until the worker's only call is in the state; returns how long that took."""
        began = time.monotonic()
        while [call["state"] for call in self.get(worker, "/api/calls")] != [state]:
            assert time.monotonic() - began < timeout_s, f"the call never was {state}\n{self.evidence()}"
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def first_call(self, state: str = "interpreting") -> int:
        """The worker that has taken the call, once it is in this state."""
        for _ in range(100):
            for name in self.running:
                number = int(name.removeprefix("gateway-")) if name.startswith("gateway-") else 0
                if number and self.status(number)["calls"]:
                    await self.reached(number, state)
                    return number
            await asyncio.sleep(0.1)
        raise AssertionError(f"no call\n{self.evidence()}")

    def settled(self, timeout_s: float = 15.0) -> None:
        """Waits until Asterisk and all workers that run have nothing left of any call."""
        self.until(lambda: not self.left(), "the end of everything", timeout_s)

    def left(self) -> dict[str, int]:
        counts = {"asterisk channels": self.channels(), "asterisk bridges": len(self.bridges())}
        for name in self.running:
            if name.startswith("gateway-"):
                try:
                    status = self.status(int(name.removeprefix("gateway-")))
                except httpx.TransportError:
                    counts[f"{name} does not answer yet"] = 1
                    continue
                for key in ("calls", "channels", "bridges", "media_sockets", "media_expected", "call_tasks"):
                    counts[f"{name} {key}"] = int(status[key])
        return {name: count for name, count in counts.items() if count}


@contextmanager
def tone_stack(
    programs: Programs,
    *,
    workers: int = 2,
    edit: Mapping[str, str] | None = None,
    prepare: Callable[[Path], AbstractContextManager[object]] = lambda folder: nullcontext(),
) -> Iterator[ToneStack]:
    """A stack of these parts, ready for calls; everything ends with the block.

    Args:
        edit: texts of the default `appliance.toml` and what to put in their place.
        prepare: called with the stack's folder before anything runs in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="setu-tone-"))
    file = write_config(folder, free_offset())
    text = file.read_text().replace("[gateway]\n", f"[gateway]\nworkers = {workers}\n")
    for old, new in (edit or {}).items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    loaded = load(file)
    stack = ToneStack(loaded, layout_of(loaded), programs)
    render(loaded, stack.layout, programs)
    try:
        with prepare(folder):
            try:
                for name in ("redis", "asterisk", *(f"gateway-{number}" for number in range(1, workers + 1))):
                    stack.start(name)
                stack.until(lambda: "fully booted" in stack.console("core waitfullybooted").lower(), "Asterisk's start", START_S)
                stack.until(lambda: len(stack.connected()) == workers, "the workers' connections", START_S)
                yield stack
            finally:
                for name in list(stack.running):
                    stack.stop(name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def two_phones(
    stack: ToneStack, folder: Path, *, answer_after_s: float | None = 0.3, agent: str = ""
) -> AsyncIterator[tuple[Phone, Phone]]:
    """The caller, who has dialled, and the agent: the one of this name, else the first one there is."""
    telephones = replace(stack.station, agent=agent)
    agent_account = replace(telephones.account_of_agent(), answer_after_s=answer_after_s)
    async with (
        Phone.start(folder / "agent", telephones.program, agent_account) as agents,
        Phone.start(folder / "caller", telephones.program, telephones.account_of_caller(unused_number())) as caller,
    ):
        await caller.dial(stack.number)
        yield caller, agents
