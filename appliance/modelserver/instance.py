"""One model server as its clients see it: its socket, what is under way there, and whether it may be asked.

A request may rightly take long; a server that does not even say how it is has hung. So nobody waits for the end of his own time
to find that out: once a request has waited for `SUSPECT_S` the server is asked for its health beside it, and if that is not
answered either, everything under way there is given up at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp
import msgspec

from appliance.config.instances import ServerKind, is_fallback
from appliance.modelserver.breaker import Breaker
from appliance.modelserver.errors import Hung, ModelServerError, TimedOut, Unavailable, Unreachable
from appliance.modelserver.messages import Health
from appliance.telemetry import metrics

log = logging.getLogger(__name__)

HEALTH_TIMEOUT_S = 0.5
"""A server whose engine computes still answers within milliseconds, within a tenth of a second on cores that all want."""
SUSPECT_S = 0.25
"""Wait of a request after which the server is asked how it is."""
LATE_S = 1.7
"""Wait of a request after which those who want its answer should be told that it takes longer."""
QUIET_S = 1.0
"""A server that has answered anything so recently lives."""
MAX_CONNECTIONS = 256
IDLE_S = 60.0

Reply = tuple[int, bytes, Mapping[str, str]]
"""Status, body, headers."""


class Instance:
    """Belongs to a client, in one event loop."""

    def __init__(self, kind: ServerKind, path: Path) -> None:
        self.kind = kind
        self.name = path.stem
        self.path = path
        self.rank = int(is_fallback(self.name))
        self.turn = 0
        self.breaker = Breaker()
        self._session: aiohttp.ClientSession | None = None
        self._waiting: dict[asyncio.Timeout, float] = {}
        self._hangs = 0
        self._answered_s = -math.inf
        self._alone = False  # as was told last
        self._probing: asyncio.Task[None] | None = None
        self._suspected_s = math.inf

    @property
    def under_way(self) -> int:
        """Requests that wait for an answer."""
        return len(self._waiting)

    @property
    def late(self) -> bool:
        """Whether a request waits here while the server owes an answer about its health, or for longer than is usual for any."""
        now = time.monotonic()
        return now > self._suspected_s or any(now - since > LATE_S for since in self._waiting.values())

    async def ask(self, path: str, body: bytes, timeout_s: float, query: Mapping[str, str]) -> Reply:
        """Send a request.

        Raises:
            Unreachable: nobody listens there, or the connection broke.
            Hung: the server was found to be hung meanwhile.
            TimedOut: no answer within `timeout_s`.
        """
        hangs = self._hangs
        suspicion = asyncio.get_running_loop().call_later(SUSPECT_S, self._suspect)
        try:
            return await self._send("POST", path, body, timeout_s, query, self._waiting)
        except TimedOut:
            if self._hangs != hangs:
                raise Hung(self.kind, f"{self.name} hangs", retry=True) from None
            raise
        finally:
            suspicion.cancel()
            if not self._waiting:
                self._suspected_s = math.inf

    async def health(self, timeout_s: float = HEALTH_TIMEOUT_S) -> Health:
        """What the server says of itself, ready or not. Raises: ModelServerError."""
        _, body, _ = await self._send("GET", "/health", b"", timeout_s, {}, {})
        try:
            return msgspec.json.decode(body, type=Health)
        except msgspec.MsgspecError as error:
            raise Unavailable(self.kind, f"answered something else: {error}", retry=False) from error

    def look(self, now: float) -> None:
        """Find out in the background how the server is, if that is not known and not being done."""
        if self.breaker.state == "closed":
            if now - self._answered_s >= QUIET_S:
                self.probe()
        elif self.breaker.ask(now) == "probe":
            self.probe()

    def probe(self) -> asyncio.Task[None]:
        """Ask the server how it is. The task raises a `ModelServerError` when it is not well; the breaker knows then."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._examine(), name=f"health of {self.name}")
            self._probing.add_done_callback(_retrieve)
        return self._probing

    async def aclose(self) -> None:
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def failed(self, reason: str, *, at_once: bool = False) -> None:
        """Note a failure of a request or of a probe."""
        self.breaker.failed(time.monotonic(), reason, at_once=at_once)
        self._tell()

    def succeeded(self) -> None:
        self.breaker.succeeded()
        self._tell()

    def _tell(self) -> None:
        alone = self.breaker.state != "closed"
        if alone != self._alone:
            self._alone = alone
            what = "left alone" if alone else "asked again"
            log.warning("a model server is %s", what, extra={"server": self.name, "reason": self.breaker.reason})
        metrics.MODEL_CIRCUIT_OPEN.labels(self.name).set(alone)

    def forget(self) -> None:
        """Nobody will ask here any more."""
        with suppress(KeyError):
            metrics.MODEL_CIRCUIT_OPEN.remove(self.name)

    def _suspect(self) -> None:
        self._suspected_s = min(self._suspected_s, time.monotonic())
        self.probe()

    async def _examine(self) -> None:
        try:
            state = await self.health()
        except TimedOut as error:
            self._give_up()
            self.failed(f"{self.name} hangs", at_once=True)
            raise Hung(self.kind, f"{self.name} hangs", retry=True) from error
        except Unreachable as error:
            self.failed(error.reason, at_once=True)
            raise
        except ModelServerError as error:
            self.failed(error.reason)
            raise
        except asyncio.CancelledError:
            self.breaker.abandoned()
            raise
        self._suspected_s = math.inf
        if state.status != "ready":
            reason = f"{state.status} {state.detail}".strip()
            self.failed(reason, at_once=True)
            raise Unavailable(self.kind, reason, retry=True)
        if self.breaker.state != "closed":
            self.succeeded()
        if self._waiting:
            asyncio.get_running_loop().call_later(QUIET_S, self._suspect_if_waiting)

    def _suspect_if_waiting(self) -> None:
        if self._waiting and self._session is not None:
            self._suspect()

    def _give_up(self) -> None:
        self._hangs += 1
        self._suspected_s = math.inf
        for limit in self._waiting:
            if not limit.expired():
                limit.reschedule(0)

    async def _send(
        self, method: str, path: str, body: bytes, timeout_s: float, query: Mapping[str, str], waiting: dict[asyncio.Timeout, float]
    ) -> Reply:
        if timeout_s <= 0:
            raise TimedOut(self.kind, "no time left", retry=True)
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                waiting[limit] = time.monotonic()
                async with self._connected().request(
                    method, f"http://{self.kind}{path}", data=body or None, params=query, headers={"X-Timeout-S": f"{timeout_s:.3f}"}
                ) as response:
                    reply = (response.status, await response.read(), response.headers)
        except TimeoutError as error:
            raise TimedOut(self.kind, f"no answer within {timeout_s:.2f} s", retry=True) from error
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                self.failed(str(error), at_once=True)  # nobody is there, and nobody will be for the next
            raise Unreachable(self.kind, f"{self.path}: {error}", retry=True) from error
        finally:
            waiting.pop(limit, None)
        self._answered_s = time.monotonic()
        return reply

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:  # made here, not in the constructor: it belongs to the running loop
            connector = aiohttp.UnixConnector(str(self.path), limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_S)
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        return self._session


def _retrieve(probe: asyncio.Task[None]) -> None:
    """What a probe found is in the breaker; who waits for it is told besides."""
    if not probe.cancelled():
        probe.exception()
