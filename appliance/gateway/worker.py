"""One gateway worker: the calls of one Stasis application, and what Asterisk and the worker know of each other."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec

from appliance.config.schema import Config
from appliance.events import Event
from appliance.gateway import counting
from appliance.gateway.call_control import CallController
from appliance.gateway.call_services import QUEUE_CONTEXT, QUEUE_EXTENSION, CallServices
from appliance.gateway.interpretation import MakeInterpreter
from appliance.store.session_state import Session
from appliance.telemetry import metrics
from appliance.telephony import ari_requests as ari
from appliance.telephony.ari_connection import AriConnection
from appliance.telephony.ari_messages import Bridge, Channel, ChannelDestroyed, ChannelEvent, StasisStart
from appliance.telephony.errors import AriError, AriNotFound
from appliance.telephony.media_gate import MediaGate

log = logging.getLogger(__name__)

LOST_GRACE_S = 15.0
"""Calls go on without a control connection this long: Asterisk reconnects within a second unless it is gone."""
ORPHAN_WAIT_S = 1.0
"""Between finding a channel of nobody and removing it: its `StasisStart` may be on its way."""
BOOT_RETRY_S = 0.5
BOOT_TIMEOUT_S = 2.0
STOP_TIMEOUT_S = 5.0

_channels = msgspec.json.Decoder(list[Channel])
_bridges = msgspec.json.Decoder(list[Bridge])


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
        self.started_at = time.time()
        self.accepting = True
        """Whether new calls are taken; otherwise they go to the agents' queue."""
        self.gate = MediaGate()
        self.ari = AriConnection(self._on_event, on_connected=self._on_connected, on_lost=self._on_lost, counted=counting.ari)
        self._max_calls = config.gateway.max_calls
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
            channels={role: channel for role, channel in call.names.channels.items() if role in held},
            bridges={role.removesuffix("-bridge"): bridge for role, bridge in call.names.bridges.items() if role in held},
        )

    def status(self) -> dict[str, Any]:
        """What is open right now; all zero when there is no call."""
        return {
            "worker": f"gateway-{self.number}",
            "accepting": self.accepting,
            "uptime_s": round(time.time() - self.started_at, 1),
            "asterisk": self.ari.connected,
            "calls": len(self.calls),
            "max_calls": self._max_calls,
            "channels": sum(len(call.state.held & call.names.channels.keys()) for call in self.calls.values()),
            "bridges": sum(len(call.state.held & call.names.bridges.keys()) for call in self.calls.values()),
            "media_sockets": len(self.gate.open),
            "media_expected": self.gate.waiting,
            "call_tasks": len(self._calls_running) + sum(call.tasks for call in self.calls.values()),
        }

    def refuse(self, reason: str) -> None:
        """End all calls and take no more."""
        self.accepting = False
        for call in list(self.calls.values()):
            call.abort(reason)

    async def stop(self) -> None:
        """End all calls: who waits is sent to the agents' queue, who talks is hung up. New ones go to the queue too."""
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
            if isinstance(event, ChannelDestroyed):
                self._owners.pop(channel)
            call.on_event(event)
        elif isinstance(event, StasisStart):
            self._entered(event)
        else:
            counting.ari("event-unowned")

    def _entered(self, event: StasisStart) -> None:
        channel = event.channel
        if channel.id.startswith(self._services.prefix) or (event.args and event.args[0] != "caller"):
            log.warning("a channel of no call entered the application", extra={"channel": channel.id})
            self._background(self._try(ari.hang_up(channel.id)), "hang up stray")
        elif not self.accepting or len(self.calls) >= self._max_calls:
            counting.fallback("full" if self.accepting else "not-accepting")
            self._background(self._to_queue(channel.id), "to queue")
        else:
            self._take_call(channel)

    def _take_call(self, caller: Channel) -> None:
        call_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        call = CallController(call_id, caller, self._services)
        self.calls[call_id] = call
        for channel in call.names.all_channels:
            self._owners[channel] = call
        task = asyncio.create_task(call.run(), name=f"{call_id} call")
        self._calls_running[call_id] = task
        task.add_done_callback(lambda task: self._call_done(call, task))

    def _call_done(self, call: CallController, task: asyncio.Task[None]) -> None:
        self.calls.pop(call.call_id, None)
        self._calls_running.pop(call.call_id, None)
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
        self._background(self._reconcile(), "reconcile")

    def _on_lost(self) -> None:
        metrics.ARI_CONNECTED.set(0)
        if self.accepting:
            self._lost = self._background(self._give_up_calls(), "control connection lost")

    async def _give_up_calls(self) -> None:
        await asyncio.sleep(LOST_GRACE_S)
        for call in list(self.calls.values()):
            call.abort("no connection to Asterisk")

    async def _reconcile(self) -> None:
        """Bring both sides to the same view: after a restart of either, or after messages were lost."""
        try:
            channels = _channels.decode(await self._when_booted(ari.list_channels()))
            known = {channel.id for channel in channels}
            for call in list(self.calls.values()):
                for role in ("agent", "caller"):
                    if role in call.state.held and call.names.channels[role] not in known and call.state.agent != "ringing":
                        call.channel_missing(call.names.channels[role])
            orphans = [channel for channel in channels if self._is_orphan(channel)]
            bridges = _bridges.decode(await self.ari.request(ari.list_bridges()))
            await asyncio.sleep(ORPHAN_WAIT_S)
            in_use = {bridge for call in self.calls.values() for bridge in call.names.bridges.values()}
            for channel in orphans:
                if self._is_orphan(channel):
                    await self._remove_orphan(channel)
            for bridge in bridges:
                if bridge.id.startswith(self._services.prefix) and bridge.id not in in_use:
                    log.warning("bridge of no call removed", extra={"bridge": bridge.id})
                    await self._try(ari.delete_bridge(bridge.id))
        except (AriError, msgspec.DecodeError) as error:
            log.warning("what Asterisk has could not be compared with the calls: %s", error)

    async def _when_booted(self, request: ari.AriRequest) -> str:
        """The answer, asked for again while it can help: Asterisk connects before it is ready, and says 503 or nothing until it is."""
        while True:
            try:
                return await self.ari.request(request, timeout_s=BOOT_TIMEOUT_S)
            except AriError as error:
                if not error.retry or not self.ari.connected:
                    raise
                await asyncio.sleep(BOOT_RETRY_S)

    def _is_orphan(self, channel: Channel) -> bool:
        if channel.id in self._owners:
            return False
        in_app = channel.dialplan.app_name == "Stasis" and channel.dialplan.app_data.split(",")[0] == self.app
        return in_app or channel.id.startswith(self._services.prefix)

    async def _remove_orphan(self, channel: Channel) -> None:
        if channel.id.startswith(self._services.prefix):
            log.warning("channel of no call removed", extra={"channel": channel.id})
            await self._try(ari.hang_up(channel.id))
        else:
            log.warning("caller of no call sent to the agents' queue", extra={"channel": channel.id})
            counting.fallback("orphan")
            await self._to_queue(channel.id)

    # Requests outside of calls

    async def _to_queue(self, channel: str) -> None:
        try:
            await self.ari.request(ari.continue_in_dialplan(channel, QUEUE_CONTEXT, QUEUE_EXTENSION))
        except AriError as error:
            log.warning("%s", error)
            await self._try(ari.hang_up(channel))

    async def _try(self, request: ari.AriRequest) -> None:
        try:
            await self.ari.request(request)
        except AriNotFound:
            pass
        except AriError as error:
            log.warning("%s", error)

    def _background(self, work: Any, name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
