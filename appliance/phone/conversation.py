"""One call between two telephones that take turns: everything that was said, heard and told, ready to be measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from appliance.events import CallEnded, CallStateChanged, Event, LaneName, Party
from appliance.phone import speech_edges
from appliance.phone.baresip import Phone
from appliance.phone.call_events import CallEvents, Received, Source
from appliance.phone.errors import PhoneDied, PhoneError
from appliance.phone.phone_config import PhoneAccount
from appliance.phone.phone_events import CallClosed, CallEstablished
from appliance.phone.program import PhoneProgram
from appliance.phone.recording import Recorder, Track
from appliance.phone.timeline import Samples
from appliance.phone.turns import TurnWatch
from appliance.phone.wav import TELEPHONE_HZ

LANES: dict[Party, LaneName] = {"caller": "caller_to_agent", "agent": "agent_to_caller"}
LISTENERS: dict[Party, Party] = {"caller": "agent", "agent": "caller"}

ANSWER_S = 10.0
"""For the INVITE to be answered."""
GREETINGS_S = 12.0
"""For prompts to end once both are connected."""
GREETINGS_QUIET_S = 0.6
GOODBYE_S = 5.0
"""For the last events of a call after it was hung up."""
_CONNECTED_S = 2.0
"""From the agent's answer to the first prompt he hears, where nobody tells of it."""
_TICK_S = 0.05
_MIX_DELAY_S = 0.15
"""From the command to speak to its first sample."""


@dataclass(frozen=True)
class Turn:
    """One speech file, said by one party."""

    speaker: Party
    file: Path
    samples: Samples
    """8 kHz."""
    reference: str | None = None
    """What is said in it, where that is known."""
    expected: str | None = None
    """What the other party should hear."""
    values: tuple[str, ...] = ()
    """Slot values as they should be heard."""


@dataclass(frozen=True)
class CallPlan:
    number: str
    """Called number."""
    caller: PhoneAccount
    agent: PhoneAccount
    turns: Sequence[Turn]
    language: str | None = None
    """Language the caller speaks, where that is known; the appliance is not told."""
    ring_s: float = 60.0
    """How long an agent is waited for."""


@dataclass(frozen=True)
class Spoken:
    """A turn that was taken."""

    turn: Turn
    asked_at: float
    """When the telephone was told to speak, `time.monotonic()`."""
    over_at: float
    """When the next party could speak."""


@dataclass
class CallRecord:
    """A call as it went. Times are `time.monotonic()`."""

    plan: CallPlan
    dialled_at: float = 0.0
    answered_at: float | None = None
    connected_at: float | None = None
    """When the agent had answered."""
    ended_at: float = 0.0
    closed_early: str = ""
    """Why the call ended before everything was said; empty when it did not."""
    spoken: list[Spoken] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    tracks: dict[tuple[Party, str], Track] = field(default_factory=dict)
    """By party and direction (`said`, `heard`)."""
    wall_offset: float = 0.0
    """`time.time()` minus `time.monotonic()`."""

    @property
    def call_id(self) -> str:
        return self.received[0].event.call_id if self.received else ""

    @property
    def outcome(self) -> str:
        """As the gateway tells it; otherwise what the telephones saw."""
        ended = [item.event for item in self.received if isinstance(item.event, CallEnded)]
        if ended:
            return ended[-1].outcome
        if self.answered_at is None:
            return "not_answered"
        return "no_agent" if self.connected_at is None else "unknown"


class Watcher(Protocol):
    """Who is told how a call goes, as it goes."""

    def calling(self, plan: CallPlan) -> None: ...

    def connected(self, after_s: float) -> None: ...

    def speaks(self, turn: Turn) -> None: ...

    def told(self, event: Event) -> None: ...


async def hold(plan: CallPlan, program: PhoneProgram, folder: Path, source: Source | None, watcher: Watcher) -> CallRecord:
    """Place the call, let the parties speak in turn, hang up.

    Args:
        folder: for the telephones (`program.work_folder()`).
        source: the events of the gateway; without it a turn ends when the listener's line falls silent.

    Raises:
        PhoneError: a telephone did not start or was not let in; a call that goes badly is no error but a record of it.
    """
    record = CallRecord(plan, wall_offset=time.time() - time.monotonic())
    watcher.calling(plan)
    with Recorder() as recorder:
        async with (
            Phone.start(folder / "agent", program, plan.agent) as agent,
            Phone.start(folder / "caller", program, plan.caller) as caller,
            CallEvents(source, plan.caller.user, watcher.told) as events,
        ):
            phones: dict[Party, Phone] = {"caller": caller, "agent": agent}
            for party in phones:
                recorder.follow(party, folder / party)
            record.dialled_at = await caller.dial(plan.number)
            try:
                await _connect(record, phones, watcher)
                await _greetings_over(recorder, events, told=source is not None)
                await _talk(record, phones, recorder, events, watcher, told=source is not None)
            except _CallOver as over:
                record.closed_early = str(over)
            except PhoneDied as died:
                record.closed_early = died.message
            record.ended_at = time.monotonic()
            await _say_goodbye(phones, events, GOODBYE_S if source else 0.0)
            for party in phones:
                record.tracks[party, "said"] = recorder.track(party, "said")
                record.tracks[party, "heard"] = recorder.track(party, "heard")
            record.received = list(events.received)
    return record


