"""Call control against the real Asterisk and real telephones; in place of the models an interpreter that speaks in tones."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tone_interpreter import PITCH_HZ, ToneInterpreter
from tones import STEP_S, has, heard, tone, until_heard

from appliance.events import CallEnded, CallStateChanged, Event
from appliance.gateway.access import Credentials
from appliance.gateway.app import create_app
from appliance.gateway.control_line import asterisk_address
from appliance.gateway.interpretation import CallContext
from appliance.gateway.server import WorkerServer, listen
from appliance.gateway.worker import Worker
from appliance.phone.baresip import Phone
from appliance.phone.phone_events import CallClosed, CallEstablished
from appliance.stack.procfile import processes

from .conftest import Running, end

pytestmark = pytest.mark.timeout(120)
CALLER_HZ, AGENT_HZ = 2100, 2600
MUSIC_S = 0.3
"""What is shorter is no music."""
COMPARED = "what Asterisk has was compared with the calls"


class Gateway:
    """A worker in this process, connected to the Asterisk of the test."""

    def __init__(self, asterisk: Running) -> None:
        config = asterisk.loaded.config
        self.asterisk = asterisk
        self.events: list[Event] = []
        self.interpreters: list[ToneInterpreter] = []
        self.worker = Worker(1, config, self.events.append, self._make)
        credentials = Credentials(config.gateway.ari_user, asterisk.loaded.secret(config.gateway.ari_password))
        self.server = WorkerServer(create_app(self._open, credentials, asterisk_address(config)))
        self.listener = listen(config.gateway.host, config.gateway.port)

    async def _make(self, context: CallContext) -> ToneInterpreter:
        self.interpreters.append(ToneInterpreter(context))
        return self.interpreters[-1]

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Worker]:
        yield self.worker

    def console(self, command: str) -> str:
        """What Asterisk's console prints."""
        return self.asterisk.asterisk(command)

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, CallStateChanged)]

    async def until(self, condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
        """For what is known in this process; see `asterisk_until`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"{what} did not happen; states {self.states}, {self.worker.status()}")

    async def asterisk_until(self, condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
        """For what Asterisk is asked: in a thread, for this loop is the worker's, which serves the call."""
        end = time.monotonic() + timeout_s
        while not await asyncio.to_thread(condition):
            if time.monotonic() > end:
                pytest.fail(f"{what} did not happen; states {self.states}, {self.worker.status()}")
            await asyncio.sleep(0.05)

    async def reaches(self, state: str, timeout_s: float = 15.0) -> None:
        await self.until(lambda: state in self.states, state, timeout_s)

    async def over(self) -> CallEnded:
        """The call has ended and neither side has anything left."""
        await self.until(lambda: self.events and isinstance(self.events[-1], CallEnded), "the end of the call", 20)
        status = self.worker.status
        await self.until(
            lambda: not any(status()[key] for key in ("calls", "channels", "bridges", "media_sockets", "call_tasks")), "all released"
        )
        await self.asterisk_until(lambda: self.asterisk.channels() == 0 and self.asterisk.bridges() == 0, "Asterisk's side released")
        ended = self.events[-1]
        assert isinstance(ended, CallEnded)
        return ended


@pytest.fixture
async def gateway(asterisk_alone: Running) -> AsyncIterator[Gateway]:
    gateway = Gateway(asterisk_alone)
    serving = asyncio.create_task(gateway.server.serve(sockets=[gateway.listener]))
    await gateway.until(lambda: gateway.worker.ari.connected, "Asterisk's connection")
    yield gateway
    gateway.server.stop()
    await serving
    gateway.listener.close()


@asynccontextmanager
async def dialled(gateway: Gateway, folder: Path, *, answer_after_s: float = 0.3) -> AsyncIterator[tuple[Phone, Phone]]:
    """The caller, who has dialled, and the agent."""
    station = gateway.asterisk.station
    agent_account = replace(station.account_of_agent(), answer_after_s=answer_after_s)
    async with (
        Phone.start(folder / "agent", station.program, agent_account) as agent,
        Phone.start(folder / "caller", station.program, station.account_of_caller("9840012345")) as caller,
    ):
        await caller.dial(gateway.asterisk.loaded.config.telephony.company_number)
        yield caller, agent


def music(pitches: list[int]) -> list[int]:
    """Lengths, in tenths of a second, of what is heard that is no tone of the test; a tone's begin or end alone may have any pitch."""
    tones = [PITCH_HZ[name] for name in ("greeting", "hold_on", "speak_now")]
    odd = [pitch > 0 and all(abs(pitch - other) > 10 for other in (*tones, AGENT_HZ)) for pitch in pitches]
    lengths = [len(list(stretch)) for strange, stretch in itertools.groupby(odd) if strange]
    return [length for length in lengths if length * STEP_S >= MUSIC_S]


async def test_the_caller_waits_with_music_until_the_agent_answers(gateway: Gateway, phones: Path) -> None:
    async with dialled(gateway, phones, answer_after_s=4.0) as (caller, agent):
        await gateway.reaches("connecting")
        await gateway.reaches("interpreting")
        await until_heard(phones / "caller", PITCH_HZ["speak_now"], 0.5)
        await caller.say(tone(CALLER_HZ))
        await until_heard(phones / "agent", CALLER_HZ)
        await agent.say(tone(AGENT_HZ))
        await until_heard(phones / "caller", AGENT_HZ)
        await caller.hang_up()
        await agent.wait_for(CallClosed, 15)
        assert (await gateway.over()).outcome == "interpreted"
    caller_heard, agent_heard = heard(phones / "caller"), heard(phones / "agent")
    answer = next(place for place, pitch in enumerate(caller_heard) if abs(pitch - AGENT_HZ) <= 10)
    assert sum(music(caller_heard[:answer])) * STEP_S > 1.0, "music while nobody answers"
    assert music(caller_heard[answer:]) == [], "and none after that"
    assert has(caller_heard, PITCH_HZ["greeting"])
    assert has(agent_heard, PITCH_HZ["agent_greeting"])
    assert has(agent_heard, PITCH_HZ["goodbye"])


async def test_key_zero_connects_the_parties_without_us(gateway: Gateway, phones: Path) -> None:
    async with dialled(gateway, phones) as (caller, agent):
        await gateway.reaches("interpreting")
        await until_heard(phones / "agent", PITCH_HZ["agent_greeting"], 0.5)
        await caller.press("0")
        await gateway.reaches("direct")
        await gateway.until(lambda: gateway.worker.status()["media_sockets"] == 0, "media released")
        for phone, pitch, listener in ((caller, CALLER_HZ, "agent"), (agent, AGENT_HZ, "caller")):
            await phone.say(tone(pitch))
            await until_heard(phones / listener, pitch)
        await agent.hang_up()
        await caller.wait_for(CallClosed, 15)
        assert (await gateway.over()).outcome == "direct"
    assert gateway.interpreters[0].keys == ["caller 0"]
    for listener in ("caller", "agent"):
        assert has(heard(phones / listener), PITCH_HZ["direct_bridge"])


async def test_a_lost_interpreter_is_announced_and_the_parties_are_connected(gateway: Gateway, phones: Path) -> None:
    async with dialled(gateway, phones) as (caller, agent):
        await gateway.reaches("interpreting")
        gateway.interpreters[0].context.unavailable("all models are down")
        await gateway.until(lambda: gateway.worker.status()["media_sockets"] == 0, "media released")
        await agent.say(tone(AGENT_HZ))
        await until_heard(phones / "caller", AGENT_HZ)
        await caller.hang_up()
        await agent.wait_for(CallClosed, 15)
        await gateway.over()
    assert has(heard(phones / "caller"), PITCH_HZ["interpretation_lost"])
    assert has(heard(phones / "agent"), PITCH_HZ["interpretation_lost"])


@pytest.mark.parametrize("moment", ["at once", "greeting", "connecting", "agent answers", "interpreting"])
async def test_a_caller_who_hangs_up_leaves_nothing(gateway: Gateway, phones: Path, moment: str) -> None:
    async with dialled(gateway, phones, answer_after_s=0.3 if moment == "interpreting" else 2.5) as (caller, agent):
        if moment == "agent answers":
            await agent.wait_for(CallEstablished, 15)
        elif moment != "at once":
            await gateway.reaches(moment)
        await caller.hang_up()
        await gateway.asterisk_until(lambda: gateway.asterisk.channels() == 0, "channels gone", 15)
        if gateway.events:
            await gateway.over()


async def test_the_control_connection_breaks_in_mid_call(gateway: Gateway, phones: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "appliance.gateway.reconciliation")
    async with dialled(gateway, phones) as (caller, agent):
        await gateway.reaches("interpreting")
        caplog.clear()
        socket = gateway.worker.ari._socket
        assert socket is not None
        await socket.close(1011, "the test")
        await gateway.until(lambda: gateway.worker.ari._socket not in (None, socket), "another connection")
        await gateway.until(lambda: COMPARED in caplog.messages, "the comparison of both sides")
        assert gateway.states[-1] == "interpreting"
        await caller.press("0")
        await gateway.reaches("direct")  # the new connection hears of those who were there before it
        await agent.hang_up()
        await caller.wait_for(CallClosed, 15)
        await gateway.over()


@contextmanager
def started_again(asterisk: Running) -> Iterator[None]:
    command = processes(asterisk.loaded, asterisk.layout, asterisk.programs)["asterisk"]
    process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        end(process)


async def test_asterisk_is_killed_and_comes_back(gateway: Gateway, phones: Path) -> None:
    async with dialled(gateway, phones) as _:
        await gateway.reaches("interpreting")
        os.kill(int((gateway.asterisk.layout.run / "asterisk.pid").read_text()), signal.SIGKILL)
        await gateway.until(lambda: gateway.events and isinstance(gateway.events[-1], CallEnded), "the end of the call", 20)
        await gateway.until(lambda: gateway.worker.status()["call_tasks"] == 0, "the end of its tasks")
    gateway.events.clear()
    with started_again(gateway.asterisk):
        await gateway.until(lambda: gateway.worker.ari.connected, "a new connection", 20)
        await gateway.asterisk_until(lambda: "fully booted" in gateway.console("core waitfullybooted").lower(), "Asterisk's start", 20)
        async with dialled(gateway, phones / "again") as (caller, _):
            await gateway.reaches("interpreting")
            await caller.hang_up()
            assert (await gateway.over()).outcome == "interpreted"
