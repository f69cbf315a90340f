"""A caller made of a few SIP messages: many calls at once, and sight of the very answers."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from typing import Self

TRUNK_ADDRESS = "127.0.0.2"
ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    """By lower-case name; of several with one name the last."""


class _Socket(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[str] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.put_nowait(data.decode(errors="replace"))


@dataclass
class SipCall:
    """One call from the trunk; use as `async with SipCall(server, number) as call`. It sends no audio."""

    server: str
    """`host:port`."""
    number: str
    caller: str = "9840012345"
    final: Answer = field(default_factory=lambda: Answer(0, {}))
    """To the INVITE."""

    async def __aenter__(self) -> Self:
        host, port = self.server.split(":")
        loop = asyncio.get_running_loop()
        self._transport, self._socket = await loop.create_datagram_endpoint(
            _Socket, local_addr=(TRUNK_ADDRESS, 0), remote_addr=(host, int(port))
        )
        self._port = self._transport.get_extra_info("sockname")[1]
        self._id, self._tag, self._to, self._target = secrets.token_hex(8), secrets.token_hex(4), "", f"sip:{self.number}@{self.server}"
        sdp = f"v=0\r\no=- 1 1 IN IP4 {TRUNK_ADDRESS}\r\ns=-\r\nc=IN IP4 {TRUNK_ADDRESS}\r\nt=0 0\r\nm=audio {self._port} RTP/AVP 8\r\n"
        branch = self._send("INVITE", 1, sdp)
        async with asyncio.timeout(ANSWER_S):
            while self.final.status < 200:
                self._take(await self._socket.received.get())
        self._send("ACK", 1, branch="" if self.final.status < 300 else branch)
        return self

    async def __aexit__(self, *_: object) -> None:
        if 200 <= self.final.status < 300:
            self._send("BYE", 2)
            await asyncio.sleep(0.05)
        self._transport.close()

    def _take(self, text: str) -> None:
        first = re.match(r"SIP/2.0 (\d+)", text)
        if first is None:
            return
        headers = {name.strip().lower(): value.strip() for name, value in re.findall(r"^([\w-]+):(.*)$", text, re.MULTILINE)}
        self.final = Answer(int(first.group(1)), headers)
        self._to = headers["to"]
        if self.final.status < 300 and "contact" in headers:
            self._target = headers["contact"].strip("<>").split(">")[0]

    def _send(self, method: str, number: int, body: str = "", branch: str = "") -> str:
        branch = branch or f"z9hG4bK{secrets.token_hex(6)}"
        lines = [
            f"{method} {self._target} SIP/2.0",
            f"Via: SIP/2.0/UDP {TRUNK_ADDRESS}:{self._port};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:{self.caller}@{TRUNK_ADDRESS}>;tag={self._tag}",
            f"To: {self._to or f'<sip:{self.number}@{self.server}>'}",
            f"Call-ID: {self._id}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:{self.caller}@{TRUNK_ADDRESS}:{self._port}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
        self._transport.sendto("\r\n".join(lines).encode())
        return branch