class _CallOver(Exception):
    """The call ended before everything was said."""


async def _connect(record: CallRecord, phones: dict[Party, Phone], watcher: Watcher) -> None:
    record.answered_at = (await _established(phones, "caller", ANSWER_S)).at
    record.connected_at = (await _established(phones, "agent", record.plan.ring_s)).at
    watcher.connected(record.connected_at - record.dialled_at)


async def _established(phones: dict[Party, Phone], party: Party, timeout_s: float) -> CallEstablished:
    waiting = asyncio.ensure_future(phones[party].wait_for(CallEstablished, timeout_s))
    closing = asyncio.ensure_future(phones["caller"].wait_for(CallClosed, timeout_s))
    try:
        await asyncio.wait([waiting, closing], return_when=asyncio.FIRST_COMPLETED)
        if waiting.done() and waiting.exception() is None:
            return waiting.result()
        if closing.done() and closing.exception() is None:
            raise _CallOver(f"closed before the {party} was connected: {closing.result().reason}")
        raise _CallOver(f"the {party} was not connected within {timeout_s:g} s")
    finally:
        for task in (waiting, closing):
            task.cancel()
        await asyncio.gather(waiting, closing, return_exceptions=True)


async def _greetings_over(recorder: Recorder, events: CallEvents, *, told: bool = True) -> None:
    """Wait until the parties are connected and nobody hears a prompt any more."""

    def connected(received: list[Received]) -> bool:
        return any(isinstance(item.event, CallStateChanged) and item.event.state in ("interpreting", "direct") for item in received)

    give_up = time.monotonic() + GREETINGS_S
    await events.wait_until(connected, GREETINGS_S if told else _CONNECTED_S)
    while time.monotonic() < give_up:
        if all(_is_quiet(recorder.heard_until_now(party, GREETINGS_QUIET_S)) for party in ("caller", "agent")):
            return
        await asyncio.sleep(_TICK_S)


async def _talk(
    record: CallRecord, phones: dict[Party, Phone], recorder: Recorder, events: CallEvents, watcher: Watcher, *, told: bool
) -> None:
    for turn in record.plan.turns:
        watcher.speaks(turn)
        seen = len(events.received)
        asked = await phones[turn.speaker].say(turn.samples)
        watch = TurnWatch(LANES[turn.speaker], asked + _MIX_DELAY_S + len(turn.samples) / TELEPHONE_HZ, told)
        over = False
        while not over:
            await asyncio.sleep(_TICK_S)
            for item in events.received[seen:]:
                watch.take(item.event)
            seen = len(events.received)
            quiet = _is_quiet(recorder.heard_until_now(LISTENERS[turn.speaker], 2 * _TICK_S))
            closed = phones["caller"].seen(CallClosed) or phones["agent"].seen(CallClosed)
            over = closed is not None or watch.over(time.monotonic(), listener_quiet=quiet)
        record.spoken.append(Spoken(turn, asked, time.monotonic()))
        if closed is not None:
            raise _CallOver(f"closed while the {turn.speaker} spoke: {closed.reason}")


async def _say_goodbye(phones: dict[Party, Phone], events: CallEvents, events_s: float) -> None:
    try:
        if phones["caller"].seen(CallClosed) is None:
            await phones["caller"].hang_up()
        for phone in phones.values():
            if phone.seen(CallEstablished) is not None:
                await phone.wait_for(CallClosed, GOODBYE_S)
    except (PhoneError, TimeoutError):
        pass  # what was recorded until then is what there is
    await events.wait_until(lambda received: any(isinstance(item.event, CallEnded) for item in received), events_s)


def _is_quiet(samples: Samples) -> bool:
    return not np.any(speech_edges.levels(samples, TELEPHONE_HZ) > speech_edges.SILENCE_DBFS)
