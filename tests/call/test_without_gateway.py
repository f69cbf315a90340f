"""No gateway answers: the caller is put through to an agent, and both hear each other as they are."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import numpy as np
import pytest

from appliance.phone import speech_edges, wav
from appliance.phone.baresip import Phone
from appliance.phone.phone_events import CallClosed, CallEstablished
from appliance.phone.recording import Recorder

from .conftest import Running, wait_until

pytestmark = pytest.mark.timeout(120)
RATE = wav.TELEPHONE_HZ
CLOCK_S = 0.010
"""Two recordings agree to half of this on the common clock."""
WAY_S = 0.150
"""Through Asterisk it takes a few packets; now and then a stall of the machine is in it."""


def sweep(low_hz: float, high_hz: float, length_s: float = 1.0) -> wav.Samples:
    time_s = np.arange(round(length_s * RATE)) / RATE
    return (8000 * np.sin(2 * np.pi * (low_hz + (high_hz - low_hz) * time_s / length_s / 2) * time_s)).astype(np.int16)


async def arrived(recorder: Recorder, listener: str, sound: wav.Samples, since_s: float) -> None:
    """Returns when a party has heard a sound, or much later."""
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        await asyncio.sleep(0.3)
        heard = recorder.track(listener, "heard").on_clock(since_s, time.monotonic())
        if speech_edges.find(sound, heard, at_least=0.8) is not None:
            return


async def test_a_dead_gateway_means_no_dead_line(asterisk_alone: Running, phones: Path) -> None:
    telephones = asterisk_alone.station
    program = telephones.program
    sounds = {
        "caller": [sweep(400, 1200), sweep(1500, 2500), sweep(900, 300)],
        "agent": [sweep(2000, 800), sweep(300, 2200), sweep(1200, 1900)],
    }
    agent_phone = Phone.start(phones / "agent", program, telephones.account_of_agent())
    caller_phone = Phone.start(phones / "caller", program, telephones.account_of_caller("9876543210"))
    with Recorder() as recorder:
        async with agent_phone as agent, caller_phone as caller:
            for name in ("agent", "caller"):
                recorder.follow(name, phones / name)
            dialled = await caller.dial("1800")
            await caller.wait_for(CallEstablished, 15)
            await agent.wait_for(CallEstablished, 20)  # after an announcement
            await asyncio.to_thread(wait_until, lambda: asterisk_alone.bridges() == 1, 10, "they are not together")
            for turn in range(len(sounds["caller"])):
                for name, phone, listener in (("caller", caller, "agent"), ("agent", agent, "caller")):
                    await phone.say(sounds[name][turn])
                    await arrived(recorder, listener, sounds[name][turn], dialled)
            await caller.hang_up()
            await agent.wait_for(CallClosed, 15)
        ended = time.monotonic()
        laid = {
            (name, way): recorder.track(name, way).on_clock(dialled, ended) for name in ("agent", "caller") for way in ("said", "heard")
        }
    for speaker, listener in (("caller", "agent"), ("agent", "caller")):
        ways_s = []
        for sound in sounds[speaker]:
            sent = speech_edges.find(sound, laid[speaker, "said"], at_least=0.9)
            received = speech_edges.find(sound, laid[listener, "heard"], at_least=0.8)
            assert sent is not None
            assert received is not None, f"the {listener} does not hear the {speaker}"
            ways_s.append((received - sent) / RATE)
        print(f"seconds from {speaker} to {listener}: {ways_s}; polls took up to {recorder.slowest_poll_s:.3f} s")
        assert -CLOCK_S < statistics.median(ways_s) < WAY_S
        assert -CLOCK_S - recorder.slowest_poll_s < min(ways_s)
    wait_until(lambda: asterisk_alone.channels() == 0 and asterisk_alone.bridges() == 0, 15, "channels or bridges are left")


async def test_a_number_that_is_not_the_companys_is_refused(asterisk_alone: Running, phones: Path) -> None:
    telephones = asterisk_alone.station
    async with Phone.start(phones / "caller", telephones.program, telephones.account_of_caller("9876543210")) as caller:
        await caller.dial("4711")
        closed = await caller.wait_for(CallClosed, 15)
    assert caller.seen(CallEstablished) is None
    assert "404" in closed.reason
