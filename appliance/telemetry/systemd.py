"""What a process tells systemd about itself: ready, alive, stopping, and one line of how it is.

A process that systemd did not start has nobody to tell, and nothing happens. With the library of the extra `systemd` the messages
go through it; without it they are written to the same socket, since a server that does not say that it is ready is stopped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

log = logging.getLogger(__name__)

BEATS = 3
"""In the time after which systemd takes the process for dead: one may come late."""


class Unit:
    """This process as a unit of systemd.

    Args:
        environment: where systemd says how to be told (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._socket = environment.get("NOTIFY_SOCKET", "")
        self.beat_s = _beat_s(environment) if self._socket else None
        """Seconds between two signs of life; None where nobody waits for them."""

    def ready(self, status: str) -> None:
        """Start-up is over; `status` says what the process does now."""
        self._tell(f"READY=1\nSTATUS={status}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={text}")

    def alive(self) -> None:
        self._tell("WATCHDOG=1")

    def stopping(self, status: str = "") -> None:
        self._tell(f"STOPPING=1\nSTATUS={status}")

    async def beat(self, alive: Callable[[], Awaitable[bool]]) -> None:
        """A sign of life whenever `alive` says so, for ever; returns at once where nobody waits for it."""
        if self.beat_s is None:
            return
        well = True
        while True:
            before, well = well, await alive()
            if well:
                self.alive()
            elif before:
                log.error("no sign of life is given any more")
            await asyncio.sleep(self.beat_s)

    def _tell(self, message: str) -> None:
        if not self._socket:
            return
        try:
            from systemd import daemon
        except ImportError:
            _write(self._socket, message)
        else:
            daemon.notify(message)


NOBODY = Unit({})
"""For a process, or a test, that systemd has nothing to do with."""


def _beat_s(environment: Mapping[str, str]) -> float | None:
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # another process of the unit is meant
    try:
        return int(environment["WATCHDOG_USEC"]) / 1e6 / BEATS
    except (KeyError, ValueError):
        return None


def _write(address: str, message: str) -> None:
    """One datagram, as sd_notify(3) describes it; a name that begins with @ is in the abstract namespace."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as teller:
            teller.connect("\0" + address[1:] if address.startswith("@") else address)
            teller.send(message.encode())
    except OSError as error:
        log.warning("systemd cannot be told", extra={"reason": error.strerror or str(error)})
