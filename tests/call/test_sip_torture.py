"""What a hostile peer may say to the SIP port while two people talk: Asterisk survives, they do not notice, the next call works."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Running, wait_until
from .sip_torture import CASES, Case, request
from .talking import NEXT_S, talking

pytestmark = pytest.mark.timeout(240)
STRANGER, TRUNK = "127.0.0.9", "127.0.0.2"
WAIT_S = 0.15
TAKEN_FROM_A_TRUNK = frozenset(
    ["clerr", "lwsstart", "baddate", "baddn", "mcl01", "60 kB", "many routes", "spiral", "sdp of streams"],
)
"""INVITEs that Asterisk reads as what they were meant to be, as RFC 4475 allows or, with a length that is wrong (`clerr`, `mcl01`), does
not; to a trunk they are a call, which ends when it is not acknowledged."""


class Peer:
    """A UDP socket at an address of its own; Asterisk answers to the port in Via where that is not told otherwise."""

    def __init__(self, address: str, server: tuple[str, int]) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self._socket.settimeout(WAIT_S)
        self._server = server

    def close(self) -> None:
        self._socket.close()

    def send(self, message: bytes) -> None:
        for start in range(0, max(1, len(message)), 60_000):
            self._socket.sendto(message[start : start + 60_000], self._server)

    def answers(self, call_id: str, wait_s: float = WAIT_S) -> list[str]:
        """Statuses of the answers that came in time."""
        end, statuses = time.monotonic() + wait_s, []
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65_536)
            except TimeoutError:
                break
            if data.startswith(b"SIP/2.0 ") and call_id.encode() in data:
                statuses.append(data[8:11].decode())
        return statuses


@pytest.fixture(params=[STRANGER, TRUNK], ids=["a stranger", "the trunk"])
def peer(request: pytest.FixtureRequest, asterisk_alone: Running) -> Iterator[Peer]:
    telephony = asterisk_alone.loaded.config.telephony
    peer = Peer(request.param, (telephony.bind, telephony.sip_port))
    yield peer
    peer.close()


def alive(peer: Peer) -> bool:
    for _ in range(3):
        call_id = secrets.token_hex(12)
        peer.send(request("OPTIONS sip:1800@example.com SIP/2.0", call_id))
        if peer.answers(call_id, 1.0):
            return True
    return False


async def test_torture(asterisk_alone: Running, phones: Path, peer: Peer) -> None:
    """Every case once, as a stranger and with the address of a trunk, which gets further."""
    wrong: list[str] = []

    def all_cases() -> None:
        for case in CASES:
            call_id = secrets.token_hex(12)
            peer.send(case.make(call_id))
            answered = peer.answers(call_id)
            wrong.extend(f"{case.section} {case.name}: {status}" for status in answered if not allowed(case, status, peer))
            assert alive(peer), f"Asterisk does not answer after {case.section} {case.name}"

    async with talking(asterisk_alone, phones, length_s=25.0) as call:
        await asyncio.to_thread(all_cases)
    call.assert_undisturbed()
    assert not wrong, ", ".join(wrong)
    wait_until(lambda: asterisk_alone.channels() == 0 and asterisk_alone.bridges() == 0, 40, "channels or bridges are left")
    assert "anonymous" not in asterisk_alone.asterisk("pjsip show endpoints")
    async with talking(asterisk_alone, phones / "next", length_s=NEXT_S) as following:
        pass
    following.assert_undisturbed()


def allowed(case: Case, status: str, peer: Peer) -> bool:
    """A trying is no answer yet."""
    if peer.address == TRUNK and case.name in TAKEN_FROM_A_TRUNK:
        return True
    return status == "100" or status[0] in case.classes


def test_the_set_has_every_section_of_the_rfc() -> None:
    sections = {case.section for case in CASES}
    wanted = (
        {f"3.1.1.{n}" for n in range(1, 14)}
        | {f"3.1.2.{n}" for n in range(1, 20)}
        | {f"3.3.{n}" for n in range(1, 16)}
        | {"3.2.1", "3.4.1"}
    )
    assert sections - {"-"} == wanted
