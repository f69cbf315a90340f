"""A model server is killed or stops answering in mid-call: what both parties hear, by the recordings of their telephones.

The engines are stubs: whatever is said is understood as the same words, and every translation and announcement is a tone.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from stalls import Stalls

from appliance.events import CallStateChanged, LaneName, Party, UtteranceInterpreted, UtterancePlayed
from appliance.modelserver.breaker import OPEN_S
from appliance.modelserver.client import KINDS, WATCH_S
from appliance.phone import speech_edges
from appliance.phone.baresip import Phone
from appliance.phone.call_events import CallEvents, Received
from appliance.phone.conversation import LANES, LISTENERS
from appliance.phone.demo import speech
from appliance.phone.phone_events import CallClosed, CallEstablished
from appliance.phone.recording import Recorder
from appliance.phone.station import unused_number
from appliance.phone.wav import TELEPHONE_HZ
from appliance.stack.programs import Programs
from appliance.store.event_stream import EventStream
from appliance.store.redis_link import RedisLink

from .conftest import wait_until
from .part_stack import PartStack, part_stack

pytestmark = pytest.mark.timeout(180)
STUBS = """
[stt]
engine = "stub"
model = "delay_s=0.08,text=printer problem"
[mt]
engine = "stub"
model = "delay_s=0.02"
[tts]
engine = "stub"
model = "delay_s=0.02,speech_s=0.6"
"""
SILENT_S = 2.0
"""Longest the listener may hear nothing after the speaker has ended."""
LEAST_SAID = 0.9
"""Of a sentence: its faint ends may not be found again."""
ECHO_S = 0.4
"""How long after that the speaker's own voice may still arrive."""
FULL_DB = 10.0
"""A voice at full level is this much louder than one that is ducked by 20 dB, whatever the codec does."""
BEGINNING_S = 0.8
JUST_BEFORE_S = 0.1
"""The end of a sentence: it is being understood."""
LATE_S = 5.0
"""How much later than it should a telephone may have said something, on however busy a machine."""
QUIET_S = 0.6
QUIET_WITHIN_S = 15.0
LONG_STALL_S = 0.25
"""Of the machine: longer, and a server's answer about its health may come too late."""


@dataclass(frozen=True)
class Said:
    """A sentence that a party has said to its end; times are `time.monotonic()`."""

    party: Party
    start_s: float
    end_s: float
    direct: bool
    """Heard as it is: nobody speaks after the speaker."""


