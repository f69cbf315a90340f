"""A gateway worker as a process with a call that runs, for tests of what strangers may do to it.

Asterisk is the load generator of the benchmarks, in a process of its own; the model servers answer after fixed times.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from running_call import RunningCall
from stalls import Stalls

from appliance.bench import wire
from appliance.bench.line import FRAME_S
from appliance.bench.processes import Measured, answers, python, running
from appliance.bench.stand import redis_command
from appliance.config.load import LoadedConfig, load
from appliance.stack.defaults import free_offset, write_config

LATE_SHARE = 0.05
"""Of the frames of the running call that may be late while others hold the processor; not one may be lost."""
LEAST_S = 2.0
"""Frames are counted for so long."""
TICKS, LATE = "setu_tick_seconds_count", "setu_late_ticks_total"
LOOKS = 20
"""How often frames are counted before one that was sent and has not come is lost: it may be on its way."""


@dataclass(frozen=True)
class Clock:
    """What the worker has counted of its media clock, which sends either party a frame in each tick, when it was asked."""

    asked_s: float
    told_s: float
    ticks: int
    late: int


@dataclass
class Target:
    loaded: LoadedConfig
    process: Measured
    call: RunningCall
    stalls: Stalls

    @property
    def place(self) -> tuple[str, int]:
        return self.loaded.config.gateway.host, self.loaded.config.gateway.port

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.place)

    def get(self, path: str) -> Any:
        """The worker's answer as JSON."""
        return httpx.get(f"{self.url}{path}", timeout=5).json()

    @property
    def authorization(self) -> str:
        gateway = self.loaded.config.gateway
        return "Basic " + base64.b64encode(f"{gateway.ari_user}:{self.loaded.secret(gateway.ari_password)}".encode()).decode()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.place, timeout=10)

    def rejected(self, where: str, what: str) -> int:
        """How often the gateway has counted it."""
        return self.counted(f'setu_rejected_total{{what="{what}",where="{where}"}} ')

    def counted(self, series: str) -> int:
        """Sum of all series that begin so."""
        text = httpx.get(f"{self.url}/metrics", timeout=5).text
        return sum(round(float(line.rpartition(" ")[2])) for line in text.splitlines() if line.startswith(series))

    def rejects(self, count: int, where: str, what: str) -> None:
        """It counts so many, and no more: what was sent may still be on its way."""
        until(lambda: self.rejected(where, what) >= count, f"{count} of {where} {what}")
        assert self.rejected(where, what) == count

    @contextmanager
    def undisturbed(self, grows_mb: float = 20.0) -> Iterator[None]:
        """The running call hears every frame meanwhile, in time, and the worker's memory does not grow by more.

        In time but for the stalls of the machine: of those each makes as many frames late as it is long.
        """
        memory, heard, before = self.process.memory_mb, self.call.frames(), self._clock()
        yield
        if (left := before.told_s + LEAST_S - time.monotonic()) > 0:
            time.sleep(left)
        after = self._clock()
        stalled = sum(1 + (end - begin) / FRAME_S for begin, end in self.stalls.between(before.asked_s, after.told_s))
        done, late = after.ticks - before.ticks, after.late - before.late
        longest, shortest = ((end - begin) / FRAME_S for begin, end in ((before.asked_s, after.told_s), (before.told_s, after.asked_s)))
        told = f"of {shortest:.0f} ticks {done} were done, {late} late; for {stalled:.0f} the machine stood still"
        assert late <= LATE_SHARE * longest + stalled, told
        assert done >= (1 - LATE_SHARE) * shortest - 1 - stalled, told
        lost = self._lost(before.ticks, heard)
        assert lost <= 0, f"{lost} frames of {2 * done} did not come"
        assert self.process.memory_mb - memory < grows_mb
        status = self.get("/api/status")
        assert status["asterisk"]
        assert status["calls"] >= 1

    def _clock(self) -> Clock:
        asked_s = time.monotonic()
        lines = httpx.get(f"{self.url}/metrics", timeout=5).text.splitlines()
        ticks, late = (round(float(line.rpartition(" ")[2])) for name in (TICKS, LATE) for line in lines if line.startswith(name))
        return Clock(asked_s, time.monotonic(), ticks, late)

    def _lost(self, ticks: int, heard: int) -> int:
        """Frames sent since the clock had ticked so often that have not come to the parties, who had heard so many before."""
        for _ in range(LOOKS):
            sent = 2 * (self.counted(TICKS) - ticks)
            lost = sent - (self.call.frames() - heard)
            if lost <= 0:
                break
            time.sleep(0.05)
        return lost

    def upgrade(self, path: str, protocol: str, authorization: str | None, extra: str = "") -> tuple[socket.socket, int]:
        """A WebSocket handshake as anybody could send it: the connection and the status of the answer."""
        connection = self.connect()
        lines = [f"GET {path} HTTP/1.1", "Host: gateway", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: " + base64.b64encode(b"0123456789abcdef").decode()]
        if protocol:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        if authorization is not None:
            lines.append(f"Authorization: {authorization}")
        connection.sendall(("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode("latin-1"))
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(1)  # byte by byte: frames after the head stay in the socket
            if not piece:
                break
            head += piece
        return connection, int(head.split(b" ", 2)[1]) if head else 0


def until(true: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, f"{what} did not happen in {timeout_s:g} s"
        time.sleep(0.1)


@contextmanager
def attacked_gateway(folder: Path) -> Iterator[Target]:
    config = write_config(folder, free_offset(), control="asterisk-dials")
    loaded = load(config)
    with ExitStack() as started:
        started.enter_context(running("redis", redis_command(loaded, folder, lambda line: None), folder))
        engines = started.enter_context(running("engines", python("appliance.bench.fixed_engines", "--run-dir", loaded.run_dir), folder))
        engines.wait_until(lambda: (loaded.run_dir / "tts.sock").exists())  # the last of them
        process = started.enter_context(running("gateway-1", python("appliance.gateway", "--worker", 1, "--config", config), folder))
        url = f"http://{loaded.config.gateway.host}:{loaded.config.gateway.port}/api/status"
        process.wait_until(lambda: answers(url) and httpx.get(url).json()["accepting"])
        call = started.enter_context(RunningCall(loaded))
        yield Target(loaded, process, call, started.enter_context(Stalls()))


def closing_code(connection: socket.socket, timeout_s: float = 10.0) -> int:
    """The code in the Close frame that the gateway sends; 0: it ended without one.

    The end of the connection is not waited for: the gateway gives a peer ten seconds to answer the frame, and this one never does.
    """
    connection.settimeout(timeout_s)
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65_536):
            data += piece
            frames, _ = wire.split_frames(data)
            for kind, payload in frames:
                if kind == wire.CLOSE:
                    return int.from_bytes(payload[:2], "big")
    return 0


def gone(connection: socket.socket, timeout_s: float) -> bytes:
    """Everything that came until the other side closed; fails when it does not."""
    connection.settimeout(timeout_s)
    data = b""
    try:
        while piece := connection.recv(65_536):
            data += piece
    except ConnectionError:
        pass
    except TimeoutError:
        pytest.fail(f"still open after {timeout_s:g} s")
    return data
