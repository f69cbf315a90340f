"""Whole calls through the real application, as they should go: a miniature Asterisk, a stub in place of the interpreter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from call_stage import Stage, open_stage
from stalls import Stalls

from appliance.events import LanguageDecided
from appliance.gateway import call_actions
from appliance.telemetry import metrics


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as stage:
        yield stage


async def test_a_call_from_the_first_ring_to_the_goodbye(stage: Stage) -> None:
    with Stalls() as stalls:
        began = time.monotonic()
        caller = await stage.asterisk.caller_dials()
        await stage.until(lambda: any(peer.received for peer in stage.asterisk.media.values()), "greeting audio")
        assert stalls.took_s(began, time.monotonic()) < 0.5
    await stage.state("connecting")
    await stage.until(lambda: stage.asterisk.channels[caller].music, "music on hold")
    agent = await stage.asterisk.agent_answers()
    await stage.state("interpreting")
    await stage.until(lambda: not stage.asterisk.channels[caller].music, "no music any more")
    media = [channel for channel in stage.asterisk.channels if channel.endswith("-media")]
    assert sorted(map(sorted, stage.asterisk.bridges.values())) == sorted(
        [sorted([caller, *[name for name in media if "caller" in name]]), sorted([agent, *[name for name in media if "agent" in name]])]
    )
    await stage.asterisk.digit(caller, "*")
    await stage.asterisk.hang_up(agent)
    ended = await stage.over()
    assert ended.outcome == "interpreted"
    assert ended.reason == "agent hung up"
    assert caller not in stage.asterisk.channels
    assert stage.states == ["greeting", "connecting", "interpreting", "closing", "ended"]
    assert stage.told == [
        "attach caller",
        "say caller greeting",
        "say caller hold_on",
        "attach agent",
        "start",
        "say agent agent_greeting",
        "say caller speak_now",
        "key caller *",
        "say caller goodbye",
    ]


async def test_the_call_to_the_agents(stage: Stage) -> None:
    await stage.asterisk.caller_dials("98400\r\n<12345>")
    await stage.until(lambda: any(channel.endswith("-agent") for channel in stage.asterisk.channels))
    query = stage.asterisk.requests[-1].query if stage.asterisk.requests[-1].uri == "channels" else {}
    query = query or next(request.query for request in stage.asterisk.requests if request.uri == "channels" and request.method == "POST")
    assert query["endpoint"] == "Local/it@agents"
    assert query["formats"] == "slin16"
    assert query["timeout"] == "5"
    assert query["callerId"] == '"1800" <9840012345>'
    assert query["appArgs"] == f"agent,{next(iter(stage.worker.calls))}"


@pytest.mark.parametrize("when", ["ringing", "greeting", "connecting", "agent-leg", "interpreting", "closing", "direct"])
async def test_a_caller_who_hangs_up_leaves_nothing(stage: Stage, when: str) -> None:
    stage.prepare = lambda interpreter: interpreter.hold.update({"greeting": asyncio.Event()} if when == "greeting" else {})
    if when == "ringing":
        stage.asterisk.media_sockets = False
    if when in ("interpreting", "closing", "direct"):
        caller = await stage.interpreting()
        if when == "closing":
            stage.interpreters[0].hold["goodbye"] = asyncio.Event()
            await stage.asterisk.hang_up(stage.asterisk.agent())
            await stage.state("closing")
        if when == "direct":
            await stage.asterisk.digit(caller, "0")
            await stage.until(lambda: stage.worker.status()["media_sockets"] == 0, "media released")
    else:
        caller = await stage.asterisk.caller_dials()
        if when == "ringing":
            await stage.until(lambda: stage.worker.gate.waiting, "a leg being opened")
        elif when == "greeting":
            await stage.until(lambda: "say caller greeting" in (stage.told if stage.interpreters else []))
        else:
            await stage.state("connecting")
        if when == "agent-leg":
            stage.asterisk.media_sockets = False
            await stage.asterisk.agent_answers()
            await stage.until(lambda: any(name.endswith("-agent-media") for name in stage.asterisk.channels), "the agent's leg")
    await stage.asterisk.hang_up(caller)
    if when in ("interpreting", "closing"):
        await stage.state("closing")
    ended = await stage.over()
    assert ended.outcome == {"interpreting": "interpreted", "closing": "interpreted", "direct": "direct"}.get(when, "caller_gone")
    assert not stage.asterisk.channels


async def test_nobody_answers(stage: Stage) -> None:
    caller = await stage.asterisk.caller_dials()
    await stage.state("connecting")
    await stage.asterisk.hang_up(stage.asterisk.agent(), 19, "User alerting, no answer")
    ended = await stage.over()
    assert (ended.outcome, ended.reason) == ("no_agent", "User alerting, no answer")
    assert stage.told[-2:] == ["say caller no_agent", "say caller goodbye"]
    assert caller not in stage.asterisk.channels


async def test_asterisk_that_never_ends_the_ringing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_actions, "RING_GRACE_S", -4.8)
    await stage.asterisk.caller_dials()
    assert (await stage.over()).outcome == "no_agent"
    assert not stage.asterisk.channels


async def test_key_zero_joins_the_parties(stage: Stage) -> None:
    caller = await stage.interpreting()
    agent = stage.asterisk.agent()
    await stage.asterisk.digit(agent, "0")
    await stage.until(lambda: stage.interpreters[0].stopped)
    await stage.until(lambda: len(stage.asterisk.bridges) == 1 and not stage.asterisk.media, "one bridge, no media")
    assert list(stage.asterisk.bridges.values()) == [{caller, agent}]
    await stage.asterisk.hang_up(agent)
    assert (await stage.over()).outcome == "direct"


async def test_same_language_is_joined_by_policy(stage: Stage) -> None:
    await stage.interpreting()
    context = stage.interpreters[0].context
    decided = LanguageDecided(call_id=context.call_id, at=0.0, language="hi", confidence=0.9, after_s=1.0, votes=[], how="votes")
    context.publish(decided)
    await stage.state("direct")
    assert decided in stage.events
    await stage.until(lambda: {"say caller direct_bridge", "say agent direct_bridge"} <= set(stage.told), "both are told")


@pytest.mark.parametrize("how", ["default", "memory"])
async def test_what_nobody_said_in_this_call_joins_nobody(stage: Stage, how: str) -> None:
    await stage.interpreting()
    context = stage.interpreters[0].context
    context.publish(LanguageDecided(call_id=context.call_id, at=0.0, language="hi", confidence=0.9, after_s=1.0, votes=[], how=how))  # type: ignore[arg-type]
    await stage.asterisk.hang_up(stage.asterisk.agent())
    assert (await stage.over()).outcome == "interpreted"
    assert "direct" not in stage.states


async def test_more_calls_than_allowed_are_refused(stage: Stage) -> None:
    callers = [await stage.asterisk.caller_dials() for _ in range(3)]
    await stage.until(lambda: stage.asterisk.in_dialplan)
    assert stage.asterisk.in_dialplan == [(callers[2], "full")]
    assert len(stage.worker.calls) == 2


async def test_a_flood_of_digits_is_bounded(stage: Stage) -> None:
    caller = await stage.interpreting()
    call = next(iter(stage.worker.calls.values()))
    channel = stage.asterisk.channels[caller]
    for _ in range(2_000):
        await stage.asterisk.event("ChannelDtmfReceived", channel, digit="5")
    await stage.asterisk.hang_up(caller)
    assert call.tasks < 20
    assert (await stage.over()).outcome == "interpreted"


async def test_a_full_worker_says_so_and_counts_who_asks_for_a_call(stage: Stage) -> None:
    def refused() -> float:
        return metrics.REGISTRY.get_sample_value("setu_calls_refused_total", {"reason": "full"}) or 0.0

    before = refused()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stage.port}", trust_env=False) as http:
        assert (await http.get("/health", params={"call": "1"})).json()["status"] == "ready"
        for _ in range(2):
            await stage.asterisk.caller_dials()
        await stage.until(lambda: len(stage.worker.calls) == 2)
        for query in ({}, {"call": "1"}):
            answer = await http.get("/health", params=query)
            assert (answer.status_code, answer.json()["status"]) == (503, "full")
    assert refused() - before == 1, "who only looks is not refused"
