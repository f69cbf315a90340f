"""A stack that SIPp calls: real Asterisk and gateway, models that answer after fixed times, a telephone for each agent.

Everything uses all cores of this machine, SIPp too, as on a small node that has its callers on the same machine.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from appliance.audio import g711
from appliance.bench import clips, fixed_engines, sipp
from appliance.bench.counted import counter
from appliance.bench.errors import BenchError
from appliance.bench.processes import Measured, answers, python, running
from appliance.bench.stand import redis_command
from appliance.config.load import LoadedConfig, load
from appliance.engines.base import Samples
from appliance.stack import install
from appliance.stack.defaults import free_offset, write_config
from appliance.stack.layout import Layout, layout_of
from appliance.stack.preflight import check_ports, listeners
from appliance.stack.procfile import asterisk_cli, processes
from appliance.stack.programs import Programs
from appliance.stack.render import render

MOST_CALLS = 160
READY_S = 40.0
TURN_S = 4.0
"""Each party speaks for so long at most, and then listens."""
NOISE_RMS = 12
"""Of 32768; silence on a telephone is not digital silence."""
CLI_S = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What everything costs and holds at one moment."""

    at_s: float
    """Monotonic."""
    cpu_s: Mapping[str, float]
    """Seconds of a core used so far, by process."""
    memory_mb: Mapping[str, float]
    held: Mapping[str, int]
    """`calls`, `channels`, `bridges`, `media_sockets`, `call_tasks` of the gateway, `asterisk channels` and `asterisk bridges`."""
    late_ticks: int
    frames_lost: int
    files: int
    """Open in the gateway: sockets and others."""


@dataclass
class SipStack:
    loaded: LoadedConfig
    layout: Layout
    programs: Programs
    folder: Path
    parts: Mapping[str, Measured]
    agents: sipp.Sipp

    @property
    def server(self) -> str:
        telephony = self.loaded.config.telephony
        return f"{telephony.bind}:{telephony.sip_port}"

    @property
    def url(self) -> str:
        return f"http://{self.loaded.config.gateway.host}:{self.loaded.config.gateway.port}"

    def asterisk(self, command: str) -> str:
        done = subprocess.run(asterisk_cli(self.layout, self.programs, command), capture_output=True, text=True, timeout=CLI_S, check=False)
        return done.stdout

    def sample(self) -> Sample:
        """Raises: BenchError: a part has ended."""
        with httpx.Client(base_url=self.url, timeout=CLI_S) as http:
            status = http.get("/api/status").json()
            metrics = http.get("/metrics").text
        names = ("calls", "channels", "bridges", "media_sockets", "call_tasks")
        held = {name: int(status[name]) for name in names}
        held["asterisk channels"] = int((self.asterisk("core show channels count").split() or ["0"])[0])
        bridges = self.asterisk("bridge show all").splitlines()
        held["asterisk bridges"] = sum(1 for line in bridges if line.strip() and not line.startswith("Bridge-ID"))
        return Sample(
            at_s=time.monotonic(),
            cpu_s={name: part.cpu_s for name, part in self.parts.items()},
            memory_mb={name: part.memory_mb for name, part in self.parts.items()},
            held=held,
            late_ticks=counter(metrics, "setu_late_ticks_total"),
            frames_lost=counter(metrics, "setu_media_dropped_frames_total"),
            files=round(_gauge(metrics, "process_open_fds")),
        )

    def calling(self, at_once: int, length_s: float, per_second: float) -> sipp.Calling:
        number = self.loaded.config.telephony.company_number
        speech = self.folder / "caller.ul"
        return sipp.callers(
            self.programs, self.folder, self.server, number, speech, at_once=at_once, length_s=length_s, per_second=per_second
        )

    def until_empty(self, seconds: float) -> dict[str, int]:
        """What is still held after at most so long; empty when nothing is."""
        end = time.monotonic() + seconds
        while True:
            left = {name: count for name, count in self.sample().held.items() if count}
            if not left or time.monotonic() > end:
                return left
            time.sleep(1.0)


