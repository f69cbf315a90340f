"""Keeps the audio of utterances that an agent flags; a call never waits for the disk, nor does it hear of it."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import numpy.typing as npt

from appliance.events import LaneName
from appliance.gateway import counting
from appliance.store.errors import StoreError
from appliance.store.flagged_audio import FlaggedAudio

log = logging.getLogger(__name__)

MOST_WAITING = 32
"""Files that wait for a disk that does not answer; what is flagged beyond is kept without audio."""


class Flagging:
    """Of one worker."""

    def __init__(self, audio: FlaggedAudio) -> None:
        self._audio = audio
        self._writing: set[asyncio.Task[None]] = set()

    def keep(self, call_id: str, lane: LaneName, utterance: int, samples: npt.NDArray[np.int16]) -> None:
        """Write in the background."""
        if len(self._writing) >= MOST_WAITING:
            counting.fallback("flag-without-audio")
            return
        task = asyncio.create_task(self._write(call_id, lane, utterance, samples), name=f"{call_id} flagged audio")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def close(self) -> None:
        """Returns when everything is written."""
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def _write(self, call_id: str, lane: LaneName, utterance: int, samples: npt.NDArray[np.int16]) -> None:
        try:
            path = await asyncio.to_thread(self._audio.keep, call_id, lane, utterance, samples)
            log.info("audio of a flagged utterance kept", extra={"call": call_id, "lane": lane, "utterance": utterance, "file": path.name})
        except StoreError as error:
            counting.fallback("flag-without-audio")
            log.error("%s", error)
