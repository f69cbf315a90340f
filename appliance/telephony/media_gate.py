"""Matches the media sockets that Asterisk opens with the legs that wait for them."""

from __future__ import annotations

import asyncio

from appliance.telephony.errors import MediaNotConnected
from appliance.telephony.socket import POLICY, MessageSocket
from appliance.telephony.websocket_media import WebSocketMedia

START_TIMEOUT_S = 5.0
"""For `MEDIA_START`, which comes late from a busy Asterisk."""


class MediaGate:
    """The legs of a worker that wait for their socket, by the id of their media channel."""

    def __init__(self) -> None:
        self._expected: dict[str, asyncio.Future[WebSocketMedia]] = {}
        self.open: set[WebSocketMedia] = set()
        """Sockets that belong to a leg."""

    @property
    def waiting(self) -> int:
        return len(self._expected)

    def expect(self, leg: str) -> asyncio.Future[WebSocketMedia]:
        """The socket of the leg, to be awaited; call before Asterisk is asked for the channel, and `forget` when done."""
        return self._expected.setdefault(leg, asyncio.get_running_loop().create_future())

    def forget(self, leg: str) -> None:
        expected = self._expected.pop(leg, None)
        if expected is not None and not expected.done():
            expected.cancel()

    async def serve(self, media: WebSocketMedia, socket: MessageSocket) -> None:
        """Carry the audio of a socket that Asterisk has opened until it closes.

        Raises:
            MediaNotConnected: nobody waits for it.
        """
        serving = asyncio.create_task(media.serve(), name=f"media {media.leg}")
        try:
            if not media.leg:
                await self._until_started(media, serving)
            expected = self._expected.get(media.leg)
            if expected is None or expected.done():
                raise MediaNotConnected(f"nobody waits for media of {media.leg or 'an unnamed leg'}")
            self.open.add(media)
            expected.set_result(media)
            await asyncio.shield(serving)
        except MediaNotConnected:
            await socket.close(POLICY, "unknown leg")
            raise
        finally:
            self.open.discard(media)
            await media.close()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    async def _until_started(self, media: WebSocketMedia, serving: asyncio.Task[None]) -> None:
        started = asyncio.create_task(media.started.wait())
        try:
            await asyncio.wait({started, serving}, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            started.cancel()
            await asyncio.gather(started, return_exceptions=True)
        if not media.leg:
            raise MediaNotConnected("no MEDIA_START came")
