"""The event stream on a real Redis that goes away and forgets."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from own_redis import RedisServer, until
from stalls import Stalls

from appliance.events import (
    CallEnded,
    CallStarted,
    CallStateChanged,
    Event,
    KeyPressed,
    LanguageDecided,
    LanguageVote,
    PartialRecognised,
)
from appliance.store import event_stream
from appliance.store.event_stream import BEGINNING, NOW, EventStream
from appliance.store.redis_link import RedisLink


def state(number: int) -> CallStateChanged:
    return CallStateChanged(call_id="c", at=float(number), state=f"state-{number}")


async def read(stream: EventStream, count: int, last_id: str = BEGINNING, *, seen: list[Event] | None = None) -> list[Event]:
    """So many events; `seen` gets them as they come."""
    events: list[Event] = [] if seen is None else seen
    async with asyncio.timeout(15):
        async for _, event in stream.read(last_id):
            events.append(event)
            if len(events) == count:
                break
    return events


async def test_every_kind_of_event_arrives_as_it_was_and_in_order(link: RedisLink) -> None:
    vote = LanguageVote(source="audio", scores={"ta": 0.75, "te": 0.25}, weight=1.0)
    events: list[Event] = [
        CallStarted(call_id="c", at=1.0, caller_number="1", called_number="2", worker="gateway-1"),
        PartialRecognised(call_id="c", at=2.0, lane="caller_to_agent", utterance=1, text="கணினி"),
        LanguageDecided(call_id="c", at=3.0, language="ta", confidence=0.9, after_s=1.5, votes=[vote], how="votes"),
        KeyPressed(call_id="c", at=4.0, party="caller", digit="*"),
        CallEnded(call_id="c", at=5.0, outcome="interpreted", reason="", duration_s=4.0),
    ]
    async with EventStream(link) as stream:
        for event in events:
            stream.publish(event)
        assert await read(stream, len(events)) == events


async def test_reading_from_now_on_sees_nothing_of_before_and_from_an_id_what_follows_it(link: RedisLink, server: RedisServer) -> None:
    async with EventStream(link) as stream:
        stream.publish(state(1))
        (first,) = await read(stream, 1)
        assert first == state(1)
        seen: list[Event] = []

        async def watch() -> None:
            async for _, event in stream.read(NOW):
                seen.append(event)

        watcher = asyncio.create_task(watch())

        async def waits() -> bool:
            with server.client() as client:
                return any(entry["cmd"] == "xread" and "b" in entry["flags"] for entry in client.client_list())

        await until(waits)
        for number in range(2, 5):
            stream.publish(state(number))

        async def all_seen() -> bool:
            return len(seen) == 3

        await until(all_seen)
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        assert seen == [state(2), state(3), state(4)]
        ids = [entry async for entry, _ in _first(stream, 4)]
        assert await read(stream, 2, ids[1]) == [state(3), state(4)]


async def _first(stream: EventStream, count: int) -> AsyncIterator[tuple[str, Event]]:
    async for item in stream.read(BEGINNING):
        yield item
        count -= 1
        if not count:
            return


async def test_entries_of_another_version_are_skipped(link: RedisLink, server: RedisServer) -> None:
    with server.client() as client:
        client.xadd("setu:events", {"event": '{"type":"from-the-future"}'})
        client.xadd("setu:events", {"other": "x"})
    async with EventStream(link) as stream:
        stream.publish(state(1))
        assert await read(stream, 1) == [state(1)]


async def test_publishing_goes_on_while_redis_is_away_and_readers_see_all_of_it_later(link: RedisLink, server: RedisServer) -> None:
    async with EventStream(link) as stream:
        stream.publish(state(0))
        seen: list[Event] = []
        reader = asyncio.create_task(read(stream, 6, seen=seen))

        async def begun() -> bool:
            return seen == [state(0)]

        await until(begun)
        server.stop()
        with Stalls() as stalls:
            for number in range(1, 6):
                started = time.monotonic()
                stream.publish(state(number))
                assert stalls.took_s(started, time.monotonic()) < 0.3, "a time-out is longer"
                await asyncio.sleep(0.05)
        assert stream.waiting <= 5
        server.start()
        assert await reader == [state(number) for number in range(6)]

        async def published() -> bool:
            return stream.waiting == 0

        await until(published)


async def test_beyond_the_queue_the_oldest_events_are_given_up(
    link: RedisLink, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "QUEUE_EVENTS", 10)
    server.stop()
    async with EventStream(link) as stream:
        for number in range(25):
            stream.publish(state(number))
        await asyncio.sleep(0.3)  # a batch that failed in between must not make the queue longer
        for number in range(25, 30):
            stream.publish(state(number))
        assert stream.waiting <= 10
        server.start()
        assert await read(stream, 10) == [state(number) for number in range(20, 30)]


async def test_the_stream_stays_a_window(link: RedisLink, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "STREAM_EVENTS", 300)
    async with EventStream(link) as stream:
        for number in range(1500):
            stream.publish(state(number))

        async def published() -> bool:
            return stream.waiting == 0

        await until(published)
    with server.client() as client:
        assert 300 <= client.xlen("setu:events") < 600


async def test_closing_publishes_what_waits_and_never_hangs(link: RedisLink, server: RedisServer) -> None:
    async with EventStream(link) as stream:
        stream.publish(state(1))
    with server.client() as client:
        assert client.xlen("setu:events") == 1
    server.hang()
    started = time.monotonic()
    async with EventStream(link) as stream:
        stream.publish(state(2))
    assert time.monotonic() - started < 5.0
