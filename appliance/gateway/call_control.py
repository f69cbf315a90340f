"""Runs one call: feeds what happens to its state machine and has done what the machine says. `run` returns with nothing left behind."""

from __future__ import annotations

import asyncio
import logging
import time

from appliance.events import CallEnded, CallStarted, CallStateChanged
from appliance.gateway import counting
from appliance.gateway.call_actions import CallActions
from appliance.gateway.call_services import CallFacts, CallServices
from appliance.telemetry.logs import about
from appliance.telephony import call_messages as message
from appliance.telephony.ari_messages import (
    ChannelDestroyed,
    ChannelDtmfReceived,
    ChannelEvent,
    ChannelHangupRequest,
    StasisEnd,
    StasisStart,
)
from appliance.telephony.call_machine import step
from appliance.telephony.call_messages import CallInput, Finish, Party
from appliance.telephony.call_state import CallState
from appliance.telephony.key_rate import KeyRate

log = logging.getLogger(__name__)

MAX_INBOX = 64
"""Inputs that wait; beyond it keypad digits are dropped."""


class CallController:
    """One call, from the caller's `StasisStart` to nothing left. `run` it once."""

    def __init__(self, facts: CallFacts, services: CallServices) -> None:
        self.facts = facts
        self.call_id = facts.call_id
        self.caller_number = facts.caller_number
        self.called_number = facts.called_number
        self.started_at = facts.started_at
        self.names = facts.names
        self.state = CallState()
        self._services = services
        self._actions = CallActions(facts, services, self.post)
        self._inbox: asyncio.Queue[CallInput] = asyncio.Queue()
        self._keys = KeyRate()

    @property
    def language(self) -> str | None:
        """The caller's, once decided."""
        return self._actions.language

    @property
    def chosen(self) -> bool:
        """Whether somebody chose the caller's language by a key."""
        return self._actions.chosen

    @property
    def tasks(self) -> int:
        return self._actions.tasks

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
                self._actions.entered(channel)
            case ChannelDtmfReceived(digit=digit):
                party = self._party(channel)
                if party is None:
                    pass
                elif self._keys.take(party, time.monotonic()):
                    self.post(message.DigitPressed(party, digit))
                else:
                    counting.keys_dropped()
            case ChannelDestroyed() | StasisEnd() | ChannelHangupRequest():
                self._channel_gone(channel, event)
            case _:
                pass

    def _party(self, channel: str) -> Party | None:
        if channel == self.names.channels["caller"]:
            return "caller"
        return "agent" if channel == self.names.channels["agent"] else None

    def _channel_gone(self, channel: str, event: ChannelDestroyed | StasisEnd | ChannelHangupRequest) -> None:
        party = self._party(channel)
        if party == "agent" and isinstance(event, ChannelDestroyed):
            self.post(message.AgentUnavailable(event.cause_txt or f"cause {event.cause}"))
        if party is not None:
            self.post(message.HungUp(party))

    def channel_missing(self, channel: str) -> None:
        """Asterisk does not know the channel any more, though no event said so."""
        party = self._party(channel)
        if party == "agent":
            self.post(message.AgentUnavailable("gone from Asterisk"))
        if party is not None:
            self.post(message.HungUp(party))

    def abort(self, reason: str) -> None:
        self.post(message.Aborted(reason))

    # The call

    async def run(self) -> None:
        """Returns when the call is over and everything of it is released; cancelling it ends the call too."""
        with about(call=self.call_id):
            self._services.publish(
                CallStarted(
                    call_id=self.call_id,
                    at=self.started_at,
                    caller_number=self.caller_number,
                    called_number=self.called_number,
                    worker=f"gateway-{self._services.worker}",
                )
            )
            if self.facts.adopted:
                self._services.fallback("adopted")
                self.post(message.Adopted("its worker is gone"))
            else:
                self.post(message.CallerArrived())
            try:
                while self.state.phase != "ended":
                    self._advance(await self._inbox.get())
            finally:
                if self.state.phase != "ended":
                    self._advance(message.Aborted("the worker stops"))
                await self._actions.wind_up()

    def _advance(self, event: CallInput) -> None:
        before = self.state.phase
        self.state, actions = step(self.state, event)
        if self.state.phase != before:
            log.info("call is %s", self.state.phase, extra={"before": before, "reason": self.state.reason or type(event).__name__})
            self._services.publish(CallStateChanged(call_id=self.call_id, at=time.time(), state=self.state.phase, reason=self.state.reason))
            if self.state.phase == "direct":
                self._services.fallback("direct")
        for action in actions:
            if isinstance(action, Finish):
                self._finish(action)
            else:
                self._actions.do(action)

    def _finish(self, finish: Finish) -> None:
        now = time.time()
        log.info("call is over", extra={"outcome": finish.outcome, "reason": finish.reason})
        ended = CallEnded(call_id=self.call_id, at=now, outcome=finish.outcome, reason=finish.reason, duration_s=now - self.started_at)
        self._services.publish(ended)
