"""A party whose audio has stopped: its media channel is made anew, in a whole call over a miniature Asterisk."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from test_ari_calls import Stage

from appliance.gateway import leg_watchdog
from appliance.telephony.media import FRAME_BYTES


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    serving = asyncio.create_task(stage.server.serve(sockets=[stage.listener]))
    await stage.until(lambda: stage.server.started)
    await stage.asterisk.dial()
    await stage.until(lambda: stage.worker.ari.connected)
    yield stage
    stage.server.stop()
    await asyncio.sleep(0)
    await stage.asterisk.close()
    await asyncio.wait_for(serving, 10)
    stage.listener.close()


def media(stage: Stage, party: str) -> list[str]:
    """The party's media channels that there are."""
    return [channel for channel in stage.asterisk.channels if f"-{party}-media" in channel]


async def rebuilt(stage: Stage, party: str, times: int = 1) -> None:
    await stage.until(lambda: stage.told.count(f"rewire {party}") == times, "another media channel")
    await stage.until(lambda: len(media(stage, party)) == 1, "the old media channel gone")
    await helped(stage)


async def helped(stage: Stage) -> None:
    """What is done about silence has been done: until then it is not heard of again."""
    await stage.until(lambda: not any(call._actions._watchdog._busy for call in stage.worker.calls.values()), "the end of the help")


@pytest.mark.parametrize("party", ["caller", "agent"])
async def test_a_leg_without_audio_gets_a_new_media_channel_and_the_call_goes_on(stage: Stage, party: str) -> None:
    caller = await stage.interpreting()
    (before,) = media(stage, party)
    context = stage.interpreters[-1].context
    context.silent(party, 2.0)
    await rebuilt(stage, party)
    (after,) = media(stage, party)
    assert after != before
    mine = caller if party == "caller" else stage.asterisk.agent()
    assert {mine, after} in stage.asterisk.bridges.values(), "in the party's bridge, and the old one is not"
    stage.interpreters[-1]._legs[party].send(bytes(FRAME_BYTES))
    peer = stage.asterisk.media[after]
    await stage.until(lambda: len(peer.received) >= FRAME_BYTES, "what is played goes there")
    assert stage.states[-1] == "interpreting"
    assert stage.worker.status()["media_sockets"] == 2
    await stage.asterisk.hang_up(caller)
    assert (await stage.over()).outcome == "interpreted"


async def test_a_telephone_that_sends_nothing_is_left_alone_after_the_first_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leg_watchdog, "_SENDS_S", 0.01)
    caller = await stage.interpreting()
    context = stage.interpreters[-1].context
    for seconds in (2.0, 4.0, 6.0, 8.0):
        context.silent("caller", seconds)
        await rebuilt(stage, "caller")
    assert stage.told.count("rewire caller") == 1
    assert stage.states[-1] == "interpreting"
    await stage.asterisk.hang_up(caller)
    await stage.over()


async def test_an_agent_who_stays_silent_costs_two_channels_however_long_the_call(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell whether his telephone sends: his channel is a Local one."""
    monkeypatch.setattr(leg_watchdog, "AGAIN_AFTER_S", 0.05)
    caller = await stage.interpreting()
    context = stage.interpreters[-1].context
    for turn, seconds in enumerate((2.0, 4.0), 1):
        context.silent("agent", seconds)
        await rebuilt(stage, "agent", turn)
    await asyncio.sleep(0.1)
    for seconds in (6.0, 8.0):
        context.silent("agent", seconds)
        await asyncio.sleep(0.1)
    assert stage.told.count("rewire agent") == 2
    await asyncio.sleep(0.1)
    context.silent("agent", 0.05)  # he has spoken since, and stopped again
    await rebuilt(stage, "agent", 3)
    for turn in (4, 5):  # by now its channels have names that were used before
        await asyncio.sleep(0.1)
        context.silent("agent", 0.05)
        await rebuilt(stage, "agent", turn)
    assert stage.states[-1] == "interpreting"
    await stage.asterisk.hang_up(caller)
    await stage.over()


async def test_audio_that_reaches_asterisk_and_not_us_joins_the_parties_after_two_attempts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leg_watchdog, "_SENDS_S", 0.01)
    caller = await stage.interpreting()
    stage.asterisk.sending.add(caller)
    context = stage.interpreters[-1].context
    context.silent("caller", 2.0)
    await rebuilt(stage, "caller")
    context.silent("caller", 4.0)
    await rebuilt(stage, "caller", 2)
    context.silent("caller", 6.0)
    await stage.state("direct")
    assert "say agent interpretation_lost" in stage.told
    await stage.joined(caller, stage.asterisk.agent())
    await stage.until(lambda: not media(stage, "caller"), "its media channel gone")
    await stage.asterisk.hang_up(caller)
    assert (await stage.over()).outcome == "direct"


async def test_a_channel_that_cannot_be_made_costs_the_old_one_nothing_and_in_the_end_joins_the_parties(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leg_watchdog, "REBUILD_TIMEOUT_S", 0.2)
    caller = await stage.interpreting()
    before = media(stage, "agent")
    stage.asterisk.media_sockets = False
    context = stage.interpreters[-1].context
    context.silent("agent", 2.0)
    await asyncio.sleep(0.1)  # it is being helped
    await helped(stage)
    await stage.until(lambda: media(stage, "agent") == before, "what was half made is gone")
    assert stage.states[-1] == "interpreting"
    assert stage.worker.status()["media_expected"] == 0
    context.silent("agent", 4.0)
    await stage.state("direct")
    await stage.asterisk.hang_up(caller)
    await stage.over()


async def test_a_socket_that_closes_after_it_was_made_anew_is_still_noticed(stage: Stage) -> None:
    await stage.interpreting()
    stage.interpreters[-1].context.silent("caller", 2.0)
    await rebuilt(stage, "caller")
    await stage.asterisk.media[media(stage, "caller")[0]].socket.close()
    await stage.state("direct")
    await stage.asterisk.hang_up(next(iter(stage.worker.calls.values())).names.channels["caller"])
    await stage.over()
