"""A model server is killed or stops answering in mid-call: what both parties hear, by the recordings of their telephones.

The engines are stubs: whatever is said is understood as the same words, and every translation and announcement is a tone.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.events import CallStateChanged, Party, UtteranceInterpreted, UtterancePlayed
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
from appliance.phone.timeline import Samples
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


class Call:
    """Two telephones in a call, what they hear, and what the gateway tells."""

    def __init__(self, phones: dict[Party, Phone], recorder: Recorder, events: CallEvents) -> None:
        self.phones = phones
        self.recorder = recorder
        self.events = events
        self.ends: list[tuple[Party, float]] = []
        """Who has ended to speak, and when (`time.monotonic()`)."""

    @property
    def states(self) -> list[str]:
        return [item.event.state for item in self.events.received if isinstance(item.event, CallStateChanged)]

    def told(self) -> list[str]:
        """States and outcomes, for a message."""
        changes = [item.event for item in self.events.received if isinstance(item.event, CallStateChanged)]
        return [*(f"{event.state} ({event.reason})" for event in changes), *self.outcomes()]

    async def until(self, happened: Callable[[list[Received]], bool], what: str, timeout_s: float = 10.0) -> None:
        assert await self.events.wait_until(happened, timeout_s), f"{what}: never; {self.told()}"

    async def reaches(self, state: str, times: int = 1, timeout_s: float = 15.0) -> None:
        def there(received: list[Received]) -> bool:
            return sum(isinstance(item.event, CallStateChanged) and item.event.state == state for item in received) >= times

        await self.until(there, f"{state} {times} times", timeout_s)

    def outcomes(self) -> list[str]:
        return [f"{e.outcome} {e.reason}".strip() for item in self.events.received if isinstance(e := item.event, UtteranceInterpreted)]

    async def say(self, party: Party, then: Callable[[], None] = lambda: None, after_s: float = 0.0) -> Samples:
        """Have a party say a sentence to its end.

        Args:
            then: called `after_s` after its end, or so much before it.
        """
        said = speech.say("मेरे printer में समस्या है.", "hi", "Storm")
        asked = await self.phones[party].say(said)
        await asyncio.sleep(max(0.0, asked + 0.15 + len(said) / TELEPHONE_HZ + after_s - time.monotonic()))
        then()
        await asyncio.sleep(max(0.0, 0.3 - after_s))
        wanted_s = LEAST_SAID * _length_s(speech_edges.speech_stretches(said, TELEPHONE_HZ))
        give_up = time.monotonic() + 5
        while True:  # until it has been said to its end: the telephone may be late
            spoken = self.recorder.track(party, "said").on_clock(asked, time.monotonic())
            stretches = speech_edges.speech_stretches(spoken, TELEPHONE_HZ)
            if _length_s(stretches) >= wanted_s and len(spoken) / TELEPHONE_HZ - stretches[-1].end_s > speech_edges.BRIDGED_S:
                break
            assert time.monotonic() < give_up, f"the {party} did not say it: {stretches}"
            await asyncio.sleep(0.05)
        self.ends.append((party, asked + stretches[-1].end_s))
        return spoken

    async def interpreted(self, party: Party) -> None:
        """Have a party say a sentence that the other one hears translated."""

        def played(received: list[Received]) -> int:
            return sum(isinstance(item.event, UtterancePlayed) and item.event.lane == LANES[party] for item in received)

        before = played(self.events.received)
        await self.say(party)
        await self.until(lambda received: played(received) > before, "the translation", 15.0)

    async def all_played(self) -> None:
        """Everything that was said has been heard in translation."""

        def played(received: list[Received]) -> bool:
            return sum(isinstance(item.event, UtterancePlayed) for item in received) >= len(self.ends)

        await self.until(played, f"{len(self.ends)} translations")

    async def silence(self) -> list[float]:
        """Seconds from the end of each utterance to what its listener heard next, but for the end of the voice itself."""
        await asyncio.sleep(max(0.0, self.ends[-1][1] + SILENT_S + ECHO_S + 0.5 - time.monotonic()))
        waits = []
        for speaker, end in self.ends:
            heard = self.recorder.track(LISTENERS[speaker], "heard").on_clock(end + ECHO_S, end + ECHO_S + 4.0)
            onset = speech_edges.sound_onset(heard, TELEPHONE_HZ)
            waits.append(4.0 if onset is None else round(ECHO_S + onset, 2))
        return waits

    def level_heard(self, party: Party, last_s: float) -> float:
        return speech_edges.loudness(speech_edges.levels(self.recorder.heard_until_now(party, last_s), TELEPHONE_HZ))


def _length_s(stretches: list[speech_edges.Stretch]) -> float:
    """From the first to the last of them."""
    return stretches[-1].end_s - stretches[0].start_s if stretches else 0.0


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
        with Recorder() as recorder:
            async with (
                CallEvents(EventStream(link).read, number) as events,
                Phone.start(folder / "agent", station.program, station.account_of_agent()) as agent,
                Phone.start(folder / "caller", station.program, station.account_of_caller(number)) as caller,
            ):
                call = Call({"caller": caller, "agent": agent}, recorder, events)
                for party in call.phones:
                    recorder.follow(party, folder / party)
                await caller.dial(stack.loaded.config.telephony.company_number)
                await agent.wait_for(CallEstablished, 15)
                await call.reaches("interpreting")
                await asyncio.sleep(2.0)  # prompts
                await call.interpreted("caller")
                await asyncio.sleep(0.5)
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
        ducked = call.level_heard("agent", 0.3)
        for number, how in enumerate((signal.SIGKILL, signal.SIGSTOP), 1):
            await call.say("caller", lambda how=how: stack.send(server, how), after_s=-0.1)  # type: ignore[misc]
            await call.reaches("direct", number)
            await asyncio.sleep(1.5)  # the announcement
            await call.say("caller")
            told = call.level_heard("agent", 1.0)
            assert told > -40, f"the voice itself at full level, not {told:.0f} dB; ducked {ducked:.0f} dB"
            if how == signal.SIGKILL:
                await stack.started(server)
            else:
                stack.send(server, signal.SIGCONT)
            await call.reaches("interpreting", 1 + number)
            await asyncio.sleep(1.2)
            await call.interpreted("caller")
            await call.interpreted("agent")
        waits = await call.silence()
        assert stack.metric(lost) == before + 2
        assert call.states[-5:] == ["interpreting", "direct", "interpreting", "direct", "interpreting"]
    # In a direct call nobody speaks after the speaker: those waits say nothing.
    told = [wait for place, wait in enumerate(waits) if place not in (2, 6)]
    print("seconds of silence after each utterance:", waits)
    assert max(told) <= SILENT_S, f"seconds of silence after each utterance: {waits}"


@pytest.mark.parametrize("kind", KINDS)
async def test_with_a_second_server_nothing_is_lost(stack: PartStack, phones: Path, kind: str) -> None:
    first, second = f"model-{kind}", f"model-{kind}-2"
    await stack.started(second)
    async with talking(stack, phones) as call:
        for victim, speaker in ((first, "caller"), (second, "agent")):
            party: Party = "caller" if speaker == "caller" else "agent"
            other = second if victim == first else first
            await call.say(party, lambda victim=victim: stack.send(victim, signal.SIGSTOP), after_s=-0.1)  # type: ignore[misc]
            await asyncio.sleep(2.0)
            await call.all_played()
            await call.interpreted(party)
            stack.send(victim, signal.SIGCONT)
            await asyncio.to_thread(wait_until, stack.all_asked, 15, "a server that goes on is left alone")
            await call.say(party, lambda other=other: stack.send(other, signal.SIGKILL), after_s=-0.1)  # type: ignore[misc]
            await asyncio.sleep(1.5)
            await call.all_played()
            await stack.started(other)
            await asyncio.to_thread(wait_until, stack.all_asked, 15, "a server that was started is left alone")
        waits = await call.silence()
        assert set(call.outcomes()) == {"interpreted"}
        assert "direct" not in call.states
        assert len(call.outcomes()) == len(call.ends)
    print("seconds of silence after each utterance:", waits)
    assert max(waits) <= SILENT_S, f"seconds of silence after each utterance: {waits}"


async def test_the_starter_engine_takes_over_and_gives_back(stack: PartStack, phones: Path) -> None:
    await stack.started("model-tts-fallback")
    used = 'setu_fallbacks_total{reason="tts-starter-engine"}'
    before = stack.metric(used)
    async with talking(stack, phones) as call:
        assert stack.metric(used) == before
        await call.say("caller", lambda: stack.send("model-tts", signal.SIGKILL), after_s=-0.1)
        await asyncio.sleep(2.0)
        await call.all_played()
        await call.interpreted("agent")
        assert stack.metric(used) > before
        await stack.started("model-tts")
        await asyncio.to_thread(wait_until, stack.all_asked, 15, "a server that was started is left alone")
        used_then = stack.metric(used)
        await call.interpreted("caller")
        assert stack.metric(used) == used_then
        waits = await call.silence()
        assert set(call.outcomes()) == {"interpreted"}
        assert "direct" not in call.states
    print("seconds of silence after each utterance:", waits)
    assert max(waits) <= SILENT_S, f"seconds of silence after each utterance: {waits}"
