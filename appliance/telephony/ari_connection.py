"""Requests to Asterisk and its events, over the WebSocket between Asterisk and this worker, whoever has opened it.

A connection comes, goes and is replaced while the object stays: one per worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count

from appliance.telephony.ari_messages import (
    ChannelEvent,
    MalformedMessage,
    OtherEvent,
    RestRequest,
    RestResponse,
    decode_message,
    encode_request,
)
from appliance.telephony.ari_requests import AriRequest
from appliance.telephony.errors import AriDisconnected, AriNotFound, AriRefused, AriTimedOut, SocketClosed
from appliance.telephony.socket import NORMAL, POLICY, PROTOCOL_ERROR, TOO_BIG, MessageSocket

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 5.0
"""Asterisk answers within milliseconds; `externalMedia` waits for its socket to connect."""
MAX_MESSAGE = 4 << 20
"""Bytes; far beyond any event."""
MAX_OUTGOING = 4096
"""Requests that wait to be written: beyond it Asterisk has stopped reading."""
MAX_MALFORMED = 16
"""Per connection; a peer that sends more is not Asterisk."""


Fetch = Callable[[AriRequest, float], Awaitable[str]]
"""Makes a request that changes nothing, in so many seconds, and returns the body of its answer; raises as `AriConnection.request`."""


class AriConnection:
    """Control of one Stasis application.

    Args:
        on_event: called for each event about a channel, in order; must not wait.
        on_connected: called when a connection has come (again): what Asterisk knows may differ from what the worker knows.
        on_lost: called when there is no connection any more.
        counted: called with `ok`, `refused`, `timed-out`, `disconnected` for each request and with `event-ignored`,
            `malformed`, `answer-unknown` for messages.
    """

    def __init__(
        self,
        on_event: Callable[[ChannelEvent], None],
        *,
        on_connected: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
        counted: Callable[[str], None] = lambda what: None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self._on_event = on_event
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._counted = counted
        self._timeout_s = timeout_s
        self._ids = count(1)
        self._waiting: dict[str, asyncio.Future[RestResponse]] = {}
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._socket: MessageSocket | None = None
        self._fetch: Fetch | None = None

    @property
    def connected(self) -> bool:
        return self._socket is not None

    async def request(self, request: AriRequest, *, timeout_s: float | None = None) -> str:
        """Make a request and return the body of its answer (JSON text, or empty).

        Requests go out in the order of the calls, and Asterisk handles them in that order.

        Raises:
            AriDisconnected, AriTimedOut, AriRefused, AriNotFound
        """
        if self._socket is None or self._outgoing.qsize() >= MAX_OUTGOING:
            self._counted("disconnected")
            raise AriDisconnected(f"{request}: no control connection to Asterisk")
        request_id = str(next(self._ids))
        query = tuple({"name": name, "value": value} for name, value in request.query.items())
        message = RestRequest(request_id=request_id, transaction_id=request_id, method=request.method, uri=request.uri, query_strings=query)
        answer: asyncio.Future[RestResponse] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        self._outgoing.put_nowait(encode_request(message))
        try:
            async with asyncio.timeout(timeout_s or self._timeout_s):
                response = await answer
        except TimeoutError:
            self._counted("timed-out")
            raise AriTimedOut(f"{request}: no answer from Asterisk in {timeout_s or self._timeout_s:g} s") from None
        except AriDisconnected:
            self._counted("disconnected")
            raise AriDisconnected(f"{request}: the control connection was lost before the answer") from None
        finally:
            self._waiting.pop(request_id, None)
        if response.status_code >= 400:
            self._counted("refused")
            error = AriNotFound if response.status_code == 404 else AriRefused
            raise error(str(request), response.status_code, response.message_body or response.reason_phrase)
        self._counted("ok")
        return response.message_body

    async def fetch(self, request: AriRequest, *, timeout_s: float = REQUEST_TIMEOUT_S) -> str:
        """As `request`, for an answer that grows with the number of calls, past the WebSocket where there is another way.

        Asterisk 22.10 puts a message for a WebSocket on the stack of a thread, which has 496 KiB: about 1,200 channels end it.
        """
        if self._fetch is None:
            return await self.request(request, timeout_s=timeout_s)
        return await self._fetch(request, timeout_s)

    async def serve(self, socket: MessageSocket, fetch: Fetch | None = None) -> None:
        """Use `socket` until it ends. A connection in use is replaced: Asterisk has started anew or lost the old one.

        Args:
            fetch: another way for long answers.
        """
        replaced, self._socket = self._socket, socket
        self._fetch = fetch
        if replaced is not None:
            log.warning("control connection replaced by a new one")
            self._abandon()
            await replaced.close(POLICY, "replaced")
        outgoing = self._outgoing = asyncio.Queue()
        writer = asyncio.create_task(self._write(socket, outgoing), name="ari-writer")
        log.info("control connection to Asterisk is up")
        self._on_connected()
        try:
            code, reason = await self._read(socket)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            if self._socket is socket:
                self._socket = None
                self._abandon()
                log.warning("control connection to Asterisk is down")
                self._on_lost()
        await socket.close(code, reason)

    def _abandon(self) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(AriDisconnected("control connection lost"))
        self._waiting.clear()

    async def _read(self, socket: MessageSocket) -> tuple[int, str]:
        malformed = 0
        while True:
            try:
                text = await socket.receive()
            except SocketClosed:
                return NORMAL, ""
            if self._socket is not socket:
                return POLICY, "replaced"
            if len(text) > MAX_MESSAGE:
                self._counted("malformed")
                return TOO_BIG, "message too big"
            try:
                message = decode_message(text)
            except MalformedMessage as error:
                self._counted("malformed")
                malformed += 1
                log.warning("%s", error)
                if malformed >= MAX_MALFORMED:
                    return PROTOCOL_ERROR, "too many malformed messages"
                continue
            self._take(message)

    def _take(self, message: ChannelEvent | OtherEvent | RestResponse) -> None:
        if isinstance(message, RestResponse):
            answer = self._waiting.get(message.request_id)
            if answer is None or answer.done():
                self._counted("answer-unknown")
            else:
                answer.set_result(message)
        elif isinstance(message, OtherEvent):
            self._counted("event-ignored")
        else:
            self._on_event(message)

    async def _write(self, socket: MessageSocket, outgoing: asyncio.Queue[str]) -> None:
        try:
            while True:
                await socket.send(await outgoing.get())
        except SocketClosed:
            pass  # the reader sees it too and ends the connection
