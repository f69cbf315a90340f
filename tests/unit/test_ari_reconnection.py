"""A worker and Asterisk lose each other and find each other again; calls whose worker is gone find another one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from call_stage import Stage, open_stage

from appliance.events import CallEnded, CallStarted
from appliance.gateway import reconciliation
from appliance.gateway import worker as worker_module


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as stage:
        yield stage


async def test_a_short_loss_of_the_control_connection_costs_no_call(stage: Stage) -> None:
    await stage.interpreting()
    await stage.asterisk.drop()
    await stage.until(lambda: not stage.worker.ari.connected)
    await stage.asterisk.dial()
    await stage.until(lambda: stage.asterisk.requests[-1].uri == "bridges", "the comparison")
    assert stage.states[-1] == "interpreting"
    await stage.asterisk.hang_up(stage.asterisk.agent())
    assert (await stage.over()).outcome == "interpreted"


async def test_a_hang_up_missed_while_disconnected_is_found_out(stage: Stage) -> None:
    caller = await stage.interpreting()
    await stage.asterisk.drop()
    await stage.until(lambda: not stage.worker.ari.connected)
    await stage.asterisk.hang_up(caller)
    await stage.asterisk.dial()
    assert (await stage.over()).outcome == "interpreted"


async def test_what_an_earlier_worker_left_is_cleaned_and_its_caller_sent_to_another(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "ORPHAN_WAIT_S", 0.05)
    await stage.asterisk.drop()
    await stage.until(lambda: not stage.worker.ari.connected)
    caller = await stage.asterisk.caller_dials()
    stage.asterisk.bridges = {"setu-1-old-caller": {caller}, "setu-2-of-another": set(), "foreign": set()}
    stage.asterisk.channels |= {
        name: type(stage.asterisk.channels[caller])(name, "WebSocket/x", app)
        for name, app in (("setu-1-old-caller-media", "setu-1"), ("setu-2-x-caller-media", "setu-2"))
    }
    await stage.asterisk.dial()
    await stage.until(lambda: "setu-1-old-caller" not in stage.asterisk.bridges, "the bridge cleaned")
    assert stage.asterisk.in_dialplan == [(caller, "worker-gone")]
    assert set(stage.asterisk.channels) == {caller, "setu-2-x-caller-media"}
    assert set(stage.asterisk.bridges) == {"setu-2-of-another", "foreign"}


async def test_an_asterisk_that_still_boots_is_asked_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "BOOT_RETRY_S", 0.02)
    monkeypatch.setattr(reconciliation, "BOOT_TIMEOUT_S", 0.05)
    monkeypatch.setattr(reconciliation, "ORPHAN_WAIT_S", 0.02)
    await stage.asterisk.drop()
    await stage.until(lambda: not stage.worker.ari.connected)
    stage.asterisk.bridges["setu-1-old-caller"] = set()
    stage.asterisk.requests.clear()
    stage.asterisk.refuse["GET channels"] = 503
    await stage.asterisk.dial()
    await stage.until(lambda: len(stage.asterisk.requests) > 2, "requests while it boots")
    stage.asterisk.refuse.clear()
    stage.asterisk.silent.add("GET channels")
    asked = len(stage.asterisk.requests)
    await stage.until(lambda: len(stage.asterisk.requests) > asked + 1, "requests without answer")
    stage.asterisk.silent.clear()
    await stage.until(lambda: not stage.asterisk.bridges, "the bridge cleaned")


async def test_asterisk_gone_for_good_ends_the_calls(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "LOST_GRACE_S", 0.1)
    await stage.interpreting()
    await stage.asterisk.drop()
    await stage.until(lambda: not stage.worker.calls, "calls ended")
    assert isinstance(stage.events[-1], CallEnded)
    assert stage.interpreters[0].stopped


async def test_a_stopping_worker_hands_its_callers_to_the_dialplan(stage: Stage) -> None:
    caller = await stage.asterisk.caller_dials()
    await stage.state("connecting")
    stage.server.stop()
    await stage.until(lambda: stage.asterisk.in_dialplan, "handed over")
    assert stage.asterisk.in_dialplan == [(caller, "worker-gone")]


GONE = "setu-2-20260102-030405-ab12"


async def test_a_call_left_behind_is_interpreted_again(stage: Stage) -> None:
    stage.asterisk.bridges = {f"{GONE}-caller": set(), f"{GONE}-agent": {f"{GONE}-agent"}}
    caller, agent = await stage.asterisk.call_left_behind(GONE)
    await stage.state("interpreting")
    assert stage.states == ["resuming", "interpreting"]
    await stage.until(lambda: {"start", "say caller speak_now"} <= set(stage.told), "he is asked to speak")
    assert stage.interpreters[0].context.adopted
    (started,) = [event for event in stage.events if isinstance(event, CallStarted)]
    assert (started.call_id, started.called_number, started.worker) == ("20260102-030405-ab12", "1800", "gateway-1")
    prefix = "setu-1-20260102-030405-ab12"
    assert stage.asterisk.bridges == {
        f"{prefix}-caller": {caller, f"{prefix}-caller-media"},
        f"{prefix}-agent": {agent, f"{prefix}-agent-media"},
    }
    assert stage.asterisk.channels[agent].app == "setu-1"
    assert stage.asterisk.channels[caller].variables["setu_call"] == GONE
    await stage.asterisk.hang_up(agent)
    assert (await stage.over()).outcome == "interpreted"


async def test_a_call_left_behind_without_media_is_joined(stage: Stage) -> None:
    stage.asterisk.refuse["POST channels/externalMedia"] = 500
    caller, agent = await stage.asterisk.call_left_behind(GONE)
    await stage.state("direct")
    await stage.joined(caller, agent)
    await stage.asterisk.hang_up(caller)
    assert (await stage.over()).outcome == "direct"


async def test_a_call_left_behind_whose_agent_has_left_ends(stage: Stage) -> None:
    await stage.until(lambda: "GET bridges" in map(str, stage.asterisk.requests), "the comparison of what there was before")
    caller, agent = await stage.asterisk.call_left_behind(GONE)
    stage.asterisk.channels.pop(agent)
    assert (await stage.over()).outcome == "failed"
    assert caller not in stage.asterisk.channels


@pytest.mark.parametrize("name", ["setu-2-x", "setu-2-20269999-030405-ab12", "../../x"])
async def test_a_call_of_no_name_goes_to_the_queue(stage: Stage, name: str) -> None:
    caller, _ = await stage.asterisk.call_left_behind(name)
    await stage.until(lambda: stage.asterisk.in_dialplan)
    assert stage.asterisk.in_dialplan == [(caller, "without-interpreter")]
    assert not stage.worker.calls


async def test_a_full_worker_lets_the_dialplan_join_a_call_left_behind(stage: Stage) -> None:
    for _ in range(2):
        await stage.asterisk.caller_dials()
    await stage.until(lambda: len(stage.worker.calls) == 2)
    caller, _ = await stage.asterisk.call_left_behind(GONE)
    await stage.until(lambda: stage.asterisk.in_dialplan)
    assert stage.asterisk.in_dialplan == [(caller, "worker-gone")]


PUSH, WIPE = "CHANNEL(hangup_handler_push)", "CHANNEL(hangup_handler_wipe)"


async def test_asterisk_knows_what_to_do_should_this_worker_die(stage: Stage) -> None:
    """What the dialplan makes of it is seen in tests/call/test_worker_failures.py."""
    caller = await stage.interpreting()
    call = next(iter(stage.worker.calls.values()))
    channels = stage.asterisk.channels
    name = f"setu-1-{call.call_id}"
    assert channels[caller].variables["setu_call"] == name
    media = channels[f"{name}-caller-media"]
    assert media.variables[PUSH] == f"leg-lost,s,1(1,{channels[caller].name},{name})"
    assert WIPE not in media.variables
    assert stage.worker.status()["direct"] == 0
    await stage.asterisk.digit(caller, "0")
    await stage.until(lambda: stage.worker.status()["media_sockets"] == 0, "joined")
    assert stage.worker.status()["direct"] == 1
    agent = f"{name}-to-agent"
    assert media.variables[WIPE] == "", "whom we have joined, nobody takes apart because we let go of the media and die"
    assert channels[caller].variables[PUSH] == f"party-left,s,1(1,{agent})"
    assert channels[agent].variables[PUSH] == f"party-left,s,1(1,{channels[caller].name})"
    others = [channel for channel in (*channels, *call.names.all_channels) if channel != agent]
    assert not any(channel.startswith(agent) for channel in others), "the dialplan finds a channel by the beginning of its id"
