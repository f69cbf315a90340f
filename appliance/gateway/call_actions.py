"""Does what the state machine of a call says, in Asterisk and in the interpreter.

Two kinds of tasks: work, which is cancelled when the call ends, and releases, which are awaited, so that nothing is left behind.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from appliance.events import Event, LanguageDecided
from appliance.gateway.call_legs import CallLegs
from appliance.gateway.call_services import AGENTS, CallFacts, CallServices
from appliance.gateway.departures import Departures
from appliance.gateway.interpretation import CallContext, Interpretation
from appliance.gateway.leg_watchdog import LegWatchdog
from appliance.telephony import ari_requests as ari
from appliance.telephony import call_messages as message
from appliance.telephony.call_messages import CallAction, CallInput, Notice, Party, Prompt, Resource
from appliance.telephony.errors import AriError

log = logging.getLogger(__name__)

LEG_TIMEOUT_S = 5.0
"""From the first request to audio; 0.1 s as a rule."""
RESUME_TIMEOUT_S = 1.5
"""Likewise, for a call that another worker left behind: its parties hear nothing meanwhile, and are joined directly then."""
PROMPT_TIMEOUT_S = 20.0
"""No prompt is longer, nor a goodbye with the translation it waits for."""
NOTICE_TIMEOUT_S = 8.0
"""The parties are not kept apart for longer only to be told why."""
RING_GRACE_S = 5.0
"""Asterisk ends the call to the agents by itself; only if it does not, we do."""
DIRECT_LANGUAGE = "hi"
"""What agents speak too, so that `policy = "direct"` can leave the interpreter out."""
DIRECT_EVIDENCE = ("votes", "keypad")
"""What the language must have been decided by for that: a default or an earlier call may be wrong, and there is no way back."""


class CallActions:
    """The hands of one call.

    Args:
        post: told what came of the actions.
    """

    def __init__(self, facts: CallFacts, services: CallServices, post: Callable[[CallInput], None]) -> None:
        self._facts = facts
        self._names = facts.names
        self._services = services
        self._post = post
        self._legs = CallLegs(facts.names, services, adopted=facts.adopted)
        self._departures = Departures(services.ari)
        self._interpretation = Interpretation(self._interpreter_unavailable, services.fallback)
        self._watchdog = LegWatchdog(self._legs, self._interpretation, services, post)
        self._work: set[asyncio.Task[None]] = set()
        self._releases: set[asyncio.Task[None]] = set()
        self._opening: dict[Party, asyncio.Task[None]] = {}
        self.chosen = False
        """Whether somebody chose the caller's language by a key."""

    @property
    def language(self) -> str | None:
        """The caller's, once decided."""
        return self._interpretation.language

    @property
    def tasks(self) -> int:
        return len(self._work) + len(self._releases)

    def entered(self, channel: str) -> None:
        """A channel of the call is in the application."""
        self._legs.entered(channel)

    def do(self, action: CallAction) -> None:
        """Begin an action; never waits."""
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
                self._start(self._try(ari.start_music(self._names.channels["caller"])), "start music")
            case message.StopMusic():
                self._start(self._try(ari.stop_music(self._names.channels["caller"])), "stop music")
            case message.Interpret():
                self._interpretation.start()
            case message.PressKey(party, digit):
                self._interpretation.key(party, digit)
            case message.JoinDirectly(told, notice):
                self._start(self._join(told, notice), "join")
            case message.HandToQueue():
                self._services.fallback("queue")
                self._start_release(self._departures.to_queue(self._names.channels["caller"]), "hand to queue")
            case message.HandOver(direct):
                self._services.fallback("handed-over")
                self._start_release(self._departures.to_dialplan(self._names.channels["caller"], direct=direct), "hand over")
            case message.Release(resource):
                self._release(resource)

    async def wind_up(self) -> None:
        """The call has ended: returns when all of it is released."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, *self._releases, return_exceptions=True)
        await self._interpretation.stop()  # it may have been made while the call was ending

    # Tasks

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"{self._facts.call_id} {name}")
        self._work.add(task)
        task.add_done_callback(self._work_done)
        return task

    def _work_done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("call: %s failed", task.get_name(), exc_info=task.exception())
            self._post(message.Aborted(f"{task.get_name()} failed"))

    def _start_release(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"{self._facts.call_id} {name}")
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _try(self, request: ari.AriRequest) -> None:
        try:
            await self._services.ari.request(request)
        except AriError as error:
            log.warning("%s", error)

    # Work

    async def _open_leg(self, party: Party) -> None:
        timeout_s = RESUME_TIMEOUT_S if self._facts.adopted else LEG_TIMEOUT_S
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(self._legs.open(party), *([self._prepare_interpreter()] if party == "caller" else []))
        except (AriError, TimeoutError) as error:
            self._post(message.LegFailed(party, str(error) or f"not ready in {timeout_s:g} s"))
        else:
            self._post(message.LegReady(party))
            await self._legs.closed(party)
            self._post(message.LegLost(party, "media socket closed"))

    async def _prepare_interpreter(self) -> None:
        facts = self._facts
        context = CallContext(
            facts.call_id,
            facts.caller_number,
            facts.called_number,
            self._from_interpreter,
            self._interpreter_unavailable,
            facts.adopted,
            self._silent,
            max(0.0, time.time() - facts.started_at) if facts.adopted else 0.0,
        )
        await self._interpretation.prepare(self._services.make_interpreter, context)

    def _silent(self, party: Party, seconds: float) -> None:
        self._start(self._watchdog.silent(party, seconds), f"watch {party} leg")

    def _from_interpreter(self, event: Event) -> None:
        if isinstance(event, LanguageDecided):
            self.chosen = event.how == "keypad"
        self._services.publish(event)
        if not self._services.direct_policy or not isinstance(event, LanguageDecided) or event.language != DIRECT_LANGUAGE:
            return
        if event.how in DIRECT_EVIDENCE:
            self._post(message.DirectWanted("both speak the same language", "direct_bridge"))

    def _interpreter_unavailable(self, reason: str) -> None:
        self._services.fallback("no-interpreter")
        self._post(message.DirectWanted(f"interpreter unavailable: {reason}", "interpretation_lost"))

    async def _call_agents(self) -> None:
        services = self._services
        request = ari.call(
            self._names.channels["agent"],
            self._names.agent_in_queue,
            AGENTS,
            services.app,
            f"agent,{self._facts.call_id}",
            caller_id=f'"{services.company_number}" <{self._facts.caller_number or "anonymous"}>',
            timeout_s=round(services.ring_s),
        )
        try:
            await services.ari.request(request)
        except AriError as error:
            self._post(message.AgentUnavailable(str(error)))
            return
        await asyncio.sleep(services.ring_s + RING_GRACE_S)
        self._post(message.AgentUnavailable("nobody answered"))

    async def _say(self, party: Party, prompt: Prompt) -> None:
        await self._interpretation.say(party, prompt, self._legs.media.get(party), PROMPT_TIMEOUT_S)
        self._post(message.PromptDone(party, prompt))

    async def _join(self, told: tuple[Party, ...], notice: Notice) -> None:
        media = self._legs.media
        await asyncio.gather(*(self._interpretation.say(party, notice, media.get(party), NOTICE_TIMEOUT_S) for party in told))
        for opening in self._opening.values():
            opening.cancel()  # it would take the party out of the common bridge again
        try:
            await self._legs.join()
        except AriError as error:
            self._post(message.JoinFailed(str(error)))
        else:
            self._post(message.Joined())

    # Releases

    def _release(self, resource: Resource) -> None:
        match resource:
            case "interpreter":
                self._start_release(self._interpretation.stop(), "stop interpreter")
            case "caller-media" | "agent-media":
                self._start_release(self._close_leg("caller" if resource == "caller-media" else "agent"), f"close {resource}")
            case "caller-bridge" | "agent-bridge":
                self._start_release(self._departures.delete(ari.delete_bridge(self._names.bridges[resource])), f"delete {resource}")
            case "caller" | "agent":
                self._start_release(self._departures.delete(ari.hang_up(self._names.channels[resource])), f"hang up {resource}")

    async def _close_leg(self, party: Party) -> None:
        opening = self._opening.pop(party, None)
        if opening is not None:
            opening.cancel()
        await self._departures.delete(ari.hang_up(self._names.leg(party)[1]))
        await self._legs.close(party)
