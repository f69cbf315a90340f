"""The interpreter of one call: two legs, two lanes, prompts, the keypad."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from appliance.config.schema import Config
from appliance.events import Event, KeyPressed, LaneName, Party
from appliance.interpreter.availability import Availability
from appliance.interpreter.belief import Belief
from appliance.interpreter.clock import MediaClock
from appliance.interpreter.direct import Direct
from appliance.interpreter.hinglish import Hinglish
from appliance.interpreter.identify import CODES, Identifier
from appliance.interpreter.lane import Lane
from appliance.interpreter.leg import Leg
from appliance.interpreter.models_protocol import Models, Samples
from appliance.interpreter.prompts import MENU, Prompts
from appliance.interpreter.scope import CallScope
from appliance.interpreter.tasks import Tasks
from appliance.speech.listen import ListenEvent
from appliance.telephony.media import MediaTransport

log = logging.getLogger(__name__)

ANSWER_S = 6.0
"""How long the caller may think after the keypad menu before the default language is taken."""
CHOICE_S = 20.0
"""How long after `#` a digit is a choice of language."""
FAREWELL = "goodbye"
"""The prompt after which a party is hung up: nothing may be left to be heard then."""
LAST_WORDS_WAIT_S = 5.0
"""How long it waits at most until what the other party said last is understood and queued."""
_LAST_WORDS_STEP_S = 0.05
_UTTERANCES_PER_S = 2
"""More than anybody begins: each takes a pause to end it."""
_PLAY_GRACE_S = 2.0
"""How much later than planned a prompt's end may be reported before it is taken as heard."""


