"""Calls that lack something, through the real application: an interpreter, media, an answer of Asterisk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from call_stage import Stage, open_stage
from stub_interpreter import StubInterpreter

from appliance.gateway import call_actions


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as stage:
        yield stage


async def test_an_interpreter_that_gives_up_announces_and_joins(stage: Stage) -> None:
    await stage.interpreting()
    stage.interpreters[0].context.unavailable("all model servers are down")
    await stage.until(lambda: stage.interpreters[0].stopped)
    assert {"say caller interpretation_lost", "say agent interpretation_lost"} <= set(stage.told)
    assert stage.states[-1] == "direct"


async def test_an_interpreter_that_cannot_be_made_still_connects_the_parties(stage: Stage) -> None:
    def refuse(interpreter: StubInterpreter) -> None:
        raise RuntimeError("no models")

    stage.prepare = refuse
    caller = await stage.asterisk.caller_dials()
    await stage.until(lambda: any(channel.endswith("-agent") for channel in stage.asterisk.channels))
    agent = await stage.asterisk.agent_answers()
    await stage.joined(caller, agent)
    await stage.asterisk.hang_up(caller)
    assert (await stage.over()).outcome == "direct"


async def test_a_prompt_that_fails_holds_nothing_up(stage: Stage) -> None:
    stage.prepare = lambda interpreter: setattr(interpreter, "fail", lambda prompt: True)
    await stage.interpreting()
    await stage.asterisk.hang_up(stage.asterisk.agent())
    assert (await stage.over()).outcome == "interpreted"


async def test_without_media_the_caller_goes_to_the_queue(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_actions, "LEG_TIMEOUT_S", 0.2)
    stage.asterisk.media_sockets = False
    caller = await stage.asterisk.caller_dials()
    assert (await stage.over()).outcome == "failed"
    assert stage.asterisk.in_dialplan == [(caller, "without-interpreter")]
    assert list(stage.asterisk.channels) == [caller]


@pytest.mark.parametrize("request_", ["POST bridges", "POST channels/externalMedia", "POST channels/1700000000.1/answer"])
async def test_a_refused_request_sends_the_caller_to_the_queue(stage: Stage, request_: str) -> None:
    stage.asterisk.refuse[request_] = 500
    caller = await stage.asterisk.caller_dials()
    assert (await stage.over()).outcome == "failed"
    assert stage.asterisk.in_dialplan == [(caller, "without-interpreter")]


async def test_without_media_for_the_agent_the_parties_are_joined(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = await stage.asterisk.caller_dials()
    await stage.state("connecting")
    monkeypatch.setattr(call_actions, "LEG_TIMEOUT_S", 0.3)
    stage.asterisk.media_sockets = False
    agent = await stage.asterisk.agent_answers()
    await stage.joined(caller, agent)
    assert "say caller interpretation_lost" in stage.told


async def test_media_lost_in_mid_call_joins_the_parties(stage: Stage) -> None:
    caller = await stage.interpreting()
    agent = stage.asterisk.agent()
    peer = next(peer for name, peer in stage.asterisk.media.items() if name.endswith("-caller-media"))
    await peer.socket.close()
    await stage.joined(caller, agent)
    await stage.asterisk.hang_up(agent)
    assert (await stage.over()).outcome == "direct"


async def test_a_prompt_to_a_lost_leg_does_not_hold_the_call_up(stage: Stage) -> None:
    stage.prepare = lambda interpreter: interpreter.hold.update({"interpretation_lost": asyncio.Event()})
    await stage.interpreting()
    for peer in list(stage.asterisk.media.values()):
        await peer.socket.close()
    await stage.until(lambda: stage.interpreters[0].stopped, "joined without waiting for the notice")
