"""Two real telephones call each other without anything between them: what one sends is what the other receives, at once."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from stalls import Stalls

from appliance.phone import program, speech_edges, wav
from appliance.phone.baresip import Phone
from appliance.phone.errors import PhoneDied, PhoneError
from appliance.phone.phone_config import PhoneAccount
from appliance.phone.phone_events import CallClosed, CallEstablished, IncomingCall
from appliance.phone.program import PhoneProgram, find_program
from appliance.phone.recording import Recorder
from appliance.stack import install

pytestmark = pytest.mark.timeout(60)
RATE = wav.TELEPHONE_HZ
SPEECH_S = 0.8
WAY_S = 0.030
"""There is nothing between two telephones but a packet's way through the kernel."""


@pytest.fixture(scope="module")
def baresip() -> PhoneProgram:
    return find_program(install.programs(lambda line: None))


@pytest.fixture
def folder() -> Iterator[Path]:
    made = program.work_folder()
    yield made
    shutil.rmtree(made)


def sweep(low_hz: float, high_hz: float) -> wav.Samples:
    """A sound whose place in a recording is unmistakable."""
    time_s = np.arange(round(SPEECH_S * RATE)) / RATE
    return (8000 * np.sin(2 * np.pi * (low_hz + (high_hz - low_hz) * time_s / SPEECH_S / 2) * time_s)).astype(np.int16)


def sip_address(folder: Path) -> str:
    """Where the telephone with this folder listens."""
    return next(line.split()[1] for line in (folder / "config").read_text().splitlines() if line.startswith("sip_listen"))


@asynccontextmanager
async def connected(baresip: PhoneProgram, folder: Path) -> AsyncIterator[Phone]:
    """The caller's telephone, in a call with the agent's."""
    async with Phone.start(folder / "agent", baresip, PhoneAccount("agent", "127.0.0.3", "127.0.0.3", answer_after_s=0.0)):
        account = PhoneAccount("98765", "127.0.0.2", sip_address(folder / "agent"))
        async with Phone.start(folder / "caller", baresip, account) as caller:
            await caller.dial("agent")
            await caller.wait_for(CallEstablished, 15)
            yield caller


async def arrived(recorder: Recorder, listener: str, sound: wav.Samples, since_s: float) -> None:
    """Returns when a party has heard all of a sound, or much later."""
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        await asyncio.sleep(0.2)
        heard = recorder.track(listener, "heard").on_clock(since_s, time.monotonic())
        if speech_edges.find(sound, heard, at_least=0.9) is not None:
            return


async def test_what_is_said_at_once_after_another_speech_waits_for_its_end(baresip: PhoneProgram, folder: Path) -> None:
    sounds = [sweep(300, 900), sweep(1500, 700)]
    with Recorder() as recorder:
        async with connected(baresip, folder) as caller:
            recorder.follow("caller", folder / "caller")
            began = time.monotonic()
            first, second = [await caller.say(sound) for sound in sounds]
            recorder.follow("agent", folder / "agent")
            await arrived(recorder, "agent", sounds[1], began)
            said = recorder.track("caller", "said").on_clock(began, time.monotonic())
    assert second - first >= SPEECH_S
    places = [speech_edges.find(sound, said, at_least=0.9) for sound in sounds]
    assert None not in places, "both are said whole"
    assert places == sorted(places)  # type: ignore[type-var]


async def test_a_telephone_without_a_call_says_so(baresip: PhoneProgram, folder: Path) -> None:
    async with connected(baresip, folder) as caller:
        await caller.hang_up()
        await caller.wait_for(CallClosed, 10)
        with pytest.raises(PhoneError, match=r"98765 refused: .*; its call ended \d+\.\d s ago"):
            await caller.say(sweep(300, 900))
    async with Phone.start(folder / "idle", baresip, PhoneAccount("98765", "127.0.0.2", "127.0.0.1:9")) as phone:
        with pytest.raises(PhoneError, match="it has had no call"):
            await phone.say(sweep(300, 900))


