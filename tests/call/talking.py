"""Two telephones that talk through Asterisk alone while something else happens to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from stalls import Stall, Stalls

from appliance.phone import wav
from appliance.phone.baresip import Phone
from appliance.phone.phone_events import CallClosed, CallEstablished
from appliance.phone.recording import Recorder

from .conftest import Running, wait_until

RATE = wav.TELEPHONE_HZ
STEP_S = 0.1
NEXT_S = 4.0
"""What a call after a trouble is spoken in: long enough for `HEARD_SHARE` to leave out one tenth of a second."""
SPOKEN_SHARE = 0.95
"""Of the time in which the caller was to speak; the ends are not whole tenths of a second."""
LATE_S = 5.0
HEARD_SHARE = 0.97
"""Of the tenths of a second in which the caller spoke."""
LOUD = 500
"""Of 32768; what the codec makes of silence is below 20."""
ENDS = 1
"""Tenths of a second that one of two recordings of the same speech may have more: the speech begins elsewhere in a tenth."""
STALL_S = 0.040
"""A shorter one makes no gap of a tenth of a second: telephones keep more in their buffers."""
RECOVERS_S = 0.5
"""After a stall of the machine: packets come in a heap, and the telephone throws away what does not fit into its buffer."""


@dataclass
class Talk:
    length_s: float
    tracks: dict[str, wav.Samples] = field(default_factory=dict)
    began_s: float = 0.0
    """Of the tracks, `time.monotonic()`."""
    stalls: list[Stall] = field(default_factory=list)
    """Of the machine meanwhile: what was not heard then Asterisk could not help."""
    ended_early: bool = False

    def take(self, recorder: Recorder, since_s: float) -> None:
        """What was said and heard until now."""
        now = time.monotonic()
        self.began_s = since_s
        self.tracks = {
            "said": recorder.track("caller", "said").on_clock(since_s, now),
            "heard": recorder.track("agent", "heard").on_clock(since_s, now),
        }

    def complete(self, recorder: Recorder, since_s: float) -> bool:
        """Whether everything was said, and what is wanted was heard: a telephone on a busy machine may be late."""
        self.take(recorder, since_s)
        said, heard = (int(_loud(self.tracks[way]).sum()) for way in ("said", "heard"))
        return said * STEP_S >= SPOKEN_SHARE * self.length_s and heard + ENDS >= HEARD_SHARE * said

    def assert_undisturbed(self) -> None:
        """The agent has heard everything that the caller said in that time, without a gap of a tenth of a second."""
        assert not self.ended_early, "the call has ended"
        said, heard = (_loud(self.tracks[way]) for way in ("said", "heard"))
        spoken = int(said.sum())
        assert spoken * STEP_S >= SPOKEN_SHARE * self.length_s
        assert heard.any(), "nothing was heard"
        places = np.flatnonzero(heard)
        within = slice(places[0], places[-1] + 1)
        gaps = ~heard[within]
        excused = gaps & self._stood_still(len(heard))[within]
        told = f"heard {heard.sum()} of {spoken} tenths of a second, {gaps.sum()} are gaps; the machine stood still at {self.stalls}"
        assert int(heard.sum() + excused.sum()) + ENDS >= HEARD_SHARE * spoken, told
        assert int((gaps & ~excused).sum()) <= (1 - HEARD_SHARE) * spoken, told

    def _stood_still(self, tenths: int) -> np.ndarray:
        """Of each tenth of a second, whether the machine stood still then or just before."""
        begins = self.began_s + STEP_S * np.arange(tenths)
        found = np.zeros(tenths, bool)
        for begin, end in self.stalls:
            if end - begin > STALL_S:
                found |= (begins + STEP_S > begin) & (begins < end + RECOVERS_S)
        return found


@asynccontextmanager
async def talking(asterisk: Running, folder: Path, *, length_s: float) -> AsyncIterator[Talk]:
    """A caller who speaks for `length_s` to an agent while the block runs, and on until that time is over."""
    telephones = asterisk.station
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240
    talk = Talk(length_s)
    agent_phone = Phone.start(folder / "agent", telephones.program, telephones.account_of_agent())
    caller_phone = Phone.start(folder / "caller", telephones.program, telephones.account_of_caller("9876543210"))
    with Stalls() as stalls, Recorder() as recorder:
        async with agent_phone as agent, caller_phone as caller:
            for name in ("agent", "caller"):
                recorder.follow(name, folder / name)
            dialled = await caller.dial("1800")
            await caller.wait_for(CallEstablished, 15)
            await agent.wait_for(CallEstablished, 20)
            await asyncio.to_thread(wait_until, lambda: asterisk.bridges() == 1, 10, "caller and agent are not together")
            began = time.monotonic()
            await caller.say(_sound(length_s))
            yield talk
            await asyncio.sleep(max(0.0, began + length_s + 0.6 - time.monotonic()))
            while caller.in_call and time.monotonic() < began + length_s + LATE_S and not talk.complete(recorder, dialled):
                await asyncio.sleep(0.2)
            talk.ended_early = caller.seen(CallClosed) is not None
            if not talk.ended_early:
                await caller.hang_up()
                await agent.wait_for(CallClosed, 15)
        talk.take(recorder, dialled)
        talk.stalls = stalls.between(dialled, time.monotonic())


def _sound(length_s: float) -> wav.Samples:
    time_s = np.arange(round(length_s * RATE)) / RATE
    return (8000 * np.sin(2 * np.pi * (700 + 300 * np.sin(time_s)) * time_s)).astype(np.int16)


def _loud(track: wav.Samples) -> np.ndarray:
    step = round(STEP_S * RATE)
    whole = track[: len(track) // step * step].reshape(-1, step).astype(np.float64)
    return np.sqrt((whole**2).mean(axis=1)) > LOUD