class Call:
    """Two telephones in a call, what they hear, and what the gateway tells."""

    def __init__(self, phones: dict[Party, Phone], recorder: Recorder, events: CallEvents, stalls: Stalls) -> None:
        self.phones = phones
        self.recorder = recorder
        self.events = events
        self.stalls = stalls
        self.said: list[Said] = []
        self._began_s = time.monotonic()

    @property
    def states(self) -> list[str]:
        return [item.event.state for item in self.events.received if isinstance(item.event, CallStateChanged)]

    @property
    def long_stalls(self) -> int:
        """Of the machine: in each of them a server may seem to hang."""
        return sum(end - begin > LONG_STALL_S for begin, end in self.stalls.between(self._began_s, time.monotonic()))

    def told(self) -> list[str]:
        """States and outcomes, for a message."""
        changes = [item.event for item in self.events.received if isinstance(item.event, CallStateChanged)]
        return [*(f"{event.state} ({event.reason})" for event in changes), *self.outcomes()]

    async def until(self, happened: Callable[[list[Received]], bool], what: str, timeout_s: float = 15.0) -> None:
        assert await self.events.wait_until(happened, timeout_s), f"{what}: never; {self.told()}"

    async def reaches(self, state: str, times: int = 1) -> None:
        def there(received: list[Received]) -> bool:
            return sum(isinstance(item.event, CallStateChanged) and item.event.state == state for item in received) >= times

        await self.until(there, f"{state} {times} times")

    def outcomes(self) -> list[str]:
        return [f"{event.outcome} {event.reason}".strip() for event in self._segments()]

    def assert_all_interpreted(self) -> None:
        """Every sentence, and nothing twice."""
        segments = self._segments()
        places = [(event.lane, event.utterance, event.segment) for event in segments]
        assert {event.outcome for event in segments} == {"interpreted"}, self.told()
        assert len(set(places)) == len(places), self.told()
        for party, lane in LANES.items():
            utterances = {utterance for name, utterance, _ in places if name == lane}
            more = len(utterances) - sum(said.party == party for said in self.said)
            assert 0 <= more <= self.long_stalls, self.told()  # each may make two utterances of a sentence

    def _segments(self) -> list[UtteranceInterpreted]:
        return [item.event for item in self.events.received if isinstance(item.event, UtteranceInterpreted)]

    async def say(self, party: Party, then: Callable[[], None] | None = None, *, direct: bool = False) -> Said:
        """Have a party say a sentence to its end.

        Args:
            then: called `JUST_BEFORE_S` before its end.
        """
        said = speech.say("मेरे printer में समस्या है.", "hi", "Storm")
        length_s = _length_s(speech_edges.speech_stretches(said, TELEPHONE_HZ))
        asked = await self.phones[party].say(said)
        give_up = time.monotonic() + len(said) / TELEPHONE_HZ + LATE_S
        while True:  # until it has been said to its end: the telephone may be late
            spoken = self.recorder.track(party, "said").on_clock(asked, time.monotonic())
            stretches = speech_edges.speech_stretches(spoken, TELEPHONE_HZ)
            if then is not None and stretches and time.monotonic() >= asked + stretches[0].start_s + length_s - JUST_BEFORE_S:
                then()
                then = None
            silent_s = len(spoken) / TELEPHONE_HZ - stretches[-1].end_s if stretches else 0.0
            if _length_s(stretches) >= LEAST_SAID * length_s and silent_s > speech_edges.BRIDGED_S:
                break
            assert time.monotonic() < give_up, f"the {party} did not say it: {stretches}"
            await asyncio.sleep(0.02)
        assert then is None
        self.said.append(Said(party, asked + stretches[0].start_s, asked + stretches[-1].end_s, direct))
        return self.said[-1]

    async def interpreted(self, party: Party) -> Said:
        """Have a party say a sentence that the other one hears translated."""
        before = len(_played(self.events.received, LANES[party]))
        said = await self.say(party)
        await self.until(lambda received: len(_played(received, LANES[party])) > before, "the translation")
        return said

    async def all_played(self) -> None:
        """Everything that was said has been heard in translation."""

        def played(received: list[Received]) -> bool:
            return all(len(_played(received, LANES[party])) >= sum(said.party == party for said in self.said) for party in LANES)

        await self.until(played, f"{len(self.said)} translations")

    async def quiet(self) -> None:
        """Nobody hears anything any more, not what is just about to begin either."""
        await asyncio.sleep(QUIET_S)
        give_up = time.monotonic() + QUIET_WITHIN_S
        while any(self._sounds(party) for party in self.phones):
            assert time.monotonic() < give_up, "it is never quiet"
            await asyncio.sleep(0.05)

    def _sounds(self, party: Party) -> bool:
        heard = self.recorder.heard_until_now(party, QUIET_S)
        return bool((speech_edges.levels(heard, TELEPHONE_HZ) > speech_edges.SILENCE_DBFS).any())

    async def assert_no_long_silence(self) -> None:
        """From the end of each sentence to what its listener heard next; stalls of the machine are not counted."""
        await asyncio.sleep(max(0.0, self.said[-1].end_s + SILENT_S + ECHO_S + 0.5 - time.monotonic()))
        waits = []
        for said in self.said:
            if said.direct:
                continue
            heard = self.recorder.track(LISTENERS[said.party], "heard").on_clock(said.end_s + ECHO_S, said.end_s + ECHO_S + 4.0)
            onset = speech_edges.sound_onset(heard, TELEPHONE_HZ)
            wait_s = 4.0 if onset is None else ECHO_S + onset
            waits.append(round(wait_s - self.stalls.lost_s(said.end_s, said.end_s + wait_s), 2))
        stalled_s = self.stalls.lost_s(self._began_s, time.monotonic())
        print(f"seconds of silence after each utterance: {waits}; the machine stood still for {stalled_s:.2f} s, not counted")
        assert max(waits) <= SILENT_S

    def voice_heard_db(self, said: Said) -> float:
        """How loud the beginning of a sentence was to the listener: before there can be a translation of it."""
        heard = self.recorder.track(LISTENERS[said.party], "heard").on_clock(said.start_s + 0.1, said.start_s + 0.1 + BEGINNING_S)
        return speech_edges.loudness(speech_edges.levels(heard, TELEPHONE_HZ))


def _length_s(stretches: list[speech_edges.Stretch]) -> float:
    """From the first to the last of them."""
    return stretches[-1].end_s - stretches[0].start_s if stretches else 0.0


def _played(received: list[Received], lane: LaneName) -> set[int]:
    """Utterances of which something was heard in translation."""
    return {item.event.utterance for item in received if isinstance(item.event, UtterancePlayed) and item.event.lane == lane}


@pytest.fixture(scope="module")
def running(programs: Programs) -> Iterator[PartStack]:
    with part_stack(programs, STUBS) as stack:
        yield stack


@pytest.fixture
def stack(running: PartStack) -> Iterator[PartStack]:
    """With the three servers it began with and no other, whatever the test before has left."""
    yield running
    kept = {f"model-{kind}" for kind in KINDS}
    for name in [name for name in running.parts if name.startswith("model-")]:
        running.send(name, signal.SIGCONT)
        if name not in kept:
            running.stop(name)
    for name in kept - running.parts.keys():
        running.start(name)
        running.ready(name)
    time.sleep(OPEN_S + WATCH_S)
    wait_until(running.all_asked, 20, "a server is left alone")


