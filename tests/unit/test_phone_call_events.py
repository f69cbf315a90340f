"""The events of one call are picked out of the stream of all calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from appliance.events import CallEnded, CallStarted, CallStateChanged, Event
from appliance.phone.call_events import CallEvents


def started(call: str, number: str) -> CallStarted:
    return CallStarted(call_id=call, at=0.0, caller_number=number, called_number="1800", worker="gateway-1")


def state(call: str, name: str) -> CallStateChanged:
    return CallStateChanged(call_id=call, at=0.0, state=name)


class Stream:
    """A stream that other calls share."""

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.since = ""

    async def read(self, since: str) -> AsyncIterator[tuple[str, Event]]:
        self.since = since
        for number, event in enumerate(self.events):
            yield f"{number}-0", event
        await asyncio.Event().wait()


async def test_only_the_call_of_this_number_is_told() -> None:
    ended = CallEnded(call_id="mine", at=1.0, outcome="interpreted", reason="", duration_s=3.0)
    stream = Stream(
        state("mine", "early"), started("other", "1"), started("mine", "98"), state("other", "x"), state("mine", "greeting"), ended
    )
    told: list[Event] = []
    async with CallEvents(stream.read, "98", told.append) as events:
        assert await events.wait_until(lambda received: any(isinstance(item.event, CallEnded) for item in received), 2)
    assert told == [started("mine", "98"), state("mine", "greeting"), ended]
    assert [item.event for item in events.received] == told
    assert events.call_id == "mine"
    assert stream.since.endswith("-0"), "nothing of before is read"
    assert int(stream.since[:-2]) > 1_700_000_000_000


async def test_a_second_call_of_the_same_number_is_another_call() -> None:
    stream = Stream(started("first", "98"), started("second", "98"), state("second", "greeting"), state("first", "greeting"))
    async with CallEvents(stream.read, "98") as events:
        assert await events.wait_until(lambda received: len(received) == 2, 2)
    assert {item.event.call_id for item in events.received} == {"first"}


async def test_waiting_for_what_does_not_come_ends() -> None:
    async with CallEvents(None, "98") as events:
        assert not await events.wait_until(lambda received: bool(received), 0.05)
