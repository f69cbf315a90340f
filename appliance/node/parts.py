"""The processes of a node by what they answer: workers over HTTP on loopback, model servers over their sockets."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec

from appliance.config.instances import ServerKind, kind_of
from appliance.config.load import LoadedConfig
from appliance.modelserver.messages import Health
from appliance.node.ask import Answer, ask
from appliance.node.errors import NodeError


class WorkerStatus(msgspec.Struct, frozen=True):
    """What matters of a worker's `/api/status`."""

    worker: str
    asterisk: bool
    """Whether Asterisk's control connection is up."""
    accepting: bool
    calls: int
    max_calls: int
    drained: bool = False
    direct: int = 0
    """Of the calls, those whose parties are joined for good, without interpreter: they need no worker."""

    @property
    def ready(self) -> bool:
        """Whether it takes calls, but for being full."""
        return self.asterisk and self.accepting and not self.drained


class NoAnswer(NodeError):
    """A process does not answer, or not as it should."""


def worker_place(loaded: LoadedConfig, number: int) -> tuple[str, int]:
    """Host and port of a worker, from 1, as it is reached on its own machine."""
    gateway = loaded.config.gateway
    host = "127.0.0.1" if gateway.host in ("0.0.0.0", "::") else gateway.host  # noqa: S104 - how to reach it, not where to bind
    return host, gateway.port + number - 1


def worker_status(loaded: LoadedConfig, number: int) -> WorkerStatus:
    """Raises: NoAnswer."""
    place = worker_place(loaded, number)
    address = f"http://{place[0]}:{place[1]}"
    answer = _asked(place, "/api/status")
    try:
        return msgspec.json.decode(answer.body, type=WorkerStatus)
    except msgspec.DecodeError as error:
        raise NoAnswer(f"{address} answered {answer.status} and something that is no status: {error}") from error


def model_health(loaded: LoadedConfig, instance: str) -> Health:
    """Raises: NoAnswer."""
    socket, kind = loaded.socket(instance), kind_of(instance)
    if not socket.exists():
        raise NoAnswer(f"not running: there is no {socket}")
    answer = _asked(socket, "/health")
    try:
        health = msgspec.json.decode(answer.body, type=Health)
    except msgspec.DecodeError as error:
        raise NoAnswer(f"{socket}: answered {answer.status} and something that is no health: {error}") from error
    if health.kind != kind:
        raise NoAnswer(f"{socket} belongs to a server of kind {health.kind}")
    return health


def model_instances(loaded: LoadedConfig) -> list[str]:
    """Names of all model servers of this configuration."""
    return [name for kind in get_args(ServerKind) for name in loaded.instances(kind)]


def workers(loaded: LoadedConfig) -> range:
    """Numbers of all workers of this configuration."""
    return range(1, loaded.config.gateway.workers + 1)


def _asked(place: Path | tuple[str, int], path: str) -> Answer:
    try:
        return ask(place, path)
    except OSError as error:
        name = place if isinstance(place, Path) else f"http://{place[0]}:{place[1]}"
        raise NoAnswer(f"{name} does not answer: {error}") from error
