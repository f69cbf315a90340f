"""A line that loses and delays packets, between this host and a network namespace of its own, for as long as a `with` block.

It does what netem does (`loss 5% delay 60ms 60ms`), on any kernel: two TUN devices, and a thread that carries packets between them.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
_MTU = 1500


@dataclass
class BadLine:
    """Addresses of its ends, and what it did."""

    namespace: str
    here: str
    there: tuple[str, ...]
    """In the namespace."""
    carried: int = 0
    lost: int = 0
    delays_s: list[float] = field(default_factory=list)

    def command(self, *command: str) -> list[str]:
        """What runs a program at the far end."""
        return ["ip", "netns", "exec", self.namespace, *command]


def unusable() -> str:
    """Why there can be no such line on this machine; empty if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    return "" if Path("/dev/net/tun").exists() else "the kernel has no TUN devices"


@contextmanager
def bad_line(*, loss: float = 0.05, delay_s: float = 0.06, jitter_s: float = 0.06, seed: int = 1) -> Iterator[BadLine]:
    """
    Args:
        loss: share of packets that are lost, each way.
        delay_s: mean delay, each way.
        jitter_s: a packet takes up to so much more or less; later ones overtake it.
        seed: of the luck of every stream of packets, which does not depend on what else is on the line.
    """
    name = f"setu-bad-{os.getpid()}"
    net = f"10.213.{os.getpid() % 250}"
    line = BadLine(name, f"{net}.1", (f"{net}.2", f"{net}.3"))
    _ip("netns", "add", name)
    try:
        here = _tun("setubad0")
        there = _in_namespace(name, lambda: _tun("setubad0"))
        try:
            _ip("addr", "add", f"{line.here}/24", "dev", "setubad0")
            _ip("link", "set", "setubad0", "up")
            for address in line.there:
                _ip("-n", name, "addr", "add", f"{address}/24", "dev", "setubad0")
            for device in ("setubad0", "lo"):
                _ip("-n", name, "link", "set", device, "up")
            stopping = threading.Event()
            carrier = threading.Thread(target=_carry, args=(line, here, there, loss, delay_s, jitter_s, seed, stopping), name="bad line")
            carrier.start()
            try:
                yield line
            finally:
                stopping.set()
                carrier.join()
        finally:
            os.close(here)
            os.close(there)
    finally:
        _ip("netns", "del", name)


class _Luck:
    """Of one stream of packets: of so many in a row one is lost, whichever; so no second is worse than another."""

    def __init__(self, seed: str, loss: float, delay_s: float, jitter_s: float) -> None:
        self._dice = random.Random(seed)
        self._row = round(1 / loss)
        self._delay_s, self._jitter_s = delay_s, jitter_s
        self._place = self._lost = 0

    def next(self) -> float | None:
        """How long the next packet takes; None: it is lost."""
        if self._place == 0:
            self._lost = self._dice.randrange(self._row)
        lost, self._place = self._place == self._lost, (self._place + 1) % self._row
        takes_s = max(0.0, self._delay_s + self._dice.uniform(-self._jitter_s, self._jitter_s))
        return None if lost else takes_s


def _stream(packet: bytes) -> bytes:
    """What the packets of one stream have in common: protocol, addresses and ports."""
    head = 4 * (packet[0] & 0x0F)
    return packet[9:10] + packet[12:20] + packet[head : head + 4]


def _carry(
    line: BadLine, here: int, there: int, loss: float, delay_s: float, jitter_s: float, seed: int, stopping: threading.Event
) -> None:
    streams: dict[bytes, _Luck] = {}
    waiting: list[tuple[float, int, int, bytes]] = []
    count = 0
    while not stopping.is_set():
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, target, packet = heapq.heappop(waiting)
            with suppress(OSError):  # the device goes down first
                os.write(target, packet)
        wait_s = min(0.1, waiting[0][0] - now) if waiting else 0.1
        for source in select.select([here, there], [], [], max(0.0, wait_s))[0]:
            packet = os.read(source, _MTU + 100)
            stream = _stream(packet)
            if stream not in streams:
                streams[stream] = _Luck(f"{seed} {len(streams)}", loss, delay_s, jitter_s)
            takes_s = streams[stream].next()
            if takes_s is None:
                line.lost += 1
                continue
            count += 1
            line.carried += 1
            line.delays_s.append(takes_s)
            heapq.heappush(waiting, (time.monotonic() + takes_s, count, there if source == here else here, packet))


def _tun(name: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


def _in_namespace(name: str, make: object) -> int:
    """What `make` returns, called in the namespace: by a thread that never comes back from it."""
    made: list[int] = []

    def work() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/run/netns/{name}").open() as namespace:
            if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        made.append(make())  # type: ignore[operator]

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return made[0]


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
