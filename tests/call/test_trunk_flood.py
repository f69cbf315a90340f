"""What a trunk itself may do to the node, on purpose or not, while two people talk: digits without end, calls without end."""

from __future__ import annotations

import asyncio
import os
import secrets
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import psutil
import pytest
from raw_phone import FRAME, RATE, ULAW, RawPhone
from stalls import Stalls
from tone_interpreter import PITCH_HZ
from tone_stack import ToneStack, tone_stack, two_phones
from tones import tone, until_heard

from appliance.audio import g711
from appliance.phone.baresip import Phone
from appliance.phone.phone_events import CallClosed, CallEstablished
from appliance.phone.recording import Recorder
from appliance.stack.defaults import AGENTS, TRUNK_ADDRESS
from appliance.stack.programs import Programs

from .talking import Talk

pytestmark = pytest.mark.timeout(120)
EVENT = 101
"""Payload type of keypad digits (RFC 4733), as `RawPhone` offers it."""
DIGITS = "123456789*#"
DIGITS_S, PER_S = 3, 100
"""Seconds of digits, and digits a second: many times what a hand can press."""
CALLS_S, CALLS_PER_S = 4, 100
TALK_S = 10.0
GROWS_MB = 60.0
CALLER_HZ, FLOODER_HZ = 2100, 2300
SCENARIO = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<!DOCTYPE scenario SYSTEM "sipp.dtd">
<scenario name="calls">
  <send retrans="500">
    <![CDATA[
INVITE sip:{number}@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:98410[call_number]@[local_ip]:[local_port]>;tag=[pid]x[call_number]
To: <sip:{number}@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:caller@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
    ]]>
  </send>
  <recv response="100" optional="true" />
  <recv response="503" timeout="20000" />
  <send>
    <![CDATA[
ACK sip:{number}@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-3]
From: <sip:98410[call_number]@[local_ip]:[local_port]>;tag=[pid]x[call_number]
[last_To:]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

    ]]>
  </send>
</scenario>
"""


class KeyPhone(RawPhone):
    """One whose keys can be pressed faster than by any hand."""

    async def __aenter__(self) -> Self:
        return self

    async def press(self, digits: str, per_s: float) -> None:
        """Each key begins and ends at once, as far as its packets tell; between them silence, so that it is no dead telephone."""
        assert self._far is not None
        silence = g711.encode(np.zeros(FRAME, np.int16)).tobytes()
        began = spoken = time.monotonic()
        first = self._timestamp
        for number, digit in enumerate(digits):
            event = "0123456789*#".index(digit)
            at = first + round(number * RATE / per_s)  # each key has a time of its own
            for end, duration in ((0, 80), (0x80, 160), (0x80, 160)):
                self._packet(EVENT, struct.pack("!BBH", event, end | 10, duration), at, mark=end == 0)
            while spoken <= time.monotonic():
                self._packet(ULAW, silence, self._timestamp)
                self._timestamp += FRAME
                spoken += FRAME / RATE
            await asyncio.sleep(max(0.0, began + (number + 1) / per_s - time.monotonic()))

    def _packet(self, kind: int, payload: bytes, timestamp: int, *, mark: bool = False) -> None:
        assert self._far is not None
        header = struct.pack("!BBHII", 0x80, kind | 0x80 * mark, self._sequence & 0xFFFF, timestamp & 0xFFFFFFFF, self._source)
        self._rtp.sendto(header + payload, self._far)
        self._sequence += 1


@pytest.fixture
def stack(programs: Programs) -> Iterator[ToneStack]:
    """Full with two calls; it turns others away."""
    with tone_stack(programs, workers=1, edit={"[gateway]\n": '[gateway]\nmax_calls = 2\nwhen_full = "reject"\n'}) as stack:
        yield stack


def sipp(stack: ToneStack, folder: Path) -> subprocess.CompletedProcess[str]:
    """Calls from the trunk's address, each of which must be turned away."""
    file = folder / "calls.xml"
    file.write_text(SCENARIO.format(number=stack.number))
    telephony = stack.loaded.config.telephony
    count = str(CALLS_S * CALLS_PER_S)
    options = ["-sf", str(file), "-i", TRUNK_ADDRESS, "-r", str(CALLS_PER_S), "-m", count, "-l", count, "-nostdin", "-timeout", "45"]
    command = stack.programs.command("sipp", *options, f"{telephony.bind}:{telephony.sip_port}", visible=[folder])
    environment = {**os.environ, "TERM": "dumb"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=folder, stdin=subprocess.DEVNULL, env=environment
    )


def memory_mb(stack: ToneStack) -> dict[str, float]:
    return {name: psutil.Process(stack.running[name].pid).memory_info().rss / 1e6 for name in ("asterisk", "gateway-1")}


async def test_digits_and_calls_without_end_from_the_trunk(stack: ToneStack, phones: Path) -> None:
    too_fast, refused = 'setu_rejected_total{what="too-fast",where="keys"}', 'setu_calls_refused_total{reason="full"}'
    telephones = replace(stack.station, agent=AGENTS[1])
    server = ("127.0.0.1", stack.loaded.config.telephony.sip_port)
    with Stalls() as stalls, Recorder() as recorder, tempfile.TemporaryDirectory(prefix="setu-sipp-") as folder:
        async with two_phones(stack, phones) as (caller, agent):
            for name in ("caller", "agent"):
                recorder.follow(name, phones / name)
            await stack.first_call()
            await until_heard(phones / "agent", PITCH_HZ["agent_greeting"], 0.5)
            async with (
                Phone.start(phones / "second", telephones.program, telephones.account_of_agent()) as second,
                KeyPhone(TRUNK_ADDRESS, server, f"9{secrets.randbelow(10**9):09}") as flooder,
            ):
                await flooder.dial(stack.number)
                await second.wait_for(CallEstablished, 20)
                before, began = memory_mb(stack), time.monotonic()
                talk = Talk(TALK_S)
                await caller.say(tone(CALLER_HZ, TALK_S))
                digits = (DIGITS * (DIGITS_S * PER_S))[: DIGITS_S * PER_S]
                await flooder.press(digits, PER_S)
                dropped = stack.metric(1, too_fast)
                assert dropped > 0, "Asterisk lets some of them through at once, and more than a hand can press"
                done = await asyncio.to_thread(sipp, stack, Path(folder))
                assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-500:]
                assert stack.metric(1, refused) > CALLS_S * CALLS_PER_S / 2, "Asterisk itself turns some away when it is busy"
                assert stack.status(1)["calls"] == 2
                await asyncio.sleep(max(0.0, began + TALK_S + 1.0 - time.monotonic()))
                talk.take(recorder, began)
                talk.stalls = stalls.between(began, time.monotonic())
                grown = {name: now - before[name] for name, now in memory_mb(stack).items()}
                print(f"memory has grown by {grown} MB; {dropped:.0f} digits were too fast, {stack.metric(1, too_fast):.0f} in the end")
                assert max(grown.values()) < GROWS_MB
                talk.assert_undisturbed()
                # Asterisk goes on to hand his digits over for a while, one by one; he is in a call all the same.
                await flooder.say(np.concatenate((tone(FLOODER_HZ, 3.0), np.zeros(RATE, np.int16))))
                await until_heard(phones / "second", FLOODER_HZ)
                await second.hang_up()
            await caller.hang_up()
            await agent.wait_for(CallClosed, 15)
    await asyncio.to_thread(stack.settled)
