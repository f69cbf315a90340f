"""One interpreted call that both parties talk in, held by a process of its own, which a test tells what else its Asterisk does.

`python running_call.py --config FILE`: requests and answers are one JSON line each on standard input and output; a request is the name
of a method of `Asterisk` with its arguments. In the process of a test the call would be late whenever the test has much to do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from appliance.bench import fixed_engines
from appliance.bench.load import Leg, Load
from appliance.bench.stand import clip
from appliance.config.load import LoadedConfig, load
from appliance.events import Party

BEGIN_S = 60.0
"""To the call's first words, with the start of its process."""
ANSWER_S = 15.0
LINE_BYTES = 1 << 24
"""Events that make no sense may be long."""


class RunningCall:
    """The call, and further ones, as the test sees them. Use as `with`."""

    def __init__(self, loaded: LoadedConfig) -> None:
        self.given_up: set[str] = set()
        """Calls that were robbed of a leg: not everything said in them was heard."""
        command = [sys.executable, __file__, "--config", str(loaded.file)]
        self._command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        self._rest = b""

    def __enter__(self) -> RunningCall:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        try:
            self._answer(BEGIN_S)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def tell(self, text: str) -> None:
        """A message of this Asterisk on the control connection."""
        self._ask("tell", text)

    def press(self, digits: str) -> None:
        """The callers press keys, as fast as they can be told."""
        self._ask("press", digits)

    def dial(self) -> None:
        """One more caller, whatever becomes of him."""
        self._ask("dial")

    def another(self) -> str:
        """One more call, which must reach an agent; its id."""
        before = set(self.legs())
        self.dial()
        end = time.monotonic() + 10
        while len(new := [call_id for channel, (call_id, _) in self.legs().items() if channel not in before]) < 2:
            assert time.monotonic() < end, "a further call does not come about"
            time.sleep(0.05)
        return new[0]

    def legs(self) -> dict[str, tuple[str, Party]]:
        """Call and party by media channel, of every leg there is, oldest first."""
        return {channel: (call_id, party) for channel, (call_id, party) in self._ask("legs").items()}

    def callers(self) -> int:
        """Of all calls that go on."""
        return int(self._ask("callers"))

    def frames(self) -> int:
        """Heard by both parties of the first call so far."""
        return int(self._ask("frames"))

    def unheard(self, before_s: float) -> list[str]:
        """What was said until then (`time.monotonic()`) and never heard in translation: a lane of a call, and when it ended."""
        said = [(call_id, text, heard) for call_id, text, heard in self._ask("said", before_s) if call_id not in self.given_up]
        return [text for _, text, heard in said if not heard]

    def utterances(self, before_s: float) -> int:
        """How many there were."""
        return len(self._ask("said", before_s))

    @contextmanager
    def unread_leg(self, call_id: str, party: Party) -> Iterator[None]:
        """Asterisk goes on to send on this media socket, but reads nothing there, and does not close it when it is told to."""
        self.given_up.add(call_id)
        self._ask("stop_reading_leg", call_id, party)
        try:
            yield
        finally:
            self._ask("cut_legs")

    @contextmanager
    def unread_control(self) -> Iterator[None]:
        """Asterisk tells what happens, but reads no request."""
        self._ask("read_control", False)
        try:
            yield
        finally:
            self._ask("read_control", True)

    def _ask(self, name: str, *arguments: object) -> Any:
        assert self._process.stdin is not None
        data = json.dumps([name, *arguments]).encode() + b"\n"
        while data:
            data = data[self._process.stdin.write(data) :]
        return self._answer(ANSWER_S)

    def _answer(self, timeout_s: float) -> Any:
        assert self._process.stdout is not None
        waiting, end = select.poll(), time.monotonic() + timeout_s
        waiting.register(self._process.stdout, select.POLLIN)
        while b"\n" not in self._rest:
            assert waiting.poll(max(0.0, end - time.monotonic()) * 1000), f"the call's process says nothing for {timeout_s:g} s"
            piece = os.read(self._process.stdout.fileno(), 1 << 20)
            assert piece, "the call's process has ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        answer = json.loads(line)
        assert "failed" not in answer, answer["failed"]
        return answer["answer"]

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # the callers hang up
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


# In the process of the call


class Asterisk:
    """The load generator of the benchmarks, and what it can be made to do besides."""

    def __init__(self, calls: Load) -> None:
        self._calls = calls
        self._first: list[Leg] = []
        self._cut: list[asyncio.Transport] = []

    async def begin(self) -> None:
        await self._calls.add_calls(1)
        while len(self._calls.legs) < 2:
            self._calls.check()
            await asyncio.sleep(0.05)
        self._first = list(self._calls.legs.values())
        await asyncio.sleep(1.0)

    async def tell(self, text: str) -> None:
        self._calls.tell(text)

    async def press(self, digits: str) -> None:
        for digit in digits:
            self._calls.press(digit)

    async def dial(self) -> None:
        await self._calls.add_calls(1)

    async def legs(self) -> dict[str, tuple[str, Party]]:
        return {channel: (leg.call_id, leg.party) for channel, leg in self._calls.legs.items()}

    async def callers(self) -> int:
        return len(self._calls._callers)

    async def frames(self) -> int:
        return sum(leg.line.received for leg in self._first)

    async def said(self, before_s: float) -> list[tuple[str, str, bool]]:
        told = [(item.call_id, f"{item.lane} of {item.call_id}, ended at {item.ended_s:.2f} s", item) for item in self._calls.spoken]
        return [(call_id, text, item.heard_s is not None) for call_id, text, item in told if item.ended_s < before_s]

    async def stop_reading_leg(self, call_id: str, party: Party) -> None:
        channel = next(name for name, leg in self._calls.legs.items() if (leg.call_id, leg.party) == (call_id, party))
        wire = self._calls.legs.pop(channel).wire
        assert wire is not None
        assert wire._transport is not None
        wire._transport.pause_reading()
        self._cut.append(wire._transport)

    async def cut_legs(self) -> None:
        for transport in self._cut:
            transport.abort()
        self._cut.clear()

    async def read_control(self, reads: bool) -> None:
        assert self._calls._control is not None
        transport = self._calls._control._transport
        assert transport is not None
        if reads:
            transport.resume_reading()
        else:
            transport.pause_reading()


def write(**answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def hold(loaded: LoadedConfig) -> None:
    """Until standard input ends."""
    gateway = loaded.config.gateway
    clips: dict[Party, Any] = {"caller": clip(fixed_engines.CALLER.code), "agent": clip("hinglish")}
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with Load(gateway.host, gateway.port, gateway.ari_user, loaded.secret(gateway.ari_password), clips) as calls:
        asterisk = Asterisk(calls)
        await asterisk.begin()
        write(answer=None)
        while line := await reader.readline():
            name, *arguments = json.loads(line)
            try:
                calls.check()
                write(answer=await getattr(asterisk, name)(*arguments))
            except Exception as error:  # noqa: BLE001 - told to the test, which has asked for it
                write(failed=repr(error))
        calls.hang_up_all()
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    uvloop.run(hold(load(parser.parse_args().config)))
