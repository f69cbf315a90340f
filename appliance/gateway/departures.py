"""How channels and bridges leave a worker: removed, or sent on in the dialplan. Nothing here raises: what fails is logged."""

from __future__ import annotations

import asyncio
import logging

from appliance.gateway.call_services import (
    FULL_CONTEXT,
    FULL_EXTENSION,
    GONE_CONTEXT,
    GONE_DIRECT_EXTENSION,
    GONE_EXTENSION,
    QUEUE_CONTEXT,
    QUEUE_EXTENSION,
)
from appliance.telephony import ari_requests as ari
from appliance.telephony.ari_connection import AriConnection
from appliance.telephony.errors import AriError, AriNotFound, AriRefused

log = logging.getLogger(__name__)

RETRY_S = 0.5


class Departures:
    """Of the channels and bridges of one application."""

    def __init__(self, connection: AriConnection) -> None:
        self._ari = connection

    async def delete(self, request: ari.AriRequest) -> None:
        """Remove something that may be gone already; tried twice where that can help."""
        for attempt in (1, 2):
            try:
                await self._ari.request(request)
            except AriNotFound:
                pass  # gone already
            except AriError as error:
                if error.retry and attempt == 1 and self._ari.connected:
                    await asyncio.sleep(RETRY_S)
                    continue
                log.warning("%s; the next connection cleans up", error)
            return

    async def to_queue(self, caller: str) -> None:
        """The caller goes on to the agents, without interpreter."""
        await self._go_on(caller, QUEUE_CONTEXT, QUEUE_EXTENSION)

    async def to_dialplan(self, caller: str, *, direct: bool = False) -> None:
        """The dialplan finds another worker for the caller's call, or joins him with the agent he has.

        Args:
            direct: only the latter.
        """
        await self._go_on(caller, GONE_CONTEXT, GONE_DIRECT_EXTENSION if direct else GONE_EXTENSION)

    async def refuse(self, caller: str) -> None:
        """The caller is one too many."""
        await self._go_on(caller, FULL_CONTEXT, FULL_EXTENSION)

    async def _go_on(self, caller: str, context: str, extension: str) -> None:
        try:
            await self._ari.request(ari.continue_in_dialplan(caller, context, extension))
        except AriRefused as error:
            log.warning("%s", error)
            if error.retry:
                await self.delete(ari.hang_up(caller))
            # Else he has hung up, or has left the application before and is in good hands.
        except AriError as error:
            log.warning("%s", error)
            await self.delete(ari.hang_up(caller))
