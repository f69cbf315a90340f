"""How the model servers are, told to every call of a worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

log = logging.getLogger(__name__)

STEP_S = 0.1


class Servers(Protocol):
    """What `appliance.modelserver.client.ModelClient` knows of them."""

    def out(self) -> Sequence[str]:
        """Kinds of which no server may be asked."""
        ...

    @property
    def in_trouble(self) -> bool:
        """Whether answers may be late just now."""
        ...


class Follower(Protocol):
    def on_servers(self, out: str, late: bool) -> None:
        """Told again and again.

        Args:
            out: kinds of which no server may be asked, empty when there is none.
            late: whether answers may be late.
        """
        ...


class Availability:
    """One for a worker, which runs it."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._followers: set[Follower] = set()

    def follow(self, call: Follower) -> None:
        self._followers.add(call)

    def forget(self, call: Follower) -> None:
        self._followers.discard(call)

    @property
    def out(self) -> str:
        """Kinds of which no server may be asked, empty when there is none."""
        return " ".join(self._servers.out())

    async def run(self) -> None:
        """Tell for ever."""
        while True:
            self.tell()
            await asyncio.sleep(STEP_S)

    def tell(self) -> None:
        """Tell everybody once."""
        if not self._followers:
            return
        out, late = self.out, self._servers.in_trouble
        for call in list(self._followers):
            try:
                call.on_servers(out, late)
            except Exception:
                log.exception("a call could not be told of its model servers")
