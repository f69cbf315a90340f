"""Whole calls through the real application: a miniature Asterisk on its WebSockets, a stub in place of the interpreter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from fake_asterisk import PASSWORD, USER, FakeAsterisk, basic
from stub_interpreter import StubInterpreter
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from appliance.config.schema import Config, Gateway, Telephony, Translate
from appliance.events import CallEnded, CallStateChanged, Event, LanguageDecided
from appliance.gateway import call_control
from appliance.gateway import worker as worker_module
from appliance.gateway.access import Credentials
from appliance.gateway.app import create_app
from appliance.gateway.interpretation import CallContext
from appliance.gateway.server import PortTaken, WorkerServer, listen
from appliance.gateway.worker import Worker

CONFIG = Config(gateway=Gateway(max_calls=2), telephony=Telephony(company_number="1800", ring_s=5.0), translate=Translate(policy="direct"))


class Stage:
    """The application on a free port, and everything it told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.interpreters: list[StubInterpreter] = []
        self.prepare: Callable[[StubInterpreter], None] = lambda interpreter: None
        self.worker = Worker(1, CONFIG, self.events.append, self._make)
        self.app = create_app(self._open, Credentials(USER, PASSWORD))
        self.server = WorkerServer(self.app)
        self.listener = listen("127.0.0.1", 0)
        self.port: int = self.listener.getsockname()[1]
        self.asterisk = FakeAsterisk(self.port)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Worker]:
        yield self.worker

    async def _make(self, context: CallContext) -> StubInterpreter:
        interpreter = StubInterpreter(context)
        self.prepare(interpreter)
        self.interpreters.append(interpreter)
        return interpreter

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, CallStateChanged)]

    @property
    def told(self) -> list[str]:
        return self.interpreters[-1].told

    async def until(self, condition: Callable[[], object], what: str = "", timeout_s: float = 3.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"did not happen: {what or condition}; {self.states} {self.worker.status()}"
            await asyncio.sleep(0.005)

    async def state(self, state: str) -> None:
        await self.until(lambda: state in self.states, state)

    async def over(self) -> CallEnded:
        """The call has ended and nothing is left anywhere."""
        await self.until(lambda: self.events and isinstance(self.events[-1], CallEnded), "the end of the call", 5.0)
        status = self.worker.status
        await self.until(lambda: not status()["call_tasks"] and not status()["media_sockets"], "tasks and sockets gone")
        await self.until(lambda: not self.asterisk.media and not self.asterisk.bridges, "Asterisk's side gone")
        assert {key: status()[key] for key in ("calls", "channels", "bridges", "media_expected")} == {
            "calls": 0,
            "channels": 0,
            "bridges": 0,
            "media_expected": 0,
        }
        assert self.interpreters == [] or self.interpreters[-1].stopped
        ended = self.events[-1]
        assert isinstance(ended, CallEnded)
        return ended

    async def interpreting(self) -> str:
        caller = await self.asterisk.caller_dials()
        await self.until(lambda: any(channel.endswith("-agent") for channel in self.asterisk.channels), "a call to the agents")
        await self.asterisk.agent_answers()
        await self.state("interpreting")
        return caller


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


async def test_a_call_from_the_first_ring_to_the_goodbye(stage: Stage) -> None:
    began = time.monotonic()
    caller = await stage.asterisk.caller_dials()
    await stage.until(lambda: any(peer.received for peer in stage.asterisk.media.values()), "greeting audio")
    assert time.monotonic() - began < 0.5
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
    monkeypatch.setattr(call_control, "RING_GRACE_S", -4.8)
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
    await stage.until(lambda: {caller, agent} in stage.asterisk.bridges.values(), "joined")
    await stage.asterisk.hang_up(caller)
    assert (await stage.over()).outcome == "direct"


async def test_a_prompt_that_fails_holds_nothing_up(stage: Stage) -> None:
    stage.prepare = lambda interpreter: setattr(interpreter, "fail", lambda prompt: True)
    await stage.interpreting()
    await stage.asterisk.hang_up(stage.asterisk.agent())
    assert (await stage.over()).outcome == "interpreted"


async def test_without_media_the_caller_goes_to_the_queue(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_control, "LEG_TIMEOUT_S", 0.2)
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
    monkeypatch.setattr(call_control, "LEG_TIMEOUT_S", 0.3)
    caller = await stage.asterisk.caller_dials()
    await stage.state("connecting")
    stage.asterisk.media_sockets = False
    agent = await stage.asterisk.agent_answers()
    await stage.until(lambda: {caller, agent} in stage.asterisk.bridges.values(), "joined")
    assert "say caller interpretation_lost" in stage.told


async def test_media_lost_in_mid_call_joins_the_parties(stage: Stage) -> None:
    caller = await stage.interpreting()
    agent = stage.asterisk.agent()
    peer = next(peer for name, peer in stage.asterisk.media.items() if name.endswith("-caller-media"))
    await peer.socket.close()
    await stage.until(lambda: {caller, agent} in stage.asterisk.bridges.values(), "joined")
    await stage.asterisk.hang_up(agent)
    assert (await stage.over()).outcome == "direct"


async def test_more_calls_than_allowed_go_to_the_queue(stage: Stage) -> None:
    callers = [await stage.asterisk.caller_dials() for _ in range(3)]
    await stage.until(lambda: stage.asterisk.in_dialplan)
    assert stage.asterisk.in_dialplan == [(callers[2], "without-interpreter")]
    assert len(stage.worker.calls) == 2


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


async def test_what_an_earlier_worker_left_is_cleaned_and_its_caller_sent_to_the_queue(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "ORPHAN_WAIT_S", 0.05)
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
    assert stage.asterisk.in_dialplan == [(caller, "without-interpreter")]
    assert set(stage.asterisk.channels) == {caller, "setu-2-x-caller-media"}
    assert set(stage.asterisk.bridges) == {"setu-2-of-another", "foreign"}


async def test_an_asterisk_that_still_boots_is_asked_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "BOOT_RETRY_S", 0.02)
    monkeypatch.setattr(worker_module, "BOOT_TIMEOUT_S", 0.05)
    monkeypatch.setattr(worker_module, "ORPHAN_WAIT_S", 0.02)
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


