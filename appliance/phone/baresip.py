"""A telephone: one baresip process, told what to do over its control port.

Its microphone is a file of silence, played without end so that its audio stream never stops; speech is mixed into it on
command. It writes what it sends and what it receives to two WAV files (`recording` reads them while they grow).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from appliance.phone import netstring, wav
from appliance.phone.errors import PhoneDied, PhoneError
from appliance.phone.phone_config import PhoneAccount, free_port, user_agent, write_configuration
from appliance.phone.phone_events import (
    CallClosed,
    CallEstablished,
    CallRinging,
    IncomingCall,
    PhoneEnded,
    PhoneEvent,
    Registered,
    RegistrationFailed,
    decode_event,
)
from appliance.phone.program import PhoneProgram

TAIL_S = 0.4
"""Silence added to speech: the mixer drops what is left in its buffer when a file ends."""
_START_S = 10.0
_ANSWER_S = 10.0
_QUIT_S = 3.0
_STATUS_S = 1.0
"""Between the end of its control connection and that of the process."""
_MIXER_S = 4.0
"""Until the mixer is ready for the next speech after the end of the one before: about 0.8 s as a rule, more on a busy machine."""
_RETRY_S = 0.02

EventT = TypeVar("EventT", bound=PhoneEvent)


class Phone:
    """Use as `async with Phone.start(...) as phone`."""

    def __init__(self, folder: Path, account: PhoneAccount, process: asyncio.subprocess.Process) -> None:
        self.folder = folder
        self.account = account
        self.events: list[PhoneEvent] = []
        """Everything that has happened, in order."""
        self._process = process
        self._news = asyncio.Condition()
        self._answers: dict[str, asyncio.Future[str]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._commands = 0
        self._speeches = 0
        self._said_at = 0.0
        """When what was said last has ended, but for the mixer, `time.monotonic()`."""

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, folder: Path, program: PhoneProgram, account: PhoneAccount) -> AsyncIterator[Self]:
        """A running telephone, registered when it is to register; quits at the end of the block.

        Args:
            folder: empty or new, in a folder of `program.work_folder()`; gets configuration, log (`baresip.log`) and recordings.

        Raises:
            PhoneError: it does not start or is not let in.
        """
        control_port = free_port("127.0.0.1")
        write_configuration(folder, program, account, free_port(account.address), control_port)
        with (folder / "baresip.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *program.command(folder), cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        phone = cls(folder, account, process)
        try:
            await phone._connect(control_port)
            # Not in its configuration: it would register before anybody listens to what comes of it.
            await phone._command("uanew", user_agent(account))
            if account.registers:
                await phone._registered()
            yield phone
        finally:
            await phone._stop()

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def in_call(self) -> bool:
        """Whether a call has been answered and has not ended."""
        return isinstance(self._last_of_call(), CallEstablished)

    async def dial(self, number: str) -> float:
        """Call a number at the server; returns the time just before the INVITE was asked for (`time.monotonic()`)."""
        asked = time.monotonic()
        await self._command("dial", f"sip:{number}@{self.account.server}")
        return asked

    async def say(self, samples: wav.Samples) -> float:
        """Start to speak (int16, 8 kHz) and return at once, but for the rest of what is being said, which is waited for.

        Returns:
            The time of the command (`time.monotonic()`); the first sample is sent about 0.1 s later.

        Raises:
            PhoneError: there is no call; the message tells.
        """
        self._speeches += 1
        name = f"said{self._speeches}.wav"
        wav.write(self.folder / name, samples_with_tail(samples))
        await asyncio.sleep(max(0.0, self._said_at - time.monotonic()))
        while True:
            asked = time.monotonic()
            try:
                await self._command("mixausrc_enc_start", f"aufile {(self.folder / name).resolve()} 100 100")
                break
            except PhoneDied:
                raise
            except PhoneError:
                if not (self.in_call and asked < self._said_at + _MIXER_S):
                    raise
            await asyncio.sleep(_RETRY_S)
        self._said_at = asked + len(samples) / wav.TELEPHONE_HZ
        return asked

    async def press(self, digits: str) -> None:
        """Send keypad digits (RFC 4733)."""
        await self._command("sndcode", digits)

    async def hang_up(self) -> None:
        await self._command("hangupall", "all")  # `hangup` knows no call that has not rung yet

    def seen(self, kind: type[EventT]) -> EventT | None:
        """The first event of a kind that has happened."""
        return next((event for event in self.events if isinstance(event, kind)), None)

    async def wait_for(self, kind: type[EventT], timeout_s: float) -> EventT:
        """The first event of a kind, waited for when it has not happened yet.

        Raises:
            TimeoutError
            PhoneDied: the process ended meanwhile.
        """

        def found() -> bool:
            return self.seen(kind) is not None or self.seen(PhoneEnded) is not None

        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(found)
        event = self.seen(kind)
        if event is None:
            raise self._died()
        return event

    async def _connect(self, port: int) -> None:
        give_up = time.monotonic() + _START_S
        while True:
            try:
                reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                if not self.alive or time.monotonic() > give_up:
                    raise PhoneError(f"the telephone of {self.account.user} did not start", hint=self._see_log) from None
                await asyncio.sleep(0.02)
        self._reading = asyncio.create_task(self._read(reader), name=f"phone-{self.account.user}")

    async def _registered(self) -> None:
        def settled() -> bool:
            return any(isinstance(event, Registered | RegistrationFailed | PhoneEnded) for event in self.events)

        try:
            async with asyncio.timeout(_ANSWER_S), self._news:
                await self._news.wait_for(settled)
        except TimeoutError:
            raise PhoneError(f"{self.account.server} does not answer the registration of {self.account.user}") from None
        if self.seen(Registered) is None:
            failure = self.seen(RegistrationFailed)
            reason = failure.reason if failure else "the telephone has ended"
            raise PhoneError(f"{self.account.server} refused the registration of {self.account.user}: {reason}")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                await self._take(json.loads(await netstring.read(reader)))
        except (asyncio.IncompleteReadError, ConnectionError):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _STATUS_S)
            await self._happened(PhoneEnded(status=self._process.returncode))
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(self._died())

    async def _take(self, message: dict[str, Any]) -> None:
        if message.get("response"):
            answer = self._answers.pop(str(message.get("token", "")), None)
            if answer is not None and not answer.done():
                if message.get("ok"):
                    answer.set_result(str(message.get("data", "")))
                else:
                    refusal = f"the telephone of {self.account.user} refused: {message.get('data')}; {self._state_of_call()}"
                    answer.set_exception(PhoneError(refusal, hint=self._see_log))
            return
        event = decode_event(message)
        if event is not None:
            await self._happened(event)

    async def _happened(self, event: PhoneEvent) -> None:
        async with self._news:
            self.events.append(replace(event, at=time.monotonic()))
            self._news.notify_all()

    def _last_of_call(self) -> PhoneEvent | None:
        kinds = IncomingCall | CallRinging | CallEstablished | CallClosed
        return next((event for event in reversed(self.events) if isinstance(event, kinds)), None)

    def _state_of_call(self) -> str:
        """For a message: most commands are refused for want of a call."""
        match self._last_of_call():
            case None:
                return "it has had no call"
            case CallClosed(at, reason):
                return f"its call ended {time.monotonic() - at:.1f} s ago ({reason or 'no reason given'})"
            case CallEstablished(at):
                return f"its call was answered {time.monotonic() - at:.1f} s ago"
        return "its call is not answered yet"

    def _died(self) -> PhoneDied:
        ended = self.seen(PhoneEnded)
        how = "" if ended is None or ended.status is None else f" with status {ended.status}"
        return PhoneDied(f"the telephone of {self.account.user} has ended{how}; {self._state_of_call()}", hint=self._see_log)

    @property
    def _see_log(self) -> str:
        return f"see {self.folder / 'baresip.log'}"

    async def _command(self, name: str, parameters: str = "") -> str:
        if self._writer is None or self.seen(PhoneEnded):
            raise self._died()
        self._commands += 1
        token = str(self._commands)
        answer = self._answers[token] = asyncio.get_running_loop().create_future()
        message = {"command": name, "params": parameters, "token": token}
        self._writer.write(netstring.pack(json.dumps(message).encode()))
        try:
            return await asyncio.wait_for(answer, _ANSWER_S)
        except TimeoutError:
            raise PhoneError(f"the telephone of {self.account.user} does not answer {name!r}") from None
        finally:
            self._answers.pop(token, None)

    async def _stop(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(PhoneError):
                await self._command("quit")
        try:
            await asyncio.wait_for(self._process.wait(), _QUIT_S if self._writer else 0.1)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()


def samples_with_tail(samples: wav.Samples) -> wav.Samples:
    """Speech as it is given to the mixer."""
    return np.concatenate([samples, np.zeros(round(TAIL_S * wav.TELEPHONE_HZ), np.int16)])
