"""Runs one call: feeds what happens to its state machine and does what the machine says, in Asterisk and in the interpreter.

Every task of the call belongs to the controller. Two kinds: work, which is cancelled when the call ends, and releases, which are
awaited, so that `run` returns with nothing left behind.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from appliance.gateway.interpretation import CallContext, Interpreter, MakeInterpreter
from appliance.interpreter.events import CallEnded, CallStarted, CallStateChanged, Event, LanguageDecided
from appliance.telemetry.logs import about
from appliance.telephony import ari_requests as ari
from appliance.telephony import call_state as machine
from appliance.telephony.ari_connection import AriConnection
from appliance.telephony.ari_messages import (
    Channel,
    ChannelDestroyed,
    ChannelDtmfReceived,
    ChannelEvent,
    ChannelHangupRequest,
    StasisEnd,
    StasisStart,
)
from appliance.telephony.call_state import CallAction, CallInput, CallState, Notice, Party, Prompt, Resource
from appliance.telephony.errors import AriError, AriNotFound, MediaNotConnected
from appliance.telephony.media_gate import MediaGate
from appliance.telephony.websocket_media import WebSocketMedia

log = logging.getLogger(__name__)

LEG_TIMEOUT_S = 5.0
"""From the first request to audio; 0.1 s as a rule."""
PROMPT_TIMEOUT_S = 20.0
"""No prompt is longer."""
FAREWELL_TIMEOUT_S = 8.0
STOP_TIMEOUT_S = 2.0
RING_GRACE_S = 5.0
"""Asterisk ends the call to the agents by itself; only if it does not, we do."""
RELEASE_RETRY_S = 0.5
MAX_INBOX = 64
"""Inputs that wait; beyond it keypad digits are dropped."""

QUEUE_CONTEXT, QUEUE_EXTENSION = "without-interpreter", "s"
AGENTS = "Local/it@agents"
DIRECT_LANGUAGE = "hi"
"""What agents speak too, so that `policy = "direct"` can leave the interpreter out."""


@dataclass(frozen=True, slots=True)
class CallServices:
    """What all calls of a worker share."""

    worker: int
    ari: AriConnection
    gate: MediaGate
    make_interpreter: MakeInterpreter
    publish: Callable[[Event], None]
    fallback: Callable[[str], None]
    """Called with a code word whenever a call goes on with less than it should have."""
    company_number: str
    ring_s: float
    direct_policy: bool
    """Whether a caller who speaks the agents' language is bridged to them."""

    @property
    def app(self) -> str:
        return f"setu-{self.worker}"

    @property
    def media_client(self) -> str:
        """Id of Asterisk's `websocket_client` whose address leads to this worker."""
        return f"setu-media-{self.worker}"

    @property
    def prefix(self) -> str:
        """Of every channel and bridge id that this worker makes."""
        return f"setu-{self.worker}-"


async def cancel_and_wait(*futures: asyncio.Future[Any]) -> None:
    """Cancel what is not done and wait until it is; nobody asks for the results any more."""
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)


