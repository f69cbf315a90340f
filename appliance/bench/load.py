"""The load generator: an Asterisk with as many calls as asked for, whose parties speak in turn."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.bench import wire
from appliance.bench.asterisk_side import (
    FRAME_BYTES,
    AgentsCalled,
    AsteriskSide,
    CloseMedia,
    Effect,
    OpenMedia,
    Send,
    ToDialplan,
    basic,
    mark_processed,
    media_mark,
    media_start,
)
from appliance.bench.errors import BenchError
from appliance.bench.line import FRAME_S, Clip, PlayOut, Talk
from appliance.events import LaneName, Party

SLOTS = 10
"""Legs are spread over this many instants of a frame: Asterisk's calls do not all tick at once either."""
ANSWER_S = 0.2
"""How long the agents' telephones ring."""
PROMPTS_S = 4.0
"""From the agent's answer to the first word: greetings are over."""
REST_S = 2.0
"""Pause after each party's speech: its translation is heard in it."""
DIAL_EVERY_S = 0.1
LOUD = 4000
"""Sample value that only a translation has: the original voice underneath is 20 dB below it."""
_PROBE = slice(100, 140)
"""Samples of a frame that are looked at: one period of the tone, behind its fade-in."""
_SILENCE = bytes(FRAME_BYTES)
_LANES: dict[Party, LaneName] = {"caller": "caller_to_agent", "agent": "agent_to_caller"}


@dataclass(slots=True)
class Spoken:
    """One utterance: when its end was sent, and when the other party got the first translated audio."""

    call_id: str
    lane: LaneName
    ended_s: float
    heard_s: float | None = None


class Leg:
    """One media socket."""

    def __init__(self, call_id: str, party: Party, clip: Clip, period: int) -> None:
        self.call_id = call_id
        self.party = party
        self.talk = Talk(clip, period)
        self.line = PlayOut()
        self.peer: Leg | None = None
        self.awaited: Spoken | None = None
        """What this party shall hear the translation of."""
        self.wire: wire.Wire | None = None

    def step(self, spoken: list[Spoken]) -> None:
        """Send the next frame."""
        turn = self.talk.next()
        if self.wire is not None:
            self.wire.send(turn.frame)
        if turn.ends_speech and self.peer is not None:
            self.peer.awaited = Spoken(self.call_id, _LANES[self.party], time.monotonic())
            spoken.append(self.peer.awaited)

    def on_message(self, kind: int, payload: bytes) -> None:
        now = time.monotonic()
        if kind == wire.BINARY:
            for place in range(0, len(payload), FRAME_BYTES):
                self.line.take(now)
                if self.awaited is not None and _is_loud(payload[place : place + FRAME_BYTES]):
                    self.awaited.heard_s = now
                    self.awaited = None
        elif kind == wire.TEXT:
            mark = media_mark(payload.decode())
            if mark is not None:
                asyncio.get_running_loop().call_later(self.line.played_in_s(now), self._tell_mark, mark)
        else:
            self.wire = None

    def _tell_mark(self, mark: str) -> None:
        if self.wire is not None:
            self.wire.send(wire.client_frame(wire.TEXT, mark_processed(mark).encode()))


