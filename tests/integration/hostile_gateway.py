"""A gateway worker as a process with a call that runs, for tests of what strangers may do to it.

Asterisk is the load generator of the benchmarks, in a thread of its own; the model servers answer after fixed times.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from appliance.bench import fixed_engines, wire
from appliance.bench.gateway import clip, redis_command
from appliance.bench.load import Load
from appliance.bench.processes import Measured, answers, python, running
from appliance.config.load import LoadedConfig, load
from appliance.events import Party
from appliance.stack.defaults import free_offset, write_config

LOST_SHARE = 0.05
"""Of the frames of the running call that may be missing or late while others hold the processor."""
LATE = "setu_late_ticks_total"
BEGIN_S = 30.0


class RunningCall:
    """One interpreted call that both parties talk in, held by a thread."""

    def __init__(self, loaded: LoadedConfig) -> None:
        gateway = loaded.config.gateway
        clips = {"caller": clip(fixed_engines.CALLER.code), "agent": clip("hinglish")}
        self._make = lambda: Load(gateway.host, gateway.port, gateway.ari_user, loaded.secret(gateway.ari_password), clips)  # type: ignore[arg-type]
        self.load: Load | None = None
        self.given_up: set[str] = set()
        """Calls that were robbed of a leg: not everything said in them was heard."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> RunningCall:
        self._thread.start()
        assert self._ready.wait(BEGIN_S), "the call did not come about"
        if self._failed:
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        try:
            uvloop.run(self._hold())
        except Exception as error:  # noqa: BLE001 - told to the test by whoever waits
            self._failed = error
            self._ready.set()

    async def _hold(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with self._make() as self.load:
            await self.load.add_calls(1)
            while len(self.load.legs) < 2:
                await asyncio.sleep(0.05)
            await asyncio.sleep(1.0)
            self._ready.set()
            while not self._stop.is_set():
                self.load.check()
                await asyncio.sleep(0.05)
            self.load.hang_up_all()
            await asyncio.sleep(1.0)

    def tell(self, text: str) -> None:
        """A message of this Asterisk on the control connection."""
        assert self.load is not None
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self.load.tell, text)

    def press(self, digits: str) -> None:
        """The callers press keys, as fast as they can be told."""
        assert self.load is not None
        assert self._loop is not None
        for digit in digits:
            self._loop.call_soon_threadsafe(self.load.press, digit)

    def another(self) -> str:
        """One more call, which must reach an agent; its id."""
        assert self.load is not None
        before = set(self.load.legs)
        self.dial()
        end = time.monotonic() + 10
        while len(new := [leg.call_id for channel, leg in list(self.load.legs.items()) if channel not in before]) < 2:
            assert time.monotonic() < end, "a further call does not come about"
            time.sleep(0.05)
        return new[0]

    def dial(self) -> None:
        """One more caller, whatever becomes of him."""
        assert self.load is not None
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self.load.add_calls(1), self._loop).result(10)

    @contextmanager
    def unread_leg(self, call_id: str, party: Party) -> Iterator[None]:
        """Asterisk goes on to send on this media socket, but reads nothing there, and does not close it when it is told to."""
        assert self.load is not None
        assert self._loop is not None
        channel = next(name for name, leg in self.load.legs.items() if (leg.call_id, leg.party) == (call_id, party))
        leg = self.load.legs.pop(channel)
        self.given_up.add(call_id)
        assert leg.wire is not None
        transport = leg.wire._transport
        assert transport is not None
        self._loop.call_soon_threadsafe(transport.pause_reading)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(transport.abort)

    @contextmanager
    def unread_control(self) -> Iterator[None]:
        """Asterisk tells what happens, but reads no request."""
        assert self.load is not None
        assert self._loop is not None
        assert self.load._control is not None
        transport = self.load._control._transport
        assert transport is not None
        self._loop.call_soon_threadsafe(transport.pause_reading)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(transport.resume_reading)

    @property
    def frames(self) -> int:
        """Heard by both parties so far."""
        assert self.load is not None
        lines = [leg.line for leg in list(self.load.legs.values())[:2]]
        return sum(line.received for line in lines)


@dataclass
class Target:
    loaded: LoadedConfig
    process: Measured
    call: RunningCall

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

        Whether in time is the worker's own count: the telephones of this call share a process with whoever attacks.
        """
        memory, received, late, began = self.process.memory_mb, self.call.frames, self.counted(LATE), time.monotonic()
        yield
        if (left := began + 2.0 - time.monotonic()) > 0:
            time.sleep(left)
        span = time.monotonic() - began
        heard = self.call.frames
        due = 2 * span / 0.020
        assert heard - received >= (1 - LOST_SHARE) * due, f"{heard - received} of {due:.0f} frames came in {span:.1f} s"
        assert self.counted(LATE) - late <= LOST_SHARE * span / 0.020
        assert self.process.memory_mb - memory < grows_mb
        status = self.get("/api/status")
        assert status["asterisk"]
        assert status["calls"] >= 1

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
        engines.wait_until(lambda: (loaded.run_dir / "tts.sock").exists())
        process = started.enter_context(running("gateway-1", python("appliance.gateway", "--worker", 1, "--config", config), folder))
        url = f"http://{loaded.config.gateway.host}:{loaded.config.gateway.port}/api/status"
        process.wait_until(lambda: answers(url) and httpx.get(url).json()["accepting"])
        call = started.enter_context(RunningCall(loaded))
        yield Target(loaded, process, call)
        call._stop.set()


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
