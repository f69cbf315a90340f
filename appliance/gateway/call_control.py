"""Runs one call: feeds what happens to its state machine and does what the machine says, in Asterisk and in the interpreter.

Every task of the call belongs to the controller. Two kinds: work, which is cancelled when the call ends, and releases, which are
awaited, so that `run` returns with nothing left behind.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Coroutine
from typing import Any

from appliance.events import CallEnded, CallStarted, CallStateChanged, Event, LanguageDecided
from appliance.gateway.call_legs import CallLegs
from appliance.gateway.call_services import AGENTS, QUEUE_CONTEXT, QUEUE_EXTENSION, CallNames, CallServices
from appliance.gateway.interpretation import CallContext, Interpretation
from appliance.telemetry.logs import about
from appliance.telephony import ari_requests as ari
from appliance.telephony import call_messages as message
from appliance.telephony.ari_messages import (
    Channel,
    ChannelDestroyed,
    ChannelDtmfReceived,
    ChannelEvent,
    ChannelHangupRequest,
    StasisEnd,
    StasisStart,
)
from appliance.telephony.call_messages import CallAction, CallInput, Notice, Party, Prompt, Resource
from appliance.telephony.call_state import CallState, step
from appliance.telephony.errors import AriError, AriNotFound

log = logging.getLogger(__name__)

LEG_TIMEOUT_S = 5.0
"""From the first request to audio; 0.1 s as a rule."""
PROMPT_TIMEOUT_S = 20.0
"""No prompt is longer, nor a goodbye with the translation it waits for."""
NOTICE_TIMEOUT_S = 8.0
"""The parties are not kept apart for longer only to be told why."""
RING_GRACE_S = 5.0
"""Asterisk ends the call to the agents by itself; only if it does not, we do."""
RELEASE_RETRY_S = 0.5
MAX_INBOX = 64
"""Inputs that wait; beyond it keypad digits are dropped."""
DIRECT_LANGUAGE = "hi"
"""What agents speak too, so that `policy = "direct"` can leave the interpreter out."""
DIRECT_EVIDENCE = ("votes", "keypad")
"""What the language must have been decided by for that: a default or an earlier call may be wrong, and there is no way back."""


class CallController:
    """One call, from the caller's `StasisStart` to nothing left. `run` it once."""

    def __init__(self, call_id: str, caller: Channel, services: CallServices) -> None:
        self.call_id = call_id
        self.caller_number = re.sub(r"[^0-9+]", "", caller.caller.number)[:32]
        self.called_number = caller.dialplan.exten
        self.state = CallState()
        self.started_at = time.time()
        self.names = CallNames(services.prefix, call_id, caller.id)
        self._services = services
        self._legs = CallLegs(self.names, services)
        self._interpretation = Interpretation(self._interpreter_unavailable, services.fallback)
        self._inbox: asyncio.Queue[CallInput] = asyncio.Queue()
        self._work: set[asyncio.Task[None]] = set()
        self._releases: set[asyncio.Task[None]] = set()
        self._opening: dict[Party, asyncio.Task[None]] = {}

    @property
    def language(self) -> str | None:
        """The caller's, once decided."""
        return self._interpretation.language

    @property
    def tasks(self) -> int:
        return len(self._work) + len(self._releases)

    # Inputs

    def post(self, event: CallInput) -> None:
        """Something has happened; never waits."""
        if self._inbox.qsize() >= MAX_INBOX and isinstance(event, message.DigitPressed):
            self._services.fallback("digits-dropped")
            return
        self._inbox.put_nowait(event)

    def on_event(self, event: ChannelEvent) -> None:
        """An event about one of the call's channels."""
        channel = event.channel.id
        match event:
            case StasisStart() if channel == self.names.channels["agent"]:
                self.post(message.AgentAnswered())
            case StasisStart():
                self._legs.entered(channel)
            case ChannelDtmfReceived(digit=digit):
                if channel in (self.names.channels["caller"], self.names.channels["agent"]):
                    self.post(message.DigitPressed("caller" if channel == self.names.channels["caller"] else "agent", digit))
            case ChannelDestroyed() | StasisEnd() | ChannelHangupRequest():
                self._channel_gone(channel, event)
            case _:
                pass

    def _channel_gone(self, channel: str, event: ChannelDestroyed | StasisEnd | ChannelHangupRequest) -> None:
        if channel == self.names.channels["caller"]:
            self.post(message.HungUp("caller"))
        elif channel == self.names.channels["agent"]:
            if isinstance(event, ChannelDestroyed):
                self.post(message.AgentUnavailable(event.cause_txt or f"cause {event.cause}"))
            self.post(message.HungUp("agent"))

    def channel_missing(self, channel: str) -> None:
        """Asterisk does not know the channel any more, though no event said so."""
        if channel == self.names.channels["agent"]:
            self.post(message.AgentUnavailable("gone from Asterisk"))
            self.post(message.HungUp("agent"))
        elif channel == self.names.channels["caller"]:
            self.post(message.HungUp("caller"))

    def abort(self, reason: str) -> None:
        self.post(message.Aborted(reason))

    # The call

    async def run(self) -> None:
        """Returns when the call is over and everything of it is released; cancelling it ends the call too."""
        with about(call=self.call_id):
            self._publish(
                CallStarted(
                    call_id=self.call_id,
                    at=self.started_at,
                    caller_number=self.caller_number,
                    called_number=self.called_number,
                    worker=f"gateway-{self._services.worker}",
                )
            )
            self.post(message.CallerArrived())
            try:
                while self.state.phase != "ended":
                    self._advance(await self._inbox.get())
            finally:
                if self.state.phase != "ended":
                    self._advance(message.Aborted("the worker stops"))
                await self._wind_up()

    def _advance(self, event: CallInput) -> None:
        before = self.state.phase
        self.state, actions = step(self.state, event)
        if self.state.phase != before:
            log.info("call is %s", self.state.phase, extra={"before": before, "reason": self.state.reason or type(event).__name__})
            self._publish(CallStateChanged(call_id=self.call_id, at=time.time(), state=self.state.phase, reason=self.state.reason))
            if self.state.phase == "direct":
                self._services.fallback("direct")
        for action in actions:
            self._do(action)

    async def _wind_up(self) -> None:
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, *self._releases, return_exceptions=True)
        await self._interpretation.stop()  # it may have been made while the call was ending

    def _do(self, action: CallAction) -> None:
        match action:
            case message.OpenLeg(party):
                self._opening[party] = self._start(self._open_leg(party), f"open {party} leg")
            case message.Attach(party):
                self._interpretation.attach(party, self._legs.media[party])
            case message.CallAgents():
                self._start(self._call_agents(), "call agents")
            case message.Say(party, prompt):
                self._start(self._say(party, prompt), f"say {prompt}")
            case message.StartMusic():
                self._start(self._try(ari.start_music(self.names.channels["caller"])), "start music")
            case message.StopMusic():
                self._start(self._try(ari.stop_music(self.names.channels["caller"])), "stop music")
            case message.Interpret():
                self._interpretation.start()
            case message.PressKey(party, digit):
                self._interpretation.key(party, digit)
            case message.JoinDirectly(told, notice):
                self._start(self._join(told, notice), "join")
            case message.HandToQueue():
                self._services.fallback("queue")
                self._start_release(self._hand_to_queue(), "hand to queue")
            case message.Release(resource):
                self._release(resource)
            case message.Finish(outcome, reason):
                now = time.time()
                log.info("call is over", extra={"outcome": outcome, "reason": reason})
                self._publish(CallEnded(call_id=self.call_id, at=now, outcome=outcome, reason=reason, duration_s=now - self.started_at))

    def _publish(self, event: Event) -> None:
        self._services.publish(event)

    def _from_interpreter(self, event: Event) -> None:
        self._publish(event)
        if not self._services.direct_policy or not isinstance(event, LanguageDecided) or event.language != DIRECT_LANGUAGE:
            return
        if event.how in DIRECT_EVIDENCE:
            self.post(message.DirectWanted("both speak the same language", "direct_bridge"))

    # Tasks

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"{self.call_id} {name}")
        self._work.add(task)
        task.add_done_callback(self._work_done)
        return task

    def _work_done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("call: %s failed", task.get_name(), exc_info=task.exception())
            self.post(message.Aborted(f"{task.get_name()} failed"))

    def _start_release(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"{self.call_id} {name}")
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _try(self, request: ari.AriRequest) -> None:
        try:
            await self._services.ari.request(request)
        except AriError as error:
            log.warning("%s", error)

    # Work

    async def _open_leg(self, party: Party) -> None:
        try:
            async with asyncio.timeout(LEG_TIMEOUT_S):
                await asyncio.gather(self._legs.open(party), *([self._prepare_interpreter()] if party == "caller" else []))
        except (AriError, TimeoutError) as error:
            self.post(message.LegFailed(party, str(error) or f"not ready in {LEG_TIMEOUT_S:g} s"))
        else:
            self.post(message.LegReady(party))
            await self._legs.media[party].closed.wait()
            self.post(message.LegLost(party, "media socket closed"))

    async def _prepare_interpreter(self) -> None:
        context = CallContext(self.call_id, self.caller_number, self.called_number, self._from_interpreter, self._interpreter_unavailable)
        await self._interpretation.prepare(self._services.make_interpreter, context)

    def _interpreter_unavailable(self, reason: str) -> None:
        self._services.fallback("no-interpreter")
        self.post(message.DirectWanted(f"interpreter unavailable: {reason}", "interpretation_lost"))

    async def _call_agents(self) -> None:
        services = self._services
        request = ari.call(
            self.names.channels["agent"],
            self.names.agent_in_queue,
            AGENTS,
            services.app,
            f"agent,{self.call_id}",
            caller_id=f'"{services.company_number}" <{self.caller_number or "anonymous"}>',
            timeout_s=round(services.ring_s),
        )
        try:
            await services.ari.request(request)
        except AriError as error:
            self.post(message.AgentUnavailable(str(error)))
            return
        await asyncio.sleep(services.ring_s + RING_GRACE_S)
        self.post(message.AgentUnavailable("nobody answered"))

    async def _say(self, party: Party, prompt: Prompt) -> None:
        await self._interpretation.say(party, prompt, self._legs.media.get(party), PROMPT_TIMEOUT_S)
        self.post(message.PromptDone(party, prompt))

    async def _join(self, told: tuple[Party, ...], notice: Notice) -> None:
        media = self._legs.media
        await asyncio.gather(*(self._interpretation.say(party, notice, media.get(party), NOTICE_TIMEOUT_S) for party in told))
        try:
            await self._services.ari.request(ari.add_to_bridge(self.names.bridges["caller-bridge"], self.names.channels["agent"]))
        except AriError as error:
            self.post(message.JoinFailed(str(error)))
        else:
            self.post(message.Joined())

    # Releases

    def _release(self, resource: Resource) -> None:
        match resource:
            case "interpreter":
                self._start_release(self._interpretation.stop(), "stop interpreter")
            case "caller-media" | "agent-media":
                self._start_release(self._close_leg("caller" if resource == "caller-media" else "agent"), f"close {resource}")
            case "caller-bridge" | "agent-bridge":
                self._start_release(self._delete(ari.delete_bridge(self.names.bridges[resource])), f"delete {resource}")
            case "caller" | "agent":
                self._start_release(self._delete(ari.hang_up(self.names.channels[resource])), f"hang up {resource}")

    async def _close_leg(self, party: Party) -> None:
        opening = self._opening.pop(party, None)
        if opening is not None:
            opening.cancel()
        await self._delete(ari.hang_up(self.names.leg(party)[1]))
        await self._legs.close(party)

    async def _delete(self, request: ari.AriRequest) -> None:
        for attempt in (1, 2):
            try:
                await self._services.ari.request(request)
            except AriNotFound:
                pass  # gone already
            except AriError as error:
                if error.retry and attempt == 1 and self._services.ari.connected:
                    await asyncio.sleep(RELEASE_RETRY_S)
                    continue
                log.warning("%s; the next connection cleans up", error)
            return

    async def _hand_to_queue(self) -> None:
        caller = self.names.channels["caller"]
        try:
            await self._services.ari.request(ari.continue_in_dialplan(caller, QUEUE_CONTEXT, QUEUE_EXTENSION))
        except AriError as error:
            log.warning("%s", error)
            await self._delete(ari.hang_up(caller))
