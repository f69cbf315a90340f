"""Telephones of every kind against the real Asterisk: both hear prompts and each other, whatever is spoken on the wire."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from raw_phone import RATE, RawPhone
from tones import has, heard, tone, until_heard

from appliance.phone import wav
from appliance.phone.baresip import Phone
from appliance.phone.phone_events import CallClosed
from appliance.stack.defaults import TRUNK_ADDRESS

from .test_call_control import AGENT_HZ, CALLER_HZ, PITCH_HZ, Gateway, gateway

__all__ = ["gateway"]  # a fixture
pytestmark = pytest.mark.timeout(120)
AFTER_HZ = 2300


@pytest.mark.parametrize(("codec", "name"), [("PCMA", "alaw"), ("PCMU", "ulaw"), ("G722/16000/1", "g722"), ("opus/48000/2", "opus")])
async def test_both_hear_prompts_and_each_other(gateway: Gateway, phones: Path, codec: str, name: str) -> None:
    station = gateway.asterisk.station
    agent_account = replace(station.account_of_agent(), answer_after_s=0.3, codec=codec)
    caller_account = replace(station.account_of_caller("9840012345"), codec=codec)
    async with (
        Phone.start(phones / "agent", station.program, agent_account) as agent,
        Phone.start(phones / "caller", station.program, caller_account) as caller,
    ):
        for phone, pitch_hz in ((agent, AGENT_HZ), (caller, CALLER_HZ)):
            rate = phone.account.rate
            second = 8000 * np.sin(2 * np.pi * pitch_hz * np.arange(rate) / rate)
            microphone = np.tile(np.concatenate((second, np.zeros(rate))), 20)
            wav.write(phone.folder / "silence.wav", microphone.astype(np.int16), rate)  # speech can be mixed into G.711 only
        await caller.dial(gateway.asterisk.loaded.config.telephony.company_number)
        await gateway.reaches("interpreting")
        await gateway.asterisk_until(lambda: gateway.console("pjsip show channelstats").count(name) == 2, f"two channels with {name}")
        await until_heard(phones / "caller", AGENT_HZ)
        await until_heard(phones / "agent", CALLER_HZ)
        await caller.hang_up()
        await agent.wait_for(CallClosed, 15)
        assert (await gateway.over()).outcome == "interpreted"
    assert has(heard(phones / "caller"), PITCH_HZ["greeting"])
    assert has(heard(phones / "agent"), PITCH_HZ["agent_greeting"])


async def test_comfort_noise_ends_nothing_and_speech_after_it_is_heard(gateway: Gateway, phones: Path) -> None:
    station = gateway.asterisk.station
    telephony = gateway.asterisk.loaded.config.telephony
    async with (
        Phone.start(phones / "agent", station.program, station.account_of_agent()) as agent,
        RawPhone(TRUNK_ADDRESS, ("127.0.0.1", telephony.sip_port), "9840012345") as caller,
    ):
        await caller.dial(telephony.company_number)
        await caller.say(np.zeros(RATE, np.int16))
        await gateway.reaches("interpreting")
        await caller.say(np.concatenate((np.zeros(RATE, np.int16), tone(CALLER_HZ))))
        await caller.comfort_noise(3.0)
        assert gateway.states[-1] == "interpreting"
        assert gateway.worker.status()["media_sockets"] == 2
        await caller.say(np.concatenate((tone(AFTER_HZ), np.zeros(RATE, np.int16))))
        for pitch_hz in (CALLER_HZ, AFTER_HZ):
            await until_heard(phones / "agent", pitch_hz, 0.7)
        await agent.hang_up()
        await agent.wait_for(CallClosed, 15)
    assert (await gateway.over()).outcome == "interpreted"


@pytest.mark.parametrize("first_packet", [1, 40_000])
async def test_who_loses_packets_is_heard_whatever_numbers_his_telephone_gives_them(
    gateway: Gateway, phones: Path, first_packet: int
) -> None:
    """ADR 15: to Debian's Asterisk everything that follows a lost packet with a high number looks hopelessly late."""
    station = gateway.asterisk.station
    telephony = gateway.asterisk.loaded.config.telephony
    async with (
        Phone.start(phones / "agent", station.program, station.account_of_agent()) as agent,
        RawPhone(TRUNK_ADDRESS, ("127.0.0.1", telephony.sip_port), "9840012345", first_packet=first_packet) as caller,
    ):
        await caller.dial(telephony.company_number)
        await caller.say(np.zeros(RATE, np.int16), lose_every=10)
        await gateway.reaches("interpreting")
        await caller.say(np.concatenate((tone(CALLER_HZ, 3.0), np.zeros(RATE, np.int16))), lose_every=10)
        await until_heard(phones / "agent", CALLER_HZ, 1.5)
        gateway.interpreters[0].context.unavailable("all models are down")
        await gateway.until(lambda: gateway.worker.status()["media_sockets"] == 0, "the parties are joined")
        await caller.say(np.concatenate((tone(AFTER_HZ, 3.0), np.zeros(RATE, np.int16))), lose_every=10)
        await until_heard(phones / "agent", AFTER_HZ, 1.5)
        await agent.hang_up()
        await agent.wait_for(CallClosed, 15)
    assert (await gateway.over()).outcome == "direct"