@asynccontextmanager
async def talking(stack: PartStack, folder: Path) -> AsyncIterator[Call]:
    """Two parties whose first words were interpreted."""
    station, number = stack.station, unused_number()
    link = RedisLink(stack.loaded.config.redis.url)
    try:
        with Stalls() as stalls, Recorder() as recorder:
            async with (
                CallEvents(EventStream(link).read, number) as events,
                Phone.start(folder / "agent", station.program, station.account_of_agent()) as agent,
                Phone.start(folder / "caller", station.program, station.account_of_caller(number)) as caller,
            ):
                call = Call({"caller": caller, "agent": agent}, recorder, events, stalls)
                for party in call.phones:
                    recorder.follow(party, folder / party)
                await caller.dial(stack.loaded.config.telephony.company_number)
                await agent.wait_for(CallEstablished, 15)
                await call.reaches("interpreting")
                await call.quiet()  # after the prompts
                await call.interpreted("caller")
                await call.quiet()
                yield call
                await caller.hang_up()
                await agent.wait_for(CallClosed, 15)
    finally:
        await link.aclose()
    stack.settled()


@pytest.mark.parametrize("kind", KINDS)
async def test_without_another_server_the_parties_are_told_and_joined_and_interpreted_again(
    stack: PartStack, phones: Path, kind: str
) -> None:
    server = f"model-{kind}"
    lost = 'setu_fallbacks_total{reason="interpretation-lost"}'
    before = stack.metric(lost)
    async with talking(stack, phones) as call:
        for number, how in enumerate((signal.SIGKILL, signal.SIGSTOP), 1):
            beneath_db = call.voice_heard_db(call.said[-1])
            await call.say("caller", lambda how=how: stack.send(server, how))  # type: ignore[misc]
            await call.reaches("direct", number)
            await call.quiet()  # after the announcement
            alone_db = call.voice_heard_db(await call.say("caller", direct=True))
            print(f"the voice itself at {alone_db:.0f} dB, beneath a translation at {beneath_db:.0f} dB")
            assert alone_db >= beneath_db + FULL_DB
            if how == signal.SIGKILL:
                await stack.started(server)
            else:
                stack.send(server, signal.SIGCONT)
            await call.reaches("interpreting", 1 + number)
            await call.quiet()
            await call.interpreted("agent")
            await call.quiet()
            await call.interpreted("caller")
        await call.assert_no_long_silence()
        told = [state for state in call.states if state in ("interpreting", "direct")]
        times = told.count("direct")
        assert told == ["interpreting", *["direct", "interpreting"] * times]
        assert 2 <= times <= 2 + call.long_stalls, call.told()
        assert stack.metric(lost) == before + times


@pytest.mark.parametrize("kind", KINDS)
async def test_with_a_second_server_nothing_is_lost(stack: PartStack, phones: Path, kind: str) -> None:
    first, second = f"model-{kind}", f"model-{kind}-2"
    await stack.started(second)
    async with talking(stack, phones) as call:
        for victim, speaker in ((first, "caller"), (second, "agent")):
            party: Party = "caller" if speaker == "caller" else "agent"
            other = second if victim == first else first
            await call.say(party, lambda victim=victim: stack.send(victim, signal.SIGSTOP))  # type: ignore[misc]
            await call.all_played()
            await call.interpreted(party)
            stack.send(victim, signal.SIGCONT)
            await asyncio.to_thread(wait_until, stack.all_asked, 15, "a server that goes on is left alone")
            await call.say(party, lambda other=other: stack.send(other, signal.SIGKILL))  # type: ignore[misc]
            await call.all_played()
            await stack.started(other)
            await asyncio.to_thread(wait_until, stack.all_asked, 15, "a server that was started is left alone")
        await call.assert_no_long_silence()
        call.assert_all_interpreted()
        assert "direct" not in call.states


async def test_the_starter_engine_takes_over_and_gives_back(stack: PartStack, phones: Path) -> None:
    await stack.started("model-tts-fallback")
    used = 'setu_fallbacks_total{reason="tts-starter-engine"}'
    before = stack.metric(used)
    async with talking(stack, phones) as call:
        assert stack.metric(used) <= before + call.long_stalls
        await call.say("caller", lambda: stack.send("model-tts", signal.SIGKILL))
        await call.all_played()
        used_then = stack.metric(used)
        await call.interpreted("agent")
        assert stack.metric(used) > used_then
        await stack.started("model-tts")
        await asyncio.to_thread(wait_until, stack.all_asked, 15, "a server that was started is left alone")
        used_then, stalls_then = stack.metric(used), call.long_stalls
        await call.interpreted("caller")
        assert stack.metric(used) <= used_then + call.long_stalls - stalls_then
        await call.assert_no_long_silence()
        call.assert_all_interpreted()
        assert "direct" not in call.states
