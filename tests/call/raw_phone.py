"""A telephone made of two sockets, for what no ordinary one can be made to do: comfort noise (RFC 3389) in place of silence, packets
that are lost on purpose, sequence numbers of one's choice."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import struct
import time
from collections.abc import Sequence

import numpy as np

from appliance.audio import g711

RATE = 8000
FRAME = 160
ULAW, COMFORT_NOISE = 0, 13


class RawPhone:
    """A caller behind the trunk. Use as `async with`: hangs up in the end.

    Args:
        address: of the trunk.
        server: host and port.
        first_packet: sequence number it begins with.
    """

    def __init__(self, address: str, server: tuple[str, int], number: str, *, first_packet: int = 1) -> None:
        self._sip, self._rtp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for each in (self._sip, self._rtp):
            each.bind((address, 0))
            each.setblocking(False)
        self._server = server
        self._here = f"{address}:{self._sip.getsockname()[1]}"
        self._from = f"<sip:{number}@{self._here}>;tag={secrets.token_hex(4)}"
        self._call = secrets.token_hex(8)
        self._to = ""
        self._far: tuple[str, int] | None = None
        self._sequence, self._timestamp, self._source = first_packet, 0, secrets.randbits(32)

    async def __aenter__(self) -> RawPhone:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._to:
            await self._send("BYE", 2)
        self._sip.close()
        self._rtp.close()

    async def dial(self, number: str) -> None:
        """Returns when the call is answered; comfort noise is agreed upon."""
        self._number = number
        self._to = f"<sip:{number}@{self._server[0]}:{self._server[1]}>"
        host, port = self._rtp.getsockname()
        media = f"m=audio {port} RTP/AVP {ULAW} {COMFORT_NOISE} 101\r\n"
        maps = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
        body = f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n{media}{maps}"
        await self._send("INVITE", 1, body)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            while True:
                answer = (await loop.sock_recv(self._sip, 65_535)).decode()
                status = int(answer.split()[1]) if answer.startswith("SIP/2.0") else 0
                assert status < 300, answer
                if status == 200:
                    break
        to = re.search(r"^To: (.*?)\r$", answer, re.MULTILINE)
        target = re.search(r"^c=IN IP4 (\S+).*?^m=audio (\d+)", answer, re.MULTILINE | re.DOTALL)
        assert to is not None
        assert target is not None
        self._to = to[1]
        self._far = (target[1], int(target[2]))
        await self._send("ACK", 1)

    async def say(self, samples: np.ndarray, lose_every: int = 0) -> None:
        """Speech (int16, 8 kHz) in packets of 20 ms, in real time; one in so many is lost on the way."""
        packets = [(ULAW, g711.encode(samples[place : place + FRAME]).tobytes()) for place in range(0, len(samples) - FRAME + 1, FRAME)]
        await self._stream(packets, lose_every)

    async def comfort_noise(self, seconds: float, every: int = 5, level_db: int = 60) -> None:
        """Nothing but a packet now and then that says how loud the silence is (-dBov)."""
        count = round(seconds * RATE / FRAME)
        await self._stream([(COMFORT_NOISE, bytes([level_db])) if number % every == 0 else None for number in range(count)])

    async def _stream(self, packets: Sequence[tuple[int, bytes] | None], lose_every: int = 0) -> None:
        assert self._far is not None
        due = time.monotonic()
        for place, packet in enumerate(packets, 1):
            if packet is not None and lose_every and place % lose_every == 0:
                self._sequence += 1
            elif packet is not None:
                kind, payload = packet
                header = struct.pack("!BBHII", 0x80, kind, self._sequence & 0xFFFF, self._timestamp & 0xFFFFFFFF, self._source)
                self._rtp.sendto(header + payload, self._far)
                self._sequence += 1
            self._timestamp += FRAME
            due += FRAME / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _send(self, method: str, number: int, body: str = "") -> None:
        lines = [
            f"{method} sip:{self._number}@{self._server[0]}:{self._server[1]} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._here};branch=z9hG4bK{secrets.token_hex(6)};rport",
            "Max-Forwards: 70",
            f"From: {self._from}",
            f"To: {self._to}",
            f"Call-ID: {self._call}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:caller@{self._here}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self._sip.sendto(("\r\n".join(lines) + "\r\n\r\n" + body).encode(), self._server)