async def test_sound_is_sent_and_received_at_the_same_time_on_the_common_clock(baresip: PhoneProgram, folder: Path) -> None:
    sounds = [sweep(300, 900), sweep(1500, 700), sweep(500, 2500)]
    asked: list[tuple[str, float, int]] = []
    with Recorder() as recorder:
        async with Phone.start(folder / "agent", baresip, PhoneAccount("agent", "127.0.0.3", "127.0.0.3", answer_after_s=0.3)) as agent:
            server = sip_address(folder / "agent")
            async with Phone.start(folder / "caller", baresip, PhoneAccount("98765", "127.0.0.2", server)) as caller:
                for name in ("agent", "caller"):
                    recorder.follow(name, folder / name)
                dialled = await caller.dial("agent")
                established = await caller.wait_for(CallEstablished, 15)
                assert 0.3 <= established.at - dialled < 3.0, "the agent answers after the time he was told to wait"
                assert (await agent.wait_for(IncomingCall, 10)).peer.startswith("sip:98765@")
                for number, sound in enumerate(sounds):
                    for name, phone, listener in (("caller", caller, "agent"), ("agent", agent, "caller")):
                        asked.append((name, await phone.say(sound), number))
                        await arrived(recorder, listener, sound, dialled)
                await caller.hang_up()
                await agent.wait_for(CallClosed, 10)
        ended = time.monotonic()
        said = {name: recorder.track(name, "said").on_clock(dialled, ended) for name in ("agent", "caller")}
        heard = {name: recorder.track(name, "heard").on_clock(dialled, ended) for name in ("agent", "caller")}
    ways_s = []
    for speaker, at, number in asked:
        listener = "agent" if speaker == "caller" else "caller"
        sent = speech_edges.find(sounds[number], said[speaker], at_least=0.9)
        received = speech_edges.find(sounds[number], heard[listener], at_least=0.9)
        assert sent is not None, f"{speaker} did not send all of sound {number}"
        assert received is not None, f"{listener} did not receive all of sound {number}"
        assert 0.0 <= sent / RATE - (at - dialled) < SPEECH_S + recorder.slowest_poll_s, "speech begins soon after the command"
        ways_s.append(abs(received - sent) / RATE)
    print(f"seconds on the way: {ways_s}; polls took up to {recorder.slowest_poll_s:.3f} s")
    assert statistics.median(ways_s) < WAY_S
    assert max(ways_s) < WAY_S + recorder.slowest_poll_s


async def test_the_stream_never_stops_while_nobody_speaks(baresip: PhoneProgram, folder: Path) -> None:
    with Stalls() as stalls, Recorder() as recorder:
        async with connected(baresip, folder):
            recorder.follow("agent", folder / "agent")
            async with asyncio.timeout(10):
                while len(before := recorder.track("agent", "heard").samples) < RATE / 4:
                    await asyncio.sleep(0.02)
            began = time.monotonic()
            await asyncio.sleep(2.0)
            after, took_s = recorder.track("agent", "heard"), time.monotonic() - began
            stalled_s = stalls.lost_s(began, began + took_s)
    grown_s = (len(after.samples) - len(before)) / RATE
    assert grown_s == pytest.approx(took_s, abs=0.2 + stalled_s)
    assert np.abs(after.samples).max() <= 8, "A-law has no zero"


def digits(folder: Path) -> str:
    """What a telephone says of digits it was sent."""
    return "".join(line for line in (folder / "baresip.log").read_text(errors="replace").splitlines() if "DTMF" in line)


async def test_keypad_digits_leave_as_events_and_not_as_sound(baresip: PhoneProgram, folder: Path) -> None:
    async with connected(baresip, folder) as caller:
        await caller.press("5")
        give_up = time.monotonic() + 3.0
        while "5" not in digits(folder / "agent") and time.monotonic() < give_up:
            await asyncio.sleep(0.1)
    assert not caller.alive
    assert "5" in digits(folder / "agent")


async def test_a_telephone_that_dies_is_noticed(baresip: PhoneProgram, folder: Path) -> None:
    async with Phone.start(folder / "caller", baresip, PhoneAccount("98765", "127.0.0.2", "127.0.0.1:9")) as phone:
        phone._process.kill()
        with pytest.raises(PhoneDied, match="98765 has ended with status -9"):
            await phone.wait_for(CallEstablished, 15)
        with pytest.raises(PhoneDied):
            await phone.dial("1800")


async def test_a_registration_nobody_answers_is_an_error(baresip: PhoneProgram, folder: Path) -> None:
    account = PhoneAccount("agent9", "127.0.0.3", "127.0.0.1:9", "secret", registers=True)
    with pytest.raises(PhoneError, match="agent9"):
        async with Phone.start(folder / "agent", baresip, account):
            pytest.fail("it must not get so far")
