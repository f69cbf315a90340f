"""A telephone: one baresip process, told what to do over its control port.

Its microphone is a file of silence, played without end so that its audio stream never stops; speech is mixed into it on
command. It writes what it sends and what it receives to two WAV files (`recording` reads them while they grow).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from appliance.phone import netstring, wav
from appliance.phone.errors import PhoneDied, PhoneError
from appliance.phone.program import PhoneProgram

LONGEST_CALL_S = 600.0
"""Length of the silence a telephone sends; it hangs up when that has ended."""
TAIL_S = 0.4
"""Silence added to speech: the mixer drops what is left in its buffer when a file ends."""
_START_S = 10.0
_ANSWER_S = 5.0
_QUIT_S = 3.0

_CONFIG = """\
poll_method epoll
sip_listen {address}:{sip_port}
net_interface {address}
call_local_timeout 120
call_max_calls 1
audio_source aufile,{folder}/silence.wav
audio_player aufile,/dev/null
audio_alert aufile,/dev/null
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
audio_buffer 20-160
jitter_buffer_type off
rtp_ports 21000-31998
rtp_timeout 0
ringback_disabled yes
statmode_default off
mixausrc_wish_size 4
mixausrc_fade_packets 1
snd_path {folder}
ctrl_tcp_listen 127.0.0.1:{control_port}
module_path {modules}
module g711.so
module mixausrc.so
module sndfile.so
module aufile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
"""
# Filters run in the order of the modules: speech is mixed in before it is recorded as sent. No jitter buffer: what is
# received is recorded when it arrives, and the recording's own clock is `recording`'s business.


@dataclass(frozen=True, slots=True)
class PhoneAccount:
    user: str
    """User part of its address: a number for a caller, a name for an agent."""
    address: str
    """IP address it binds to."""
    server: str
    """`host:port` of the SIP server."""
    password: str = ""
    registers: bool = False
    answer_after_s: float | None = None
    """Rings so long, then answers; None leaves incoming calls ringing."""
    codec: str = "PCMA"
    """`PCMA`, `PCMU` or a list of them."""


@dataclass(frozen=True, slots=True)
class PhoneEvent:
    at: float = 0.0
    """When it was read, `time.monotonic()`."""


@dataclass(frozen=True, slots=True)
class Registered(PhoneEvent):
    pass


@dataclass(frozen=True, slots=True)
class RegistrationFailed(PhoneEvent):
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IncomingCall(PhoneEvent):
    peer: str = ""
    """SIP address of the one who calls."""


@dataclass(frozen=True, slots=True)
class CallRinging(PhoneEvent):
    pass


@dataclass(frozen=True, slots=True)
class CallEstablished(PhoneEvent):
    peer: str = ""


@dataclass(frozen=True, slots=True)
class CallClosed(PhoneEvent):
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PhoneEnded(PhoneEvent):
    """The process has ended."""


EventT = TypeVar("EventT", bound=PhoneEvent)


def decode_event(message: dict[str, Any]) -> PhoneEvent | None:
    """The event in a message of the control port, None for those that do not matter here."""
    if not message.get("event"):
        return None
    parameter, peer = str(message.get("param", "")), str(message.get("peeruri", ""))
    match message.get("type"):
        case "REGISTER_OK":
            return Registered()
        case "REGISTER_FAIL":
            return RegistrationFailed(reason=parameter)
        case "CALL_INCOMING":
            return IncomingCall(peer=peer)
        case "CALL_RINGING" | "CALL_PROGRESS":
            return CallRinging()
        case "CALL_ESTABLISHED":
            return CallEstablished(peer=peer)
        case "CALL_CLOSED":
            return CallClosed(reason=parameter)
    return None


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

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, folder: Path, program: PhoneProgram, account: PhoneAccount) -> AsyncIterator[Self]:
        """A running telephone, registered when it is to register; quits at the end of the block.

        Args:
            folder: empty or new, in a folder of `program.work_folder()`; gets configuration, log (`baresip.log`) and recordings.

        Raises:
            PhoneError: it does not start or is not let in.
        """
        control_port = _free_port("127.0.0.1")
        _write_configuration(folder, program, account, _free_port(account.address), control_port)
        with (folder / "baresip.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *program.command(folder), cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        phone = cls(folder, account, process)
        try:
            await phone._connect(control_port)
            # Not in its configuration: it would register before anybody listens to what comes of it.
            await phone._command("uanew", _account(account))
            if account.registers:
                await phone._registered()
            yield phone
        finally:
            await phone._stop()

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def dial(self, number: str) -> float:
        """Call a number at the server; returns the time just before the INVITE was asked for (`time.monotonic()`)."""
        asked = time.monotonic()
        await self._command("dial", f"sip:{number}@{self.account.server}")
        return asked

    async def say(self, samples: wav.Samples) -> float:
        """Start to speak (int16, 8 kHz) and return at once; what was being said must have ended.

        Returns:
            The time of the command (`time.monotonic()`); the first sample is sent about 0.1 s later.
        """
        self._speeches += 1
        name = f"said{self._speeches}.wav"
        wav.write(self.folder / name, samples_with_tail(samples))
        asked = time.monotonic()
        await self._command("mixausrc_enc_start", f"aufile {(self.folder / name).resolve()} 100 100")
        return asked

    async def press(self, digits: str) -> None:
        """Send keypad digits (RFC 4733)."""
        await self._command("sndcode", digits)

    async def hang_up(self) -> None:
        await self._command("hangup")

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
            raise PhoneDied(f"the telephone of {self.account.user} has ended", hint=f"see {self.folder / 'baresip.log'}")
        return event

    async def _connect(self, port: int) -> None:
        give_up = time.monotonic() + _START_S
        while True:
            try:
                reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                if not self.alive or time.monotonic() > give_up:
                    raise PhoneError(
                        f"the telephone of {self.account.user} did not start", hint=f"see {self.folder / 'baresip.log'}"
                    ) from None
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
            await self._happened(PhoneEnded())

    async def _take(self, message: dict[str, Any]) -> None:
        if message.get("response"):
            answer = self._answers.pop(str(message.get("token", "")), None)
            if answer is not None and not answer.done():
                if message.get("ok"):
                    answer.set_result(str(message.get("data", "")))
                else:
                    answer.set_exception(PhoneError(f"the telephone of {self.account.user} refused: {message.get('data')}"))
            return
        event = decode_event(message)
        if event is not None:
            await self._happened(event)

    async def _happened(self, event: PhoneEvent) -> None:
        async with self._news:
            self.events.append(replace(event, at=time.monotonic()))
            self._news.notify_all()

    async def _command(self, name: str, parameters: str = "") -> str:
        if self._writer is None or self.seen(PhoneEnded):
            raise PhoneDied(f"the telephone of {self.account.user} has ended", hint=f"see {self.folder / 'baresip.log'}")
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

    return np.concatenate([samples, np.zeros(round(TAIL_S * wav.TELEPHONE_HZ), np.int16)])


def _write_configuration(folder: Path, program: PhoneProgram, account: PhoneAccount, sip_port: int, control_port: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = _CONFIG.format(
        address=account.address, sip_port=sip_port, control_port=control_port, modules=program.modules, folder=folder.resolve()
    )
    (folder / "config").write_text(config)
    (folder / "accounts").write_text("")
    (folder / "contacts").write_text("")
    wav.write_silence(folder / "silence.wav", LONGEST_CALL_S)


def _account(account: PhoneAccount) -> str:
    """As `uanew` takes it."""
    parameters = [f"audio_codecs={account.codec}", f"regint={600 if account.registers else 0}", "ptime=20"]
    if account.password:
        parameters.append(f"auth_pass={account.password}")
    if account.answer_after_s is not None:
        parameters += ["answermode=auto", f"answerdelay={round(1000 * account.answer_after_s)}"]
    return f"<sip:{account.user}@{account.server}>;{';'.join(parameters)}"


def _free_port(address: str) -> int:
    """A port that is free for UDP and TCP at the moment."""
    for _ in range(50):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind((address, 0))
                datagram.bind((address, stream.getsockname()[1]))
            except OSError:
                continue
            return int(stream.getsockname()[1])
    raise PhoneError(f"no free port at {address}")
