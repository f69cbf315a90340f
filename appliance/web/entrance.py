"""The HTTP connections of a server: whoever is slow, too long or too many is sent away before it costs anything.

uvicorn waits for a request's head as long as the peer likes and takes one of any size, so a thousand connections that say nothing
hold a thousand file descriptors, and one that never ends its first header holds all memory. Here a head has a time and a size, a
request and its answer have a time, and connections that are no WebSockets have a number.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

if TYPE_CHECKING:
    from asyncio import TimerHandle

log = logging.getLogger(__name__)

HEAD_S = 5.0
"""From the connection, or from the first byte of a further request, to the end of the request's head."""
HEAD_BYTES = 32_768
"""Of request line and headers together; Asterisk's and the gateway's own have less than 1,000."""
REQUEST_S = 60.0
"""From the end of the head to the end of the body and of the answer: longer than any engine may take."""
MOST = 512
"""Connections at the same time that are no WebSockets."""


@dataclass(slots=True)
class Crowd:
    """The connections of one server that are no WebSockets."""

    most: int = MOST
    head_s: float = HEAD_S
    request_s: float = REQUEST_S
    inside: set[Entrance] = field(default_factory=set)
    waiting: dict[Entrance, None] = field(default_factory=dict)
    """Those whose head is not complete, longest first."""

    def enter(self, newcomer: Entrance) -> Entrance | None:
        """Who has to go for the newcomer: the one that has kept us waiting longest, else the newcomer itself."""
        self.inside.add(newcomer)
        leaves = None
        if len(self.inside) > self.most:
            leaves = next(iter(self.waiting), newcomer)
            self.leave(leaves)
        if leaves is not newcomer:
            self.waiting[newcomer] = None
        return leaves

    def leave(self, connection: Entrance) -> None:
        self.inside.discard(connection)
        self.waiting.pop(connection, None)


class Entrance(HttpToolsProtocol):
    """One connection; made by a subclass of `entrance`."""

    crowd: Crowd
    rejected: Callable[[str], None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer: TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        self._in_body = False
        self._answering = 0
        self._turned_away = False
        leaves = self.crowd.enter(self)
        if leaves is not self:
            self._give(self.crowd.head_s)
        if leaves is not None:
            leaves.turn_away(503, "crowd", "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.crowd.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._turned_away:
            return
        super().data_received(data)
        if self._in_head and not self._turned_away:  # still: what came with the head's end may be a body of any size
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.turn_away(431, "head-too-big", f"request line and headers may have {HEAD_BYTES} bytes")

    def handle_websocket_upgrade(self) -> None:
        self._stop_timer()
        self.crowd.leave(self)
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        self.turn_away(400, "malformed", msg)

    def turn_away(self, status: int, why: str, words: str) -> None:
        """Answer with a status where no answer has begun, and close."""
        if self._turned_away:
            return
        self._turned_away = True
        self._stop_timer()
        self.crowd.leave(self)
        self.rejected(why)
        log.debug("connection turned away: %s", why)
        if self.transport.is_closing():
            return
        if not self._answering:
            body = (words + "\n").encode()
            headers = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + headers + body)
            self.transport.close()
        else:
            self.transport.abort()  # what is being answered is not read: closing would wait for it

    # Parser callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_head:
            self._in_head = True
            self._head_bytes = 0
            if not self._answering:
                self.crowd.waiting[self] = None
                self._give(self.crowd.head_s)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._in_body = True
        self.crowd.waiting.pop(self, None)
        self._give(self.crowd.request_s)
        super().on_headers_complete()
        if not (self.parser.should_upgrade() and self._should_upgrade()):
            self._answering += 1

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()
        self._rest()

    def on_response_complete(self) -> None:
        self._answering = max(0, self._answering - 1)
        super().on_response_complete()
        self._rest()

    # Time

    def _rest(self) -> None:
        """Between two requests uvicorn's own keep-alive time applies."""
        if not self._in_body and not self._answering and not self._in_head:
            self._stop_timer()

    def _give(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self.turn_away(408, "slow", "the request did not come in time")


def entrance(rejected: Callable[[str], None], crowd: Crowd | None = None) -> type[Entrance]:
    """The protocol class of one server, for uvicorn's `http`.

    Args:
        rejected: called with `slow`, `head-too-big`, `malformed`, `crowd` for each connection turned away.
    """
    return type("EntranceOfServer", (Entrance,), {"crowd": crowd or Crowd(), "rejected": staticmethod(rejected)})


def allow_many_files() -> int:
    """Raises this process's own limit on open files as far as it may; the limit.

    The usual soft limit of 1,024 is there for programs that use `select`; a worker has two sockets per call and more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)
