"""One gateway worker: the calls of one Stasis application, and what Asterisk and the worker know of each other."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from appliance.config.schema import Config
from appliance.events import Event
from appliance.gateway import counting
from appliance.gateway.admission import Admission, Verdict
from appliance.gateway.call_control import CallController
from appliance.gateway.call_services import ADOPT, CallFacts, CallServices, adopted_call, new_call
from appliance.gateway.departures import Departures
from appliance.gateway.interpretation import MakeInterpreter
from appliance.gateway.reconciliation import Reconciliation
from appliance.store.session_state import Session
from appliance.telemetry import metrics
from appliance.telephony import ari_requests as ari
from appliance.telephony.ari_connection import AriConnection
from appliance.telephony.ari_messages import ChannelEvent, StasisStart
from appliance.telephony.media_gate import MediaGate

log = logging.getLogger(__name__)

LOST_GRACE_S = 15.0
"""Calls go on without a control connection this long: Asterisk reconnects within a second unless it is gone."""
STOP_TIMEOUT_S = 5.0


class Worker:
    """Takes the calls that Asterisk hands to `setu-N`.

    Args:
        number: N, from 1.
        publish: told of every event; never waits.
        make_interpreter: called once per call.
    """

    def __init__(self, number: int, config: Config, publish: Callable[[Event], None], make_interpreter: MakeInterpreter) -> None:
        self.number = number
        self.calls: dict[str, CallController] = {}
        self.ended = 0
        """Calls, since the start."""
        self.started_at = time.time()
        self.accepting = True
        """Whether new calls are taken; otherwise they go to the agents' queue."""
        self.drained = False
        """Whether somebody wants no new calls here; those there are go on."""
        self.gate = MediaGate()
        self.ari = AriConnection(self._on_event, on_connected=self._on_connected, on_lost=self._on_lost, counted=counting.ari)
        self.admission = Admission(config.gateway.max_calls)
        self._owners: dict[str, CallController] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls_running: dict[str, asyncio.Task[None]] = {}
        self._lost: asyncio.Task[None] | None = None
        self._services = CallServices(
            worker=number,
            ari=self.ari,
            gate=self.gate,
            make_interpreter=make_interpreter,
            publish=publish,
            fallback=counting.fallback,
            company_number=config.telephony.company_number,
            ring_s=config.telephony.ring_s,
            direct_policy=config.translate.policy == "direct",
        )
        self.app = self._services.app
        self._departures = Departures(self.ari)
        self._reconciliation = Reconciliation(self.ari, self.app, self.calls, self._owners.keys(), counting.fallback)
        metrics.LEGS_ACTIVE.set_function(lambda: len(self.gate.open))

    def session(self, call_id: str) -> Session | None:
        """The present state of a call of this worker."""
        call = self.calls.get(call_id)
        if call is None:
            return None
        held = call.state.held
        return Session(
            call_id=call_id,
            worker=f"gateway-{self.number}",
            state=call.state.phase,
            started_at=call.started_at,
            language=call.language or "",
            chosen=call.chosen,
            channels={role: channel for role, channel in call.names.channels.items() if role in held},
            bridges={role.removesuffix("-bridge"): bridge for role, bridge in call.names.bridges.items() if role in held},
        )

    def status(self) -> dict[str, Any]:
        """What is open right now; all zero when there is no call."""
        return {
            "worker": f"gateway-{self.number}",
            "accepting": self.accepting,
            "drained": self.drained,
            "uptime_s": round(time.time() - self.started_at, 1),
            "asterisk": self.ari.connected,
            "calls": len(self.calls),
            "direct": sum(call.state.phase == "direct" for call in self.calls.values()),
            "max_calls": self.admission.max_calls,
            "channels": sum(len(call.state.held & call.names.channels.keys()) for call in self.calls.values()),
            "bridges": sum(len(call.state.held & call.names.bridges.keys()) for call in self.calls.values()),
            "media_sockets": len(self.gate.open),
            "media_expected": self.gate.waiting,
            "call_tasks": len(self._calls_running) + sum(call.tasks for call in self.calls.values()),
        }

    @property
    def verdict(self) -> Verdict:
        """Whether a call that comes now is taken, and why not."""
        if not self.ari.connected or not self.accepting or self.drained:
            return "not-ready"
        return self.admission.verdict(len(self.calls))

    def health(self, *, for_call: bool = False) -> dict[str, Any]:
        """What the dialplan decides by where a call goes: `status` is a `Verdict`.

        Args:
            for_call: whether a call waits for the answer; otherwise somebody only wants to know.
        """
        verdict = self.verdict
        if for_call and verdict != "ready":
            metrics.CALLS_REFUSED.labels(verdict).inc()
        return {"status": verdict, "asterisk": self.ari.connected, "accepting": self.accepting, "calls": len(self.calls)}

    def refuse(self, reason: str) -> None:
        """Give all calls away and take no more."""
        self.accepting = False
        for call in list(self.calls.values()):
            call.abort(reason)

    async def stop(self) -> None:
        """Give all calls away: the dialplan finds another worker for them, or joins caller and agent. New ones go to the queue."""
        self.refuse("the worker stops")
        if self._calls_running:
            await asyncio.wait(self._calls_running.values(), timeout=STOP_TIMEOUT_S)
        for task in (*self._calls_running.values(), *self._tasks):
            task.cancel()
        await asyncio.gather(*self._calls_running.values(), *self._tasks, return_exceptions=True)

    # Events

    def _on_event(self, event: ChannelEvent) -> None:
        channel = event.channel.id
        call = self._owners.get(channel)
        if call is not None:
            call.on_event(event)  # a destroyed channel stays the call's: its id is used again when a leg is rebuilt
        elif isinstance(event, StasisStart):
            self._entered(event)
        else:
            counting.ari("event-unowned")

    def _entered(self, event: StasisStart) -> None:
        channel = event.channel
        verdict = self.verdict
        if channel.id.startswith("setu-") or (event.args and event.args[0] not in ("caller", ADOPT)):
            log.warning("a channel of no call entered the application", extra={"channel": channel.id})
            self._background(self._departures.delete(ari.hang_up(channel.id)), "hang up stray")
        elif event.args and event.args[0] == ADOPT:
            self._adopt(event, verdict)
        elif verdict == "ready":
            self._take_call(new_call(self._services.prefix, channel))
        elif verdict == "not-ready":
            counting.fallback("not-accepting")
            self._background(self._departures.to_queue(channel.id), "to queue")
        else:
            metrics.CALLS_REFUSED.labels(verdict).inc()
            self._background(self._departures.refuse(channel.id), "refuse")

    def _adopt(self, event: StasisStart, verdict: Verdict) -> None:
        facts = adopted_call(self._services.prefix, event.channel, event.args)
        if facts is None:
            log.warning("a caller of an unknown call entered the application", extra={"channel": event.channel.id})
            self._background(self._departures.to_queue(event.channel.id), "to queue")
        elif verdict != "ready" or facts.call_id in self.calls:  # a call of our own that broke is still being wound up
            self._background(self._departures.to_dialplan(event.channel.id, direct=True), "to dialplan")
        else:
            self._take_call(facts)

    def _take_call(self, facts: CallFacts) -> None:
        call = CallController(facts, self._services)
        self.calls[call.call_id] = call
        for channel in call.names.all_channels:
            self._owners[channel] = call
        task = asyncio.create_task(call.run(), name=f"{call.call_id} call")
        self._calls_running[call.call_id] = task
        task.add_done_callback(lambda task: self._call_done(call, task))

    def _call_done(self, call: CallController, task: asyncio.Task[None]) -> None:
        self.calls.pop(call.call_id, None)
        self._calls_running.pop(call.call_id, None)
        self.ended += 1
        for channel in call.names.all_channels:
            self._owners.pop(channel, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("a call ended by an error", exc_info=task.exception(), extra={"call": call.call_id})

    # The control connection

    def _on_connected(self) -> None:
        metrics.ARI_CONNECTED.set(1)
        if self._lost is not None:
            self._lost.cancel()
            self._lost = None
        self._background(self._reconciliation.run(), "reconcile")

    def _on_lost(self) -> None:
        metrics.ARI_CONNECTED.set(0)
        if self.accepting:
            self._lost = self._background(self._give_up_calls(), "control connection lost")

    async def _give_up_calls(self) -> None:
        await asyncio.sleep(LOST_GRACE_S)
        for call in list(self.calls.values()):
            call.abort("no connection to Asterisk")

    def _background(self, work: Any, name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