class CallController:
    """One call, from the caller's `StasisStart` to nothing left. `run` it once."""

    def __init__(self, call_id: str, caller: Channel, services: CallServices) -> None:
        self.call_id = call_id
        self.caller_number = re.sub(r"[^0-9+]", "", caller.caller.number)[:32]
        self.called_number = caller.dialplan.exten
        self.state = CallState()
        self.started_at = time.time()
        self.interpreter: Interpreter | None = None
        name = f"{services.prefix}{call_id}"
        self.channels: dict[Resource, str] = {
            "caller": caller.id,
            "agent": f"{name}-agent",
            "caller-media": f"{name}-caller-media",
            "agent-media": f"{name}-agent-media",
        }
        """Channel ids by role, whether they exist or not."""
        self.bridges: dict[Resource, str] = {"caller-bridge": f"{name}-caller", "agent-bridge": f"{name}-agent"}
        self._agent_other_half = f"{name}-agent-queue"
        self._services = services
        self._inbox: asyncio.Queue[CallInput] = asyncio.Queue()
        self._work: set[asyncio.Task[None]] = set()
        self._releases: set[asyncio.Task[None]] = set()
        self._opening: dict[Party, asyncio.Task[None]] = {}
        self._media: dict[Party, WebSocketMedia] = {}
        self._in_stasis = {self.channels["caller-media"]: asyncio.Event(), self.channels["agent-media"]: asyncio.Event()}

    @property
    def channel_ids(self) -> tuple[str, ...]:
        return (*self.channels.values(), self._agent_other_half)

    @property
    def language(self) -> str | None:
        return self.interpreter.language if self.interpreter is not None else None

    @property
    def tasks(self) -> int:
        return len(self._work) + len(self._releases)

    # Inputs

    def post(self, event: CallInput) -> None:
        """Something has happened; never waits."""
        if self._inbox.qsize() >= MAX_INBOX and isinstance(event, machine.DigitPressed):
            self._services.fallback("digits-dropped")
            return
        self._inbox.put_nowait(event)

    def on_event(self, event: ChannelEvent) -> None:
        """An event about one of the call's channels."""
        channel = event.channel.id
        match event:
            case StasisStart() if channel == self.channels["agent"]:
                self.post(machine.AgentAnswered())
            case StasisStart() if channel in self._in_stasis:
                self._in_stasis[channel].set()
            case ChannelDtmfReceived(digit=digit):
                if channel in (self.channels["caller"], self.channels["agent"]):
                    self.post(machine.DigitPressed("caller" if channel == self.channels["caller"] else "agent", digit))
            case ChannelDestroyed() | StasisEnd() | ChannelHangupRequest():
                self._channel_gone(channel, event)
            case _:
                pass

    def _channel_gone(self, channel: str, event: ChannelDestroyed | StasisEnd | ChannelHangupRequest) -> None:
        if channel == self.channels["caller"]:
            self.post(machine.HungUp("caller"))
        elif channel == self.channels["agent"]:
            if isinstance(event, ChannelDestroyed):
                self.post(machine.AgentUnavailable(event.cause_txt or f"cause {event.cause}"))
            self.post(machine.HungUp("agent"))

    def channel_missing(self, channel: str) -> None:
        """Asterisk does not know the channel any more, though no event said so."""
        if channel == self.channels["agent"]:
            self.post(machine.AgentUnavailable("gone from Asterisk"))
            self.post(machine.HungUp("agent"))
        elif channel == self.channels["caller"]:
            self.post(machine.HungUp("caller"))

    def abort(self, reason: str) -> None:
        self.post(machine.Aborted(reason))

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
            self.post(machine.CallerArrived())
            try:
                while self.state.phase != "ended":
                    self._advance(await self._inbox.get())
            finally:
                if self.state.phase != "ended":
                    self._advance(machine.Aborted("the worker stops"))
                await self._wind_up()

    def _advance(self, event: CallInput) -> None:
        before = self.state.phase
        self.state, actions = machine.step(self.state, event)
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
        await self._stop_interpreter()  # made while the call was ending
        for leg in self._in_stasis:
            self._services.gate.forget(leg)

    def _do(self, action: CallAction) -> None:
        match action:
            case machine.OpenLeg(party):
                self._opening[party] = self._start(self._open_leg(party), f"open {party} leg")
            case machine.Attach(party):
                if self.interpreter is not None:
                    self.interpreter.attach(party, self._media[party])
            case machine.CallAgents():
                self._start(self._call_agents(), "call agents")
            case machine.Say(party, prompt):
                self._start(self._say_and_tell(party, prompt), f"say {prompt}")
            case machine.StartMusic():
                self._start(self._try(ari.start_music(self.channels["caller"])), "start music")
            case machine.StopMusic():
                self._start(self._try(ari.stop_music(self.channels["caller"])), "stop music")
            case machine.Interpret():
                if self.interpreter is not None:
                    self.interpreter.start()
            case machine.PressKey(party, digit):
                if self.interpreter is not None:
                    self.interpreter.key(party, digit)
            case machine.JoinDirectly(told, notice):
                self._start(self._join(told, notice), "join")
            case machine.HandToQueue():
                self._services.fallback("queue")
                self._start_release(self._hand_to_queue(), "hand to queue")
            case machine.Release(resource):
                self._release(resource)
            case machine.Finish(outcome, reason):
                now = time.time()
                log.info("call is over", extra={"outcome": outcome, "reason": reason})
                self._publish(CallEnded(call_id=self.call_id, at=now, outcome=outcome, reason=reason, duration_s=now - self.started_at))

    def _publish(self, event: Event) -> None:
        self._services.publish(event)

    def _from_interpreter(self, event: Event) -> None:
        self._publish(event)
        if self._services.direct_policy and isinstance(event, LanguageDecided) and event.language == DIRECT_LANGUAGE:
            self.post(machine.DirectWanted("both speak the same language"))

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
            self.post(machine.Aborted(f"{task.get_name()} failed"))

    def _start_release(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"{self.call_id} {name}")
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _try(self, request: ari.AriRequest) -> None:
        try:
            await self._services.ari.request(request)
        except AriError as error:
            log.warning("%s", error)

    # Legs

    async def _open_leg(self, party: Party) -> None:
        try:
            async with asyncio.timeout(LEG_TIMEOUT_S):
                if party == "caller":
                    await asyncio.gather(self._connect_leg(party), self._prepare_interpreter())
                else:
                    await self._connect_leg(party)
        except (AriError, MediaNotConnected, TimeoutError) as error:
            self.post(machine.LegFailed(party, str(error) or f"not ready in {LEG_TIMEOUT_S:g} s"))
        else:
            self.post(machine.LegReady(party))
            media = self._media[party]
            await media.closed.wait()
            self.post(machine.LegLost(party, "media socket closed"))

    async def _connect_leg(self, party: Party) -> None:
        services = self._services
        channel, media, bridge = self._leg(party)
        socket = services.gate.expect(media)
        try:
            made = [services.ari.request(ari.answer(channel))] if party == "caller" else []
            made.append(services.ari.request(ari.create_bridge(bridge)))
            made.append(services.ari.request(ari.open_media(media, services.app, services.media_client)))
            await asyncio.gather(*made)
            await self._in_stasis[media].wait()
            await services.ari.request(ari.add_to_bridge(bridge, channel, media))
            self._media[party] = await socket
        finally:
            services.gate.forget(media)

    def _leg(self, party: Party) -> tuple[str, str, str]:
        if party == "caller":
            return self.channels["caller"], self.channels["caller-media"], self.bridges["caller-bridge"]
        return self.channels["agent"], self.channels["agent-media"], self.bridges["agent-bridge"]

    async def _prepare_interpreter(self) -> None:
        context = CallContext(self.call_id, self.caller_number, self.called_number, self._from_interpreter, self._interpreter_unavailable)
        try:
            self.interpreter = await self._services.make_interpreter(context)
        except Exception as error:  # whatever keeps it from starting, the parties can still talk directly
            log.error("no interpreter for this call", exc_info=error)
            self._interpreter_unavailable("it could not be started")

    def _interpreter_unavailable(self, reason: str) -> None:
        self._services.fallback("no-interpreter")
        self.post(machine.DirectWanted(f"interpreter unavailable: {reason}", "interpretation_lost"))

    async def _call_agents(self) -> None:
        services = self._services
        request = ari.call(
            self.channels["agent"],
            self._agent_other_half,
            AGENTS,
            services.app,
            f"agent,{self.call_id}",
            caller_id=f'"{services.company_number}" <{self.caller_number or "anonymous"}>',
            timeout_s=round(services.ring_s),
        )
        try:
            await services.ari.request(request)
        except AriError as error:
            self.post(machine.AgentUnavailable(str(error)))
            return
        await asyncio.sleep(services.ring_s + RING_GRACE_S)
        self.post(machine.AgentUnavailable("nobody answered"))

    async def _say_and_tell(self, party: Party, prompt: Prompt) -> None:
        await self._say(party, prompt, FAREWELL_TIMEOUT_S if prompt == "goodbye" else PROMPT_TIMEOUT_S)
        self.post(machine.PromptDone(party, prompt))

    async def _say(self, party: Party, prompt: Prompt, timeout_s: float) -> None:
        media = self._media.get(party)
        if self.interpreter is None or media is None:
            return
        saying = asyncio.ensure_future(self.interpreter.say(party, prompt))
        deaf = asyncio.ensure_future(media.closed.wait())
        try:
            await asyncio.wait({saying, deaf}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if saying.done():
                saying.result()
            elif not deaf.done():
                log.warning("prompt did not end", extra={"party": party, "prompt": prompt, "after_s": timeout_s})
                self._services.fallback("prompt-not-played")
        except Exception as error:  # a prompt that cannot be played must not hold the call up
            log.error("prompt not played", exc_info=error, extra={"party": party, "prompt": prompt})
            self._services.fallback("prompt-not-played")
        finally:
            await cancel_and_wait(saying, deaf)

    async def _join(self, told: tuple[Party, ...], notice: Notice) -> None:
        if notice:
            await asyncio.gather(*(self._say(party, notice, FAREWELL_TIMEOUT_S) for party in told))
        try:
            await self._services.ari.request(ari.add_to_bridge(self.bridges["caller-bridge"], self.channels["agent"]))
        except AriError as error:
            self.post(machine.JoinFailed(str(error)))
        else:
            self.post(machine.Joined())

    # Releases

    def _release(self, resource: Resource) -> None:
        match resource:
            case "interpreter":
                self._start_release(self._stop_interpreter(), "stop interpreter")
            case "caller-media" | "agent-media":
                self._start_release(self._close_media("caller" if resource == "caller-media" else "agent"), f"close {resource}")
            case "caller-bridge" | "agent-bridge":
                self._start_release(self._delete(ari.delete_bridge(self.bridges[resource])), f"delete {resource}")
            case "caller" | "agent":
                self._start_release(self._delete(ari.hang_up(self.channels[resource])), f"hang up {resource}")

    async def _stop_interpreter(self) -> None:
        interpreter, self.interpreter = self.interpreter, None
        if interpreter is None:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await interpreter.stop()
        except Exception as error:  # it must not keep the call from ending
            log.error("interpreter did not stop", exc_info=error)

    async def _close_media(self, party: Party) -> None:
        opening = self._opening.pop(party, None)
        if opening is not None:
            opening.cancel()
        await self._delete(ari.hang_up(self._leg(party)[1]))
        media = self._media.pop(party, None)
        if media is not None:
            await media.close()

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
        try:
            await self._services.ari.request(ari.continue_in_dialplan(self.channels["caller"], QUEUE_CONTEXT, QUEUE_EXTENSION))
        except AriError as error:
            log.warning("%s", error)
            await self._delete(ari.hang_up(self.channels["caller"]))
