"""Checks before anything starts: nobody else in the stack's folder, nobody else on its ports."""

from __future__ import annotations

import fcntl
import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psutil

from appliance.config.load import LoadedConfig
from appliance.stack.errors import PortTaken, StackError
from appliance.stack.layout import Layout
from appliance.stack.render import redis_port


@dataclass(frozen=True, slots=True)
class Listener:
    """A port the stack wants, and the configuration key it comes from."""

    key: str
    protocol: Literal["tcp", "udp"]
    address: str
    port: int


def listeners(loaded: LoadedConfig) -> list[Listener]:
    """Every port the stack listens on; those for audio are left out, Asterisk takes free ones of its range."""
    telephony, gateway = loaded.config.telephony, loaded.config.gateway
    wanted = [
        Listener("telephony.sip_port", "udp", telephony.bind, telephony.sip_port),
        Listener("telephony.sip_port", "tcp", telephony.bind, telephony.sip_port),
        Listener("telephony.http_port", "tcp", "127.0.0.1", telephony.http_port),
    ]
    if telephony.tls_port:
        wanted.append(Listener("telephony.tls_port", "tcp", telephony.bind, telephony.tls_port))
    wanted += [Listener("gateway.port", "tcp", gateway.host, gateway.port + number) for number in range(gateway.workers)]
    port = redis_port(loaded)
    if port is not None:
        wanted.append(Listener("redis.url", "tcp", "127.0.0.1", port))
    return wanted


def check_ports(wanted: Sequence[Listener]) -> None:
    """Whether all of them are free.

    Raises:
        PortTaken: names every port in use, its key, and the process that has it.
    """
    found = [problem for listener in wanted for problem in _problem(listener)]
    if found:
        raise PortTaken("; ".join(dict.fromkeys(found)), hint="stop it, or take other ports: appliance up --dir DIR --port-offset 100")


@contextmanager
def only_stack_in(layout: Layout) -> Iterator[None]:
    """Keeps a second stack out of this folder for as long as the context lasts.

    Raises:
        StackError: there is one already.
    """
    layout.run.mkdir(parents=True, exist_ok=True)
    with (layout.run / "stack.pid").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            message = f"a stack is already running in {layout.top} (process {lock.read().strip() or 'unknown'})"
            raise StackError(message, hint="stop it, or use another folder: appliance up --dir DIR") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _problem(wanted: Listener) -> Iterator[str]:
    for connection in psutil.net_connections(kind=wanted.protocol):
        listening = connection.status == psutil.CONN_LISTEN or (wanted.protocol == "udp" and not connection.raddr)
        if listening and connection.laddr and connection.laddr.port == wanted.port and _overlap(connection.laddr.ip, wanted.address):
            yield f"{wanted.protocol.upper()} port {wanted.port} ({wanted.key}) is taken by {_owner(connection.pid)}"


def _overlap(one: str, other: str) -> bool:
    plain = ["127.0.0.1" if text == "localhost" else text.split("%")[0] for text in (one, other)]
    return plain[0] == plain[1] or any(ipaddress.ip_address(text).is_unspecified for text in plain)


def _owner(pid: int | None) -> str:
    if pid is None:
        return "a process of another user"
    try:
        process = psutil.Process(pid)
        return f"{process.name()} (process {pid}: {' '.join(process.cmdline())[:80]})"
    except psutil.Error:
        return f"process {pid}"