class CallInterpreter:
    """Attach a party's audio as soon as it is there, `start` when both are, `stop` in the end.

    Args:
        call_id: for events.
        config: of the node.
        models: the model client, shared by all calls.
        prompts: of the worker.
        publish: told of every event; must not block.
        memory_prior: the caller's language in an earlier call.
        decided: the caller's language as another interpreter of this call had found it.
        chosen: whether it was chosen by a key.
        age_s: how long another one has interpreted the call; utterances get numbers that it has not given.
        clock: of the worker.
        hinglish: the normaliser of the worker.
        belief: what to refuse; by the configuration alone when not given.
        unavailable: told why when the call cannot be interpreted any more.
        silent: told when no audio has come from a party for so many seconds.
        keep: given the audio (16 kHz) of an utterance that the agent flags; must not block.
        availability: tells how the model servers are, so that the call goes on without interpreter only as long as it has to.
    """

    def __init__(
        self,
        call_id: str,
        config: Config,
        models: Models,
        prompts: Prompts,
        publish: Callable[[Event], None],
        memory_prior: str | None,
        clock: MediaClock,
        *,
        hinglish: Hinglish | None = None,
        belief: Belief | None = None,
        unavailable: Callable[[str], None] = lambda reason: None,
        silent: Callable[[Party, float], None] = lambda party, seconds: None,
        keep: Callable[[str, LaneName, int, Samples], None] = lambda call_id, lane, utterance, audio: None,
        availability: Availability | None = None,
        decided: str | None = None,
        chosen: bool = False,
        age_s: float = 0.0,
    ) -> None:
        self._config = config
        self._prompts = prompts
        self._clock = clock
        self._identifier = Identifier(config.identify, memory_prior, decided, chosen=chosen)
        self._tasks = Tasks(f"{call_id} call")
        self._silent = silent
        self._keep = keep
        self._reading: dict[Party, asyncio.Task[None]] = {}
        self._said: dict[str, asyncio.Future[None]] = {}  # by key of the prompt
        self._prompts_said = 0
        self._asking: asyncio.Task[None] | None = None
        self._choose_until_s = 0.0
        self._started = self._stopped = False
        self._scope = CallScope(
            call_id=call_id,
            config=config,
            belief=belief or Belief(config),
            models=models,
            hinglish=hinglish or Hinglish({}),
            identifier=self._identifier,
            publish=publish,
            now=clock.now,
            say=self._say_later,
            flush_prompts=lambda party: self._flush(party, "prompt"),
            ask_language=self._ask_language,
            lost=unavailable if availability is None else self._lost,
            servers_out=lambda: availability.out if availability is not None else "",
            answered_s=clock.now() - age_s,
        )
        if self._identifier.language is not None:
            self._scope.known.set()
        self._availability = availability
        numbered = round(_UTTERANCES_PER_S * age_s)
        self._lanes: dict[Party, Lane] = {
            "caller": Lane("caller_to_agent", self._scope, numbered),
            "agent": Lane("agent_to_caller", self._scope, numbered),
        }
        """By the party that speaks."""
        self._direct = Direct(self._scope, list(self._lanes.values()))

    @property
    def language(self) -> str | None:
        """The caller's language once decided."""
        return self._identifier.language

    @property
    def tasks(self) -> int:
        """Under way; 0 after `stop`."""
        return len(self._tasks) + sum(lane.tasks for lane in self._lanes.values())

    def attach(self, party: Party, transport: MediaTransport) -> None:
        """Give a party's audio. From now on it hears silence, prompts and, once both are there, the other one's voice."""
        if party in self._scope.legs:
            self._detach(party)
        leg = Leg(party, transport, self._config, self)
        self._scope.legs[party] = leg
        if self._scope.outage.direct:
            leg.playout.original("alone")
        self._clock.add(leg)
        self._reading[party] = self._tasks.start(leg.run(), f"{party} leg")
        caller, agent = self._scope.legs.get("caller"), self._scope.legs.get("agent")
        if caller is not None and agent is not None:
            caller.peer, agent.peer = agent, caller

    def rewire(self, party: Party, transport: MediaTransport) -> None:
        """Go on with another transport for a party whose audio broke; nothing that is queued, heard or understood is lost."""
        leg = self._scope.legs.get(party)
        if leg is None or leg.lost:
            self.attach(party, transport)
            return
        reading = self._reading.pop(party, None)
        if reading is not None:
            reading.cancel()
        leg.rewire(transport)
        self._reading[party] = self._tasks.start(leg.run(), f"{party} leg")

    def start(self) -> None:
        """Begin to interpret."""
        if not self._started and not self._stopped:
            self._started = True
            for lane in self._lanes.values():
                lane.start()
            if self._availability is not None:
                self._availability.follow(self)

    async def stop(self) -> None:
        """End everything of the call; the transports are closed. Calling it again is fine."""
        self._stopped = True
        if self._availability is not None:
            self._availability.forget(self)
        for lane in self._lanes.values():
            await lane.stop()
        legs = list(self._scope.legs.items())
        for party, _ in legs:
            self._detach(party)
        await self._tasks.stop()
        for key in list(self._said):
            self._heard(key)
        for _, leg in legs:
            await leg.close()

    async def say(self, party: Party, prompt: str) -> None:
        """Play a prompt in the party's language; returns when it was heard, or cannot be any more.

        Raises:
            PromptError: there is no such prompt.
        """
        leg = self._scope.legs.get(party)
        language = "hinglish" if party == "agent" else self._identifier.guess
        audio = self._prompts.audio(prompt, language)
        if leg is not None and prompt == FAREWELL:
            await self._last_words(leg)
        if leg is None or leg.lost or self._stopped:
            return
        self._prompts_said += 1
        key = f"p{self._prompts_said}"
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._said[key] = heard
        leg.playout.add("menu" if prompt == MENU else "prompt", audio, ended=key)
        await asyncio.wait((heard,), timeout=leg.playout.queued_s + _PLAY_GRACE_S)
        self._heard(key)

    def key(self, party: Party, digit: str) -> None:
        """A keypad digit. (`0`, the plain bridge, is call control's.)"""
        if self._stopped:
            return
        scope = self._scope
        scope.publish(KeyPressed(call_id=scope.call_id, at=scope.wall(), party=party, digit=digit))
        choosing = self._asking is not None or scope.now() < self._choose_until_s
        if choosing and digit in "12345":
            self._chosen(CODES[int(digit) - 1])
        elif digit == "*":
            self._lanes["agent" if party == "caller" else "caller"].repeat()
        elif digit == "#":
            self._choose_until_s = scope.now() + CHOICE_S
            self._flush(party, "prompt")
            self._say_later(party, MENU)
        elif digit == "9" and party == "agent":
            heard = self._lanes["caller"].last_heard()
            if heard is not None:
                self._keep(scope.call_id, "caller_to_agent", *heard)
            self._say_later("agent", "flagged")

    # What is told of the model servers

    def on_servers(self, out: str, late: bool) -> None:
        """How they are, told several times a second."""
        change = self._scope.outage.look(self._scope.now(), bool(out))
        if change == "lost":
            self._lost(f"no {out} server")
        elif change == "back":
            self._direct.end()
        elif not self._scope.outage.direct:
            for lane in self._lanes.values():
                lane.bridge_wait(late)

    def _lost(self, reason: str) -> None:
        if not self._stopped:
            self._direct.begin(reason)

    # What legs tell

    def on_listen(self, leg: Leg, events: list[ListenEvent], now_s: float) -> None:
        self._lanes[leg.party].on_listen(leg, events, now_s)

    def on_started(self, leg: Leg, key: str, now_s: float) -> None:
        self._lane_to(leg.party).on_started(key, now_s)

    def on_ended(self, leg: Leg, key: str) -> None:
        if key in self._said:
            self._heard(key)
        else:
            self._lane_to(leg.party).on_ended(key)

    def on_silent(self, leg: Leg, seconds: float) -> None:
        self._silent(leg.party, seconds)

    def on_lost(self, leg: Leg, reason: str) -> None:
        log.info("the audio of a party has ended", extra={"call": self._scope.call_id, "party": leg.party, "reason": reason})
        self._clock.retire(leg)
        self._flush(leg.party, "prompt", "menu")
        self._tasks.start(leg.close(), f"close {leg.party} leg")  # by this call control hears of it

    # Prompts and the keypad

    def _lane_to(self, listener: Party) -> Lane:
        return self._lanes["agent" if listener == "caller" else "caller"]

    async def _last_words(self, leg: Leg) -> None:
        lane, give_up_s = self._lane_to(leg.party), self._scope.now() + LAST_WORDS_WAIT_S
        while lane.busy and not leg.lost and self._scope.now() < give_up_s:  # noqa: ASYNC110 - of two parts, once in a call
            await asyncio.sleep(_LAST_WORDS_STEP_S)

    def _say_later(self, party: Party, prompt: str) -> None:
        self._tasks.start(self.say(party, prompt), f"say {prompt}")

    def _heard(self, key: str) -> None:
        future = self._said.pop(key, None)
        if future is not None and not future.done():
            future.set_result(None)

    def _flush(self, party: Party, *kinds: Literal["prompt", "menu"]) -> None:
        leg = self._scope.legs.get(party)
        if leg is None:
            return
        for kind in kinds:
            for key in leg.playout.flush(kind):
                self._heard(key)

    def _ask_language(self) -> None:
        if self._asking is None and not self._scope.known.is_set() and not self._scope.outage.direct:
            self._asking = self._tasks.start(self._menu_then_default(), "keypad menu")

    async def _menu_then_default(self) -> None:
        known = self._tasks.start(self._scope.known.wait(), "language known")
        menu = self._tasks.start(self.say("caller", MENU), "say menu")
        try:
            await asyncio.wait((known, menu), return_when=asyncio.FIRST_COMPLETED)
            self._flush("caller", "menu")
            await asyncio.wait((known,), timeout=ANSWER_S)
            if not known.done():
                self._scope.decided(self._identifier.choose(self._config.identify.default, "default"))
        finally:
            known.cancel()
            self._asking = None

    def _chosen(self, language: str) -> None:
        self._choose_until_s = 0.0
        for party in self._scope.legs:
            self._flush(party, "menu")
        self._scope.decided(self._identifier.choose(language))
        self._say_later("caller", "language_set")

    def _detach(self, party: Party) -> None:
        self._flush(party, "prompt", "menu")
        leg = self._scope.legs.pop(party)
        leg.lost = True
        self._clock.remove(leg)
        other = self._scope.legs.get("agent" if party == "caller" else "caller")
        if other is not None:
            other.peer = None
        reading = self._reading.pop(party, None)
        if reading is not None:
            reading.cancel()