async def test_a_prompt_to_a_lost_leg_does_not_hold_the_call_up(stage: Stage) -> None:
    stage.prepare = lambda interpreter: interpreter.hold.update({"interpretation_lost": asyncio.Event()})
    await stage.interpreting()
    for peer in list(stage.asterisk.media.values()):
        await peer.socket.close()
    await stage.until(lambda: stage.interpreters[0].stopped, "joined without waiting for the notice", 2.0)


async def test_asterisk_gone_for_good_ends_the_calls(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "LOST_GRACE_S", 0.1)
    await stage.interpreting()
    await stage.asterisk.drop()
    await stage.until(lambda: not stage.worker.calls, "calls ended")
    assert isinstance(stage.events[-1], CallEnded)
    assert stage.interpreters[0].stopped


async def test_a_stopping_worker_hands_waiting_callers_to_the_queue(stage: Stage) -> None:
    caller = await stage.asterisk.caller_dials()
    await stage.state("connecting")
    stage.server.stop()
    await stage.until(lambda: stage.asterisk.in_dialplan, "handed over")
    assert stage.asterisk.in_dialplan == [(caller, "without-interpreter")]


async def test_forged_and_malformed_control_messages_disturb_no_call(stage: Stage) -> None:
    await stage.interpreting()
    stray = '{"type": "StasisStart", "args": ["agent", "no-such-call"], "channel": {"id": "stray"}}'
    for text in ("rubbish", '{"type": "ChannelDestroyed", "channel": {"id": "nobody"}}', '{"type": "RESTResponse"}', stray):
        await stage.asterisk.raw(text)
    await stage.until(lambda: str(stage.asterisk.requests[-1]) == "DELETE channels/stray")
    assert stage.states[-1] == "interpreting"
    assert len(stage.worker.calls) == 1


async def test_a_flood_of_digits_is_bounded(stage: Stage) -> None:
    caller = await stage.interpreting()
    call = next(iter(stage.worker.calls.values()))
    channel = stage.asterisk.channels[caller]
    for _ in range(2_000):
        await stage.asterisk.event("ChannelDtmfReceived", channel, digit="5")
    await stage.asterisk.hang_up(caller)
    assert call.tasks < 20
    assert (await stage.over()).outcome == "interpreted"


@pytest.mark.parametrize(
    ("path", "protocol", "headers"),
    [
        ("/ari/setu-1", "ari", {}),
        ("/ari/setu-1", "ari", basic(password="wrong")),
        ("/ari/setu-1", "ari", basic(user="other")),
        ("/ari/setu-1", "ari", {"Authorization": "Basic !!!"}),
        ("/ari/setu-1", "ari", {"Authorization": basic()["Authorization"].replace("Basic", "Bearer")}),
        ("/ari/setu-1", "media", basic()),
        ("/ari/setu-1", None, basic()),
        ("/ari/setu-2", "ari", basic()),
        ("/media/setu-1", "media", basic(password="")),
        ("/media/setu-1", "ari", basic()),
        ("/media/setu-9", "media", basic()),
    ],
)
async def test_who_is_not_asterisk_is_refused(stage: Stage, path: str, protocol: str | None, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with connect(
            f"{stage.asterisk.url}{path}", subprotocols=[protocol] if protocol else None, additional_headers=headers, proxy=None
        ):
            pass
    assert stage.worker.ari.connected


async def test_media_of_an_unknown_leg_is_closed(stage: Stage) -> None:
    address = f"{stage.asterisk.url}/media/setu-1?leg=x"
    async with connect(address, subprotocols=["media"], additional_headers=basic(), proxy=None) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_what_people_and_monitoring_see(stage: Stage) -> None:
    await stage.interpreting()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stage.port}", trust_env=False) as http:
        assert (await http.get("/health")).status_code == 200
        (call,) = (await http.get("/api/calls")).json()
        assert call["state"] == "interpreting"
        assert call["caller_number"] == "9840012345"
        status = (await http.get("/api/status")).json()
        assert {key: status[key] for key in ("calls", "channels", "bridges", "media_sockets")} == {
            "calls": 1,
            "channels": 4,
            "bridges": 2,
            "media_sockets": 2,
        }
        text = (await http.get("/metrics")).text
        assert "setu_ari_connected 1.0" in text
        assert "setu_legs_active 2.0" in text
        await stage.asterisk.drop()
        await stage.until(lambda: not stage.worker.ari.connected)
        assert (await http.get("/health")).status_code == 503


def test_a_taken_port_is_named_with_its_owner() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(PortTaken, match=r"port \d+ on 127.0.0.1 is taken by .*python.* \(process \d+\)"):
        listen("127.0.0.1", taken.getsockname()[1])
