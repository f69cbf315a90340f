"""Whether a started stack takes calls: each part is asked in the way its users will ask it."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable
from functools import partial

import httpx

from appliance.config.load import LoadedConfig
from appliance.stack.layout import Layout
from appliance.stack.procfile import asterisk_cli, model_names
from appliance.stack.programs import Programs
from appliance.stack.render import redis_port

ASK_S = 2.0
"""Longest wait for one answer."""


class Readiness:
    """Asks the parts that have not answered yet; one that has answered is not asked again."""

    def __init__(self, loaded: LoadedConfig, layout: Layout, programs: Programs) -> None:
        self._loaded = loaded
        self._layout = layout
        self._programs = programs
        self._ready: set[str] = set()

    def waiting_for(self) -> list[str]:
        """Names of the parts that are not ready; empty when calls are taken. Blocks for at most a few seconds."""
        workers = range(1, self._loaded.config.gateway.workers + 1)
        checks: dict[str, Callable[[], bool]] = {
            "redis": self._redis,
            **{f"model-{name}": partial(self._model, name) for name in model_names(self._loaded)},
            **{f"gateway-{worker}": partial(self._gateway, worker) for worker in workers},
        }
        waiting = [name for name, check in checks.items() if name not in self._ready and not self._passes(name, check)]
        if not waiting and not self._connected(len(workers)):
            waiting = ["the connection between asterisk and the gateway"]
        return waiting

    def _passes(self, name: str, check: Callable[[], bool]) -> bool:
        passed = check()
        if passed:
            self._ready.add(name)
        return passed

    def _redis(self) -> bool:
        port = redis_port(self._loaded)
        if port is None:
            return True
        try:
            with socket.create_connection(("127.0.0.1", port), ASK_S) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _model(self, name: str) -> bool:
        path = self._layout.run / f"{name}.sock"
        return path.exists() and _healthy("http://model/health", httpx.HTTPTransport(uds=str(path)))

    def _gateway(self, worker: int) -> bool:
        gateway = self._loaded.config.gateway
        host = "127.0.0.1" if gateway.host == "0.0.0.0" else gateway.host  # noqa: S104
        return _healthy(f"http://{host}:{gateway.port + worker - 1}/health", httpx.HTTPTransport())

    def _connected(self, workers: int) -> bool:
        command = asterisk_cli(self._layout, self._programs, "ari show websocket sessions")
        try:
            shown = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
        except subprocess.TimeoutExpired:
            return False
        return len(connected_workers(shown.stdout)) == workers


def connected_workers(sessions: str) -> set[int]:
    """Numbers of the workers whose connection is up, from what `ari show websocket sessions` prints."""
    return {int(number) for number in re.findall(r"^\S+\s+\S+\s+\S+\s+Up\s+setu-(\d+)\s*$", sessions, re.MULTILINE)}


def _healthy(url: str, transport: httpx.HTTPTransport) -> bool:
    with httpx.Client(transport=transport, timeout=ASK_S) as client:
        try:
            return client.get(url).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False
