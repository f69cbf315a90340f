"""A call between two telephones that is followed by its recordings and by what the gateway tells of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from appliance.events import CallEnded, CallStateChanged, Event, KeyPressed, LaneName, Party, UtteranceInterpreted, UtterancePlayed
from appliance.phone import speech_edges
from appliance.phone.baresip import Phone
from appliance.phone.call_events import CallEvents
from appliance.phone.conversation import LANES
from appliance.phone.phone_events import CallClosed, CallEstablished
from appliance.phone.recording import Recorder
from appliance.phone.station import unused_number
from appliance.phone.timeline import Samples
from appliance.phone.wav import TELEPHONE_HZ
from appliance.store.errors import StoreError
from appliance.store.event_stream import EventStream
from appliance.store.redis_link import RedisLink
from appliance.store.transcripts import CallTranscript, Transcripts

from .conftest import Running

ATTEMPTS = 3
"""To be understood: on a machine that stands still for half a second a word may be lost."""
UNDERSTOOD_S, HEARD_S, RECORD_S = 15.0, 15.0, 20.0
PATTERN_S = 0.8
"""Of a sound that is looked for again."""
ALIKE = 0.6
"""The same sound through the same line; another sound of the same voice is far below."""

EventT = TypeVar("EventT", bound=Event)


@dataclass(frozen=True, slots=True)
class Said:
    """What a party has said, and what became of it."""

    asked_s: float
    """When the telephone was told to say it, `time.monotonic()`."""
    told_s: float
    """When its translation began to be heard, or a moment later."""
    last: UtteranceInterpreted
    """Its last segment."""


@dataclass
class FollowedCall:
    folder: Path
    phones: dict[Party, Phone]
    recorder: Recorder
    events: CallEvents

    @property
    def call_id(self) -> str:
        return self.events.call_id

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.of(CallStateChanged)]

    def of(self, kind: type[EventT]) -> list[EventT]:
        """What the gateway has told so far, of one kind."""
        return [item.event for item in self.events.received if isinstance(item.event, kind)]

    def segments(self, lane: LaneName) -> list[UtteranceInterpreted]:
        return [event for event in self.of(UtteranceInterpreted) if event.lane == lane]

    def told(self) -> str:
        """For a message."""
        changes = [f"{event.state} ({event.reason})" for event in self.of(CallStateChanged)]
        said = [f"{e.lane} {e.utterance}.{e.segment} {e.outcome} {e.reason}".strip() for e in self.of(UtteranceInterpreted)]
        keys = [f"{event.party} {event.digit}" for event in self.of(KeyPressed)]
        return f"states {changes}, said {said}, keys {keys}"

    async def until(self, true: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
        """Returns when something holds; fails telling what has happened instead."""
        assert await within(true, timeout_s), f"{what} did not happen in {timeout_s:g} s: {self.told()}"

    async def reaches(self, state: str, times: int = 1, timeout_s: float = 20.0) -> None:
        await self.until(lambda: self.states.count(state) >= times, f"{state} {times} times", timeout_s)

    async def press(self, party: Party, digit: str) -> None:
        """Returns when the gateway has got it."""
        before = len(self.of(KeyPressed))
        await self.phones[party].press(digit)
        await self.until(lambda: len(self.of(KeyPressed)) > before, f"the {party}'s {digit}")
        assert (self.of(KeyPressed)[-1].party, self.of(KeyPressed)[-1].digit) == (party, digit)

    async def interpreted(self, party: Party, words: Samples) -> Said:
        """Have a party say something until the other one has heard it in translation."""
        lane = LANES[party]

        def last() -> UtteranceInterpreted | None:
            ended = [event for event in self.segments(lane) if event.last_segment]
            return ended[-1] if ended else None

        for _ in range(ATTEMPTS):
            before = last()
            asked_s = await self.phones[party].say(words)
            await self.until(lambda before=before: last() is not before, f"the end of what the {party} said", UNDERSTOOD_S)  # type: ignore[misc]
            ended, told_s = last(), time.monotonic()
            assert ended is not None
            if ended.outcome == "interpreted":
                await self.until(lambda ended=ended: self._played(ended), "the end of its translation", HEARD_S)  # type: ignore[misc]
                return Said(asked_s, told_s, ended)
        raise AssertionError(f"the {party} was not understood: {self.told()}")

    def _played(self, segment: UtteranceInterpreted) -> bool:
        wanted = (segment.lane, segment.utterance, segment.segment)
        return any((event.lane, event.utterance, event.segment) == wanted for event in self.of(UtterancePlayed))

    def heard(self, party: Party, since_s: float, until_s: float | None = None) -> Samples:
        """What a telephone has received from one time (`time.monotonic()`) to another, or until now."""
        return self.recorder.track(party, "heard").on_clock(since_s, time.monotonic() if until_s is None else until_s)

    def said(self, party: Party, since_s: float, until_s: float | None = None) -> Samples:
        """The same of what it has sent."""
        return self.recorder.track(party, "said").on_clock(since_s, time.monotonic() if until_s is None else until_s)

    async def hears(self, party: Party, sound: Samples, since_s: float, timeout_s: float = 8.0) -> bool:
        """Whether a telephone receives a sound after some time, however loud."""
        return await within(
            lambda: speech_edges.find(sound, self.heard(party, since_s), at_least=ALIKE) is not None, timeout_s, every_s=0.2
        )

    async def hang_up(self) -> CallEnded:
        await self.phones["caller"].hang_up()
        await self.phones["agent"].wait_for(CallClosed, 15)
        await self.until(lambda: self.of(CallEnded), "the end of the call", 15.0)
        return self.of(CallEnded)[-1]


async def within(true: Callable[[], object], timeout_s: float, every_s: float = 0.05) -> bool:
    """Whether something holds before the time is over."""
    end = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(every_s)
    return True


def pattern(sound: Samples) -> Samples:
    """The loudest piece of a sound, by which it is found again."""
    size = round(PATTERN_S * TELEPHONE_HZ)
    assert len(sound) > size, "too short to be known again"
    energy = np.concatenate([[0.0], np.cumsum(np.square(sound.astype(np.float64)))])
    first = int(np.argmax(energy[size:] - energy[:-size]))
    return sound[first : first + size]


@asynccontextmanager
async def followed(stack: Running, folder: Path) -> AsyncIterator[FollowedCall]:
    """A call that is being interpreted; both are hung up in the end, if nobody was before."""
    station, number = stack.station, unused_number()
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240
    link = RedisLink(stack.loaded.config.redis.url)
    try:
        with Recorder() as recorder:
            async with (
                CallEvents(EventStream(link).read, number) as events,
                Phone.start(folder / "agent", station.program, station.account_of_agent()) as agent,
                Phone.start(folder / "caller", station.program, station.account_of_caller(number)) as caller,
            ):
                call = FollowedCall(folder, {"caller": caller, "agent": agent}, recorder, events)
                for party in call.phones:
                    recorder.follow(party, folder / party)
                await caller.dial(stack.loaded.config.telephony.company_number)
                await agent.wait_for(CallEstablished, 20)
                await call.reaches("interpreting")
                yield call
                if caller.in_call:
                    await call.hang_up()
    finally:
        await link.aclose()


async def transcript(stack: Running, call: FollowedCall, complete: Callable[[CallTranscript], bool]) -> CallTranscript:
    """What is recorded of a call, once it is complete."""
    end, found = time.monotonic() + RECORD_S, None
    while time.monotonic() < end:
        try:
            async with Transcripts.from_config(stack.loaded) as transcripts:
                found = await transcripts.find(call.call_id)
            if complete(found):
                return found
        except StoreError:
            pass
        await asyncio.sleep(0.2)
    raise AssertionError(f"not recorded: {call.told()}; only {found}")