class Load:
    """Calls to one gateway worker. Use as `async with`; a task that breaks makes the next method raise.

    Args:
        clips: of caller and agent.
    """

    def __init__(self, host: str, port: int, user: str, password: str, clips: dict[Party, Clip], application: str = "setu-1") -> None:
        self.legs: dict[str, Leg] = {}
        """By media channel."""
        self.spoken: list[Spoken] = []
        self.turned_away = 0
        """Callers that the gateway sent to the dialplan."""
        self.late_slots = 0
        """Instants at which this generator itself was more than a frame late."""
        self._place = (host, port)
        self._authorization = basic(user, password)
        self._clips = clips
        self._period = len(clips["caller"].speech) + len(clips["agent"].speech) + 2 * round(REST_S / FRAME_S)
        self._asterisk = AsteriskSide(application)
        self._slots: list[list[Leg]] = [[] for _ in range(SLOTS)]
        self._callers: list[str] = []
        self._control: wire.Wire | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None

    async def __aenter__(self) -> Load:
        self._control = await wire.connect(*self._place, f"/ari/{self._asterisk.application}", "ari", self._authorization, self._on_control)
        self._start(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for leg in self.legs.values():
            if leg.wire is not None:
                leg.wire.close()
        if self._control is not None:
            self._control.close()

    @property
    def talking(self) -> int:
        """Legs that take turns."""
        return sum(leg.talk.begun for leg in self.legs.values())

    async def add_calls(self, calls: int) -> None:
        for _ in range(calls):
            self.check()
            caller, effects = self._asterisk.caller_dials(f"9{random.randrange(10**9):09}")  # noqa: S311 - no secret
            self._callers.append(caller)
            self._do(effects)
            await asyncio.sleep(DIAL_EVERY_S)

    def hang_up_all(self) -> None:
        """Every caller hangs up."""
        for leg in self.legs.values():
            leg.talk.stop()
        callers, self._callers = self._callers, []
        for caller in callers:
            self._do(self._asterisk.hang_up(caller))

    def tell(self, text: str) -> None:
        """A message on the control connection that this Asterisk does not know of."""
        self._do([Send(text)])

    def press(self, digit: str) -> None:
        """Every caller presses a key."""
        for caller in self._callers:
            self._do(self._asterisk.digit(caller, digit))

    def check(self) -> None:
        """Raises: BenchError: something of the load has broken."""
        if self._broken is not None:
            raise BenchError(f"the load generator broke: {self._broken!r}") from self._broken

    # Inside

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._broken = task.exception()

    def _on_control(self, kind: int, payload: bytes) -> None:
        if kind == wire.TEXT:
            self._do(self._asterisk.take(payload.decode()))
        elif kind == wire.CLOSE:
            self._control = None
            self._broken = self._broken or BenchError("the gateway closed the control connection")

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(text):
                    if self._control is not None:
                        self._control.send(wire.client_frame(wire.TEXT, text.encode()))
                case OpenMedia():
                    self._start(self._open(effect))
                case CloseMedia(channel):
                    self._close(channel)
                case AgentsCalled(channel):
                    asyncio.get_running_loop().call_later(ANSWER_S, self._answer, channel)
                case ToDialplan():
                    self.turned_away += 1

    def _answer(self, channel: str) -> None:
        self._do(self._asterisk.agent_answers(channel))

    async def _open(self, wanted: OpenMedia) -> None:
        call_id, party = _call_and_party(wanted.channel, self._asterisk.application)
        leg = Leg(call_id, party, self._clips[party], self._period)
        path = f"/media/{self._asterisk.application}?leg={wanted.leg}"
        leg.wire = await wire.connect(*self._place, path, "media", self._authorization, leg.on_message)
        leg.wire.send(wire.client_frame(wire.TEXT, media_start(wanted.channel).encode()))
        self.legs[wanted.channel] = leg
        min(self._slots, key=len).append(leg)
        self._do(self._asterisk.media_opened(wanted))
        other = self.legs.get(wanted.channel.replace("-agent-media", "-caller-media"))
        if party == "agent" and other is not None:
            leg.peer, other.peer = other, leg
            first = round(PROMPTS_S / FRAME_S) + random.randrange(self._period)  # noqa: S311 - calls shall not speak in step
            other.talk.begin(first)
            leg.talk.begin(first + len(self._clips["caller"].speech) + round(REST_S / FRAME_S))

    def _close(self, channel: str) -> None:
        leg = self.legs.pop(channel, None)
        if leg is None:
            return
        for slot in self._slots:
            if leg in slot:
                slot.remove(leg)
        if leg.wire is not None:
            leg.wire.close()

    async def _tick(self) -> None:
        due, number = time.monotonic(), 0
        while True:
            due += FRAME_S / SLOTS
            wait_s = due - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            else:
                self.late_slots += wait_s < -FRAME_S
                await asyncio.sleep(0)
            for leg in self._slots[number % SLOTS]:
                leg.step(self.spoken)
            number += 1


def _is_loud(frame: bytes) -> bool:
    return frame != _SILENCE and max(memoryview(frame).cast("h")[_PROBE], default=0) > LOUD


def _call_and_party(channel: str, application: str) -> tuple[str, Party]:
    """What the gateway has written into the name of a media channel: `APP-CALL-PARTY-media`."""
    name = channel.removeprefix(f"{application}-").removesuffix("-media")
    call_id, _, party = name.rpartition("-")
    if party not in ("caller", "agent"):
        raise BenchError(f"a media channel is called {channel!r}, expected {application}-CALL-(caller|agent)-media")
    return call_id, "caller" if party == "caller" else "agent"
