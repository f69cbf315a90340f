"""Floods of the SIP port while two people talk: INVITE, OPTIONS and REGISTER of strangers by SIPp, and connections that say nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest

from .conftest import Running, wait_until
from .talking import NEXT_S, talking

pytestmark = pytest.mark.timeout(240)
STRANGER = "127.0.0.9"
RATE = 200
"""Requests a second."""
SECONDS = 5
GROWS_MB = 60.0
CONNECTIONS = 300
SCENARIO = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<!DOCTYPE scenario SYSTEM "sipp.dtd">
<scenario name="{method}">
  <send retrans="500">
    <![CDATA[
{method} sip:{user}@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:{user}@[local_ip]:[local_port]>;tag=[pid]x[call_number]
To: <sip:{user}@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 {method}
Contact: <sip:{user}@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Length: 0

    ]]>
  </send>
  <recv response="401" timeout="10000" />
{ack}</scenario>
"""
ACK = """  <send>
    <![CDATA[
ACK sip:{user}@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-1]
From: <sip:{user}@[local_ip]:[local_port]>;tag=[pid]x[call_number]
[last_To:]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

    ]]>
  </send>
"""


def flood(asterisk: Running, folder: Path, method: str, user: str) -> subprocess.CompletedProcess[str]:
    """Requests of one method, each of which must be answered 401."""
    file = folder / f"{method}.xml"
    file.write_text(SCENARIO.format(method=method, user=user, ack=ACK.format(user=user) if method == "INVITE" else ""))
    telephony = asterisk.loaded.config.telephony
    calls = RATE * SECONDS
    options = ["-sf", str(file), "-i", STRANGER, "-r", str(RATE), "-m", str(calls), "-l", str(calls), "-nostdin", "-timeout", "45"]
    command = asterisk.programs.command("sipp", *options, f"{telephony.bind}:{telephony.sip_port}", visible=[folder])
    environment = {**os.environ, "TERM": "dumb"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=folder, stdin=subprocess.DEVNULL, env=environment
    )


async def test_floods_of_strangers(asterisk_alone: Running, phones: Path) -> None:
    process = _asterisk(asterisk_alone)
    before = process.memory_info().rss
    with tempfile.TemporaryDirectory(prefix="setu-sipp-") as place:
        async with talking(asterisk_alone, phones, length_s=4.0 * SECONDS) as call:
            for method, user in (("INVITE", "1800"), ("OPTIONS", "nobody"), ("REGISTER", "agent1")):
                done = await asyncio.to_thread(flood, asterisk_alone, Path(place), method, user)
                assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-500:]
        call.assert_undisturbed()
    assert process.is_running()
    assert (process.memory_info().rss - before) / 1e6 < GROWS_MB
    wait_until(lambda: asterisk_alone.channels() == 0, 10, "channels are left")
    async with talking(asterisk_alone, phones / "next", length_s=NEXT_S) as following:
        pass
    following.assert_undisturbed()


async def test_connections_that_say_nothing(asterisk_alone: Running, phones: Path) -> None:
    """SIP over TCP: opened, half a request sent, and kept."""
    telephony = asterisk_alone.loaded.config.telephony
    held: list[socket.socket] = []

    def crowd() -> None:
        for _ in range(CONNECTIONS):
            held.append(socket.create_connection((telephony.bind, telephony.sip_port), timeout=5, source_address=(STRANGER, 0)))
            held[-1].sendall(b"INVITE sip:1800@example.com SIP/2.0\r\nVia: ")

    try:
        async with talking(asterisk_alone, phones, length_s=4.0) as call:
            await asyncio.to_thread(crowd)
        call.assert_undisturbed()
        async with talking(asterisk_alone, phones / "next", length_s=NEXT_S) as following:
            pass
        following.assert_undisturbed()
    finally:
        for connection in held:
            connection.close()


def _asterisk(running: Running) -> psutil.Process:
    """The process that has the SIP port."""
    port = running.loaded.config.telephony.sip_port
    for found in psutil.net_connections("udp"):
        if found.laddr and found.laddr.port == port and found.pid:
            return psutil.Process(found.pid)
    raise AssertionError("nobody has the SIP port")