@contextmanager
def sip_stack(folder: Path, *, agents: int = MOST_CALLS, max_calls: int = MOST_CALLS, port_offset: int | None = None) -> Iterator[SipStack]:
    """
    Args:
        folder: short enough for sockets.
        max_calls: that the gateway takes.

    Raises:
        BenchError, PortTaken, NotInstalled: what does not start.
    """
    programs = install.programs(lambda line: None)
    config = write_config(folder / "stack", free_offset() if port_offset is None else port_offset)
    _enlarge(config, agents, max_calls)
    loaded = load(config)
    check_ports(listeners(loaded))
    layout = layout_of(loaded)
    render(loaded, layout, programs)
    write_speech(folder)
    with ExitStack() as started:
        parts: dict[str, Measured] = {}

        def start(name: str, command: list[str]) -> Measured:
            parts[name] = started.enter_context(running(name, command, folder))
            return parts[name]

        start("redis", redis_command(loaded, folder, lambda line: None))
        engines = start("engines", python("appliance.bench.fixed_engines", "--run-dir", loaded.run_dir))
        engines.wait_until(lambda: (loaded.run_dir / "tts.sock").exists())
        gateway = start("gateway", python("appliance.gateway", "--worker", 1, "--config", config))
        start("asterisk", ["sh", "-c", processes(loaded, layout, programs)["asterisk"]])
        health = f"http://{loaded.config.gateway.host}:{loaded.config.gateway.port}/health"
        gateway.wait_until(lambda: answers(health))
        desks = started.enter_context(sipp.agents(programs, folder, folder / "agent.ul"))
        stack = SipStack(loaded, layout, programs, folder, parts, desks)
        time.sleep(2.0)
        if desks.ended:
            raise BenchError(f"the agents' telephones have ended{_last(folder / 'agent.errors')}")
        yield stack


def write_speech(folder: Path) -> None:
    """`caller.ul` and `agent.ul`: one turn each of a conversation, played round and round; one speaks while the other listens."""
    rng = np.random.default_rng(1)
    for name, code, first in (("caller", fixed_engines.CALLER.code, True), ("agent", "hinglish", False)):
        said = _turn(code)
        rest = np.zeros(len(said), np.int16)
        whole = np.concatenate([said, rest] if first else [rest, said])
        noisy = np.clip(whole + rng.normal(0.0, NOISE_RMS, len(whole)), -32768, 32767).astype(np.int16)
        (folder / f"{name}.ul").write_bytes(g711.encode(noisy[::2]).tobytes())


def _turn(code: str) -> Samples:
    """A sentence, and silence up to the length of a turn."""
    sentence = min((clips.spoken(text, code) for text in clips.sentences(code)), key=lambda samples: abs(len(samples) / 16_000 - 3.0))
    turn = np.zeros(round(2 * TURN_S * 16_000) // 2, np.int16)
    turn[: len(sentence)] = sentence[: len(turn)]
    return turn


def _enlarge(config: Path, agents: int, max_calls: int) -> None:
    """As many agents, ports and calls as are asked for, in a configuration of `write_config`."""
    text = config.read_text()
    lines = "".join(
        f'    {{ name = "desk{number}", password = "of-no-use", contact = "sip:desk{number}@{sipp.AGENT_ADDRESS}:{sipp.AGENT_PORT}" }},\n'
        for number in range(1, agents + 1)
    )
    text = re.sub(r"agents = \[\n.*?\n\]", lambda found: f"agents = [\n{lines}]", text, flags=re.DOTALL)
    text = re.sub(r"rtp_first_port = \d+", "rtp_first_port = 30000", text)
    text = re.sub(r"rtp_last_port = \d+", "rtp_last_port = 31999", text)
    text = text.replace("[gateway]\n", f"[gateway]\nmax_calls = {max_calls}\n", 1)
    config.write_text(text)


def _gauge(exposition: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", exposition, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def _last(file: Path) -> str:
    lines = file.read_text(errors="replace").splitlines() if file.exists() else []
    return f": {lines[-1][:200]}" if lines else ""


def keep(folder: Path, out: Path) -> None:
    """Logs of a measurement that went wrong, for whoever looks into it."""
    for file in [*folder.glob("*.log"), *folder.glob("*.errors")]:
        out.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, out / file.name)
