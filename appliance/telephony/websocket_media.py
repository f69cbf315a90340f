"""Audio of one leg over Asterisk's `chan_websocket`: binary messages are audio, text messages JSON control.

What Asterisk does with it: it cuts what it gets into 20 ms frames, plays one per 20 ms, and fills in silence when it has none.
Its queue holds 1,000 frames; at 900 it sends `MEDIA_XOFF`, at 800 `MEDIA_XON`; beyond 1,000 it drops without a word.
Commands longer than 128 bytes are ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Literal

import msgspec

from appliance.telephony.errors import SocketClosed
from appliance.telephony.media import (
    FRAME_BYTES,
    FRAME_S,
    AudioReceived,
    MarkReached,
    MediaEnded,
    MediaEvent,
    MediaStarted,
)
from appliance.telephony.socket import NORMAL, PROTOCOL_ERROR, TOO_BIG, MessageSocket, ShortCut

log = logging.getLogger(__name__)

MAX_BINARY = 65_500
"""Bytes; the largest message Asterisk sends or takes."""
MAX_TEXT = 8_192
MAX_COMMAND = 128
"""Bytes of a command that Asterisk still reads."""
MAX_MALFORMED = 16
OUT_FRAMES = round(2.0 / FRAME_S)
"""Frames that may wait for a socket that does not take them; older speech is worthless by then."""
MAX_MARKS = 256
IN_EVENTS = round(5.0 / FRAME_S)
"""Events that may wait for a reader that does not come."""
COALESCE = MAX_BINARY // FRAME_BYTES
"""Frames that fit one message; only a backlog is sent so, a frame in time goes alone."""
STALL_S = 10.0
"""A socket that took nothing for so long is given up."""

ClosedBy = Literal["here", "there"]


class _Control(msgspec.Struct):
    event: str
    channel_id: str = ""
    correlation_id: str = ""
    format: str = ""
    optimal_frame_size: int = FRAME_BYTES
    error_text: str = ""


_decode = msgspec.json.Decoder(_Control).decode


class WebSocketMedia:
    """`MediaTransport` over an accepted socket; `serve` must run for it to live.

    Args:
        leg: id of the media channel if known from the socket's address, else it becomes known with `MEDIA_START`.
        counted: called with what went wrong and how often: `late-out`, `unread-in`, `malformed`, `odd-length`, `too-big`,
            `mark-dropped`, `xoff`, `asterisk-error`, `stalled`.
        short_cut: of the socket, if it has one, for frames of 20 ms.
    """

    def __init__(
        self,
        socket: MessageSocket,
        leg: str = "",
        *,
        counted: Callable[[str, int], None] = lambda what, times: None,
        short_cut: ShortCut | None = None,
    ) -> None:
        self.leg = leg
        self.started = asyncio.Event()
        """Set at `MEDIA_START`."""
        self.closed = asyncio.Event()
        """Set when no more audio will come or go."""
        self.closed_by: ClosedBy | None = None
        self._socket = socket
        self._counted = counted
        self._out: deque[bytes | str] = deque()
        self._frames_out = 0
        self._marks_out = 0
        self._out_ready = asyncio.Event()
        self._paused = False
        self._in: deque[MediaEvent] = deque()
        self._in_ready = asyncio.Event()
        self._take: Callable[[bytes], None] | None = None
        self._malformed = 0
        self._short_cut = short_cut
        self._sending_since: float | None = None
        """Since when the writer waits for the socket to take a message."""

    # MediaTransport

    def send(self, pcm: bytes) -> None:
        """Queue audio (whole 20 ms frames of 640 bytes). While Asterisk has too much or the socket is stuck, new audio is dropped."""
        if self.closed.is_set():
            return
        waits = self._out or self._paused or self._sending_since is not None
        if self._short_cut is not None and not waits and self._short_cut.send_now(pcm):
            return
        frames = max(1, len(pcm) // FRAME_BYTES)
        if self._frames_out + frames > OUT_FRAMES:
            self._counted("late-out", frames)
            return
        self._frames_out += frames
        self._out.append(pcm)
        if not self._paused:
            self._out_ready.set()

    def mark(self, mark: str) -> None:
        self._command("MARK_MEDIA", mark)

    async def events(self) -> AsyncIterator[MediaEvent]:
        while True:
            while self._in:
                event = self._in.popleft()
                yield event
                if isinstance(event, MediaEnded):
                    return
            self._in_ready.clear()
            await self._in_ready.wait()

    async def close(self) -> None:
        await self._end("here", NORMAL, "closed by the gateway")

    # Beyond MediaTransport

    def feed(self, take: Callable[[bytes], None] | None) -> None:
        """See `AudioFeed`."""
        self._take = take

    def flush(self) -> None:
        """Give up all audio that has not been played yet, here and in Asterisk. Marks in it are never reached."""
        self._out.clear()
        self._frames_out = self._marks_out = 0
        self._paused = False  # after a flush Asterisk has room, and the command must not wait for MEDIA_XON
        self._command("FLUSH_MEDIA")

    async def serve(self) -> None:
        """Carry audio until either side closes."""
        if self._short_cut is not None:
            self._short_cut.hand_over(self._receive, FRAME_BYTES)
        writer = asyncio.create_task(self._write(), name=f"media-writer {self.leg}")
        watch = asyncio.create_task(self._watch(), name=f"media-watch {self.leg}")
        try:
            await self._read()
        finally:
            writer.cancel()
            watch.cancel()
            await asyncio.gather(writer, watch, return_exceptions=True)
            await self._end("there", NORMAL, "closed by Asterisk")

    # Outwards

    def _command(self, command: str, correlation_id: str = "") -> None:
        if self.closed.is_set():
            return
        fields = {"command": command}
        if correlation_id:
            fields["correlation_id"] = correlation_id
        text = msgspec.json.encode(fields).decode()
        if len(text.encode()) > MAX_COMMAND:
            raise ValueError(f"mark of {len(correlation_id)} characters: Asterisk reads commands of {MAX_COMMAND} bytes at most")
        if self._marks_out >= MAX_MARKS:
            self._counted("mark-dropped", 1)
            return
        self._marks_out += 1
        self._out.append(text)
        if not self._paused:
            self._out_ready.set()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._out_ready.wait()
            while self._out and not self._paused:
                message = self._next_message()
                self._sending_since = loop.time()
                try:
                    await self._socket.send(message)
                except SocketClosed:
                    return  # the reader sees it too and ends the leg
                self._sending_since = None
            self._out_ready.clear()

    async def _watch(self) -> None:
        """Gives up a socket that takes nothing: looked at now and then, since a time-out of each frame costs as much as the frame."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(STALL_S / 4)
            since = self._sending_since
            if since is not None and loop.time() - since >= STALL_S:
                self._counted("stalled", 1)
                log.warning("media socket took nothing for %g s: given up", loop.time() - since, extra={"leg": self.leg})
                await self._end("here", NORMAL, "stalled")
                return

    def _next_message(self) -> bytes | str:
        message = self._out.popleft()
        if isinstance(message, str):
            self._marks_out -= 1
            return message
        self._frames_out -= max(1, len(message) // FRAME_BYTES)
        if not self._out or isinstance(self._out[0], str):
            return message
        parts = [message]
        size = len(message)
        while self._out:
            part = self._out[0]
            if isinstance(part, str) or size + len(part) > COALESCE * FRAME_BYTES:
                break
            parts.append(part)
            size += len(part)
            self._frames_out -= max(1, len(part) // FRAME_BYTES)
            self._out.popleft()
        return b"".join(parts)

    # Inwards

    def _receive(self, pcm: bytes) -> None:
        if self._take is not None:
            self._take(pcm)
        elif not self.closed.is_set():
            self._emit(AudioReceived(pcm))

    def _emit(self, event: MediaEvent) -> None:
        if len(self._in) >= IN_EVENTS:
            oldest = next((place for place, waiting in enumerate(self._in) if isinstance(waiting, AudioReceived)), 0)
            del self._in[oldest]  # audio goes first: somebody may wait for a mark
            self._counted("unread-in", 1)
        self._in.append(event)
        self._in_ready.set()

    async def _read(self) -> None:
        while not self.closed.is_set():
            try:
                message = await self._socket.receive()
            except SocketClosed:
                return None
            if isinstance(message, bytes):
                if len(message) > MAX_BINARY:
                    self._counted("too-big", 1)
                    return await self._end("here", TOO_BIG, "message too big")
                if len(message) % 2:
                    self._counted("odd-length", 1)
                    self._malformed += 1
                elif message:
                    self._receive(message)
            elif len(message) > MAX_TEXT:
                self._counted("too-big", 1)
                return await self._end("here", TOO_BIG, "message too big")
            else:
                self._control(message)
            if self._malformed >= MAX_MALFORMED:
                return await self._end("here", PROTOCOL_ERROR, "too many malformed messages")
        return None

    def _control(self, text: str) -> None:
        try:
            control = _decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            self._counted("malformed", 1)
            self._malformed += 1
            return
        match control.event:
            case "MEDIA_START":
                self.leg = self.leg or control.channel_id
                if control.optimal_frame_size != FRAME_BYTES:
                    log.error("media channel has frames of %d bytes instead of %d", control.optimal_frame_size, FRAME_BYTES)
                if not self.started.is_set():
                    self.started.set()
                    self._emit(MediaStarted(control.channel_id or self.leg))
            case "MEDIA_MARK_PROCESSED":
                self._emit(MarkReached(control.correlation_id))
            case "MEDIA_XOFF":
                self._paused = True
                self._counted("xoff", 1)
            case "MEDIA_XON":
                self._paused = False
                self._out_ready.set()
            case "ERROR":
                self._counted("asterisk-error", 1)
                log.warning("Asterisk about a media socket: %s", control.error_text[:200], extra={"leg": self.leg})
            case _:
                pass  # QUEUE_DRAINED, STATUS, DTMF_END, MEDIA_BUFFERING_COMPLETED: nobody asked

    async def _end(self, closed_by: ClosedBy, code: int, reason: str) -> None:
        if self.closed.is_set():
            return
        self.closed_by = closed_by
        self.closed.set()
        self._out.clear()
        self._frames_out = self._marks_out = 0
        self._emit(MediaEnded(reason))
        with contextlib.suppress(SocketClosed):
            await self._socket.close(code, reason)
