"""Puts a worker together: models, voice activity, prompts, journal, calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from appliance.config.load import LoadedConfig
from appliance.config.schema import Config
from appliance.gateway.collector import EndedCalls
from appliance.gateway.draining import DrainMarks
from appliance.gateway.draining import watch as watch_drain_marks
from appliance.gateway.flagging import Flagging
from appliance.gateway.interpretation import CallContext
from appliance.gateway.journal import Journal
from appliance.gateway.under_systemd import keep_alive, say_how
from appliance.gateway.worker import Worker
from appliance.interpreter.availability import Availability
from appliance.interpreter.belief import Belief
from appliance.interpreter.call import CallInterpreter
from appliance.interpreter.clock import MediaClock
from appliance.interpreter.hinglish import Hinglish, read_lexicon
from appliance.interpreter.prompts import PromptError, Prompts
from appliance.modelserver.client import ModelClient
from appliance.speech.vad import VoiceActivity
from appliance.store.flagged_audio import FlaggedAudio
from appliance.telemetry.systemd import NOBODY, Unit

log = logging.getLogger(__name__)

PROMPTS_RETRY_S = 2.0
LOAD_EVERY_S = 1.0
LEXICON = "lexicon/it_terms.tsv"
"""In the folder of the models."""


class PromptsMissing(RuntimeError):
    """A call came before the prompts were spoken; callers go to the queue until then."""


class Interpreters:
    """Makes the interpreter of each call; takes calls only once the prompts are there."""

    def __init__(
        self,
        config: Config,
        models: ModelClient,
        clock: MediaClock,
        journal: Journal,
        hinglish: Hinglish,
        belief: Belief,
        availability: Availability,
        flagging: Flagging,
    ) -> None:
        self.prompts: Prompts | None = None
        self._config = config
        self._quiet = msgspec.structs.replace(config, play=msgspec.structs.replace(config.play, original_voice=False))
        self._models = models
        self._clock = clock
        self._journal = journal
        self._hinglish = hinglish
        self._belief = belief
        self._availability = availability
        self._flagging = flagging

    async def speak_prompts(self) -> None:
        """Returns when the prompts are there, however long the speech server takes."""
        while self.prompts is None:
            try:
                self.prompts = await Prompts.synthesise(self._models)
            except PromptError as error:
                log.error("no calls are taken yet: %s", error)
                await asyncio.sleep(PROMPTS_RETRY_S)

    async def make(self, call: CallContext) -> CallInterpreter:
        if self.prompts is None:
            raise PromptsMissing
        decided, chosen = await self._journal.language_of(call.call_id) if call.adopted else (None, False)
        return CallInterpreter(
            call.call_id,
            self._quiet if call.called_number in self._config.play.quiet_numbers else self._config,
            self._models,
            self.prompts,
            call.publish,
            await self._journal.recall(call.caller_number),
            self._clock,
            hinglish=self._hinglish,
            belief=self._belief,
            unavailable=call.unavailable,
            silent=call.silent,
            keep=self._flagging.keep,
            availability=self._availability,
            decided=decided,
            chosen=chosen,
            age_s=call.age_s,
        )


@asynccontextmanager
async def open_worker(loaded: LoadedConfig, number: int, belief: Belief, unit: Unit = NOBODY) -> AsyncIterator[Worker]:
    """A worker that takes calls as soon as its prompts have been spoken.

    Args:
        belief: what its calls refuse.
        unit: told that it is there and that its clock ticks.

    Raises:
        ApplianceError: the voice activity model, the lexicon, a secret or the database's driver is missing.
    """
    config = loaded.config
    clock = MediaClock(VoiceActivity())
    lexicon = loaded.path(config.models.folder) / LEXICON
    hinglish = Hinglish(read_lexicon(lexicon) if lexicon.exists() else {})
    models = ModelClient(loaded.run_dir)
    try:
        async with Journal.open(loaded, f"gateway-{number}") as journal:
            availability = Availability(models)
            flagging = Flagging(FlaggedAudio(loaded.state_dir))
            interpreters = Interpreters(config, models, clock, journal, hinglish, belief, availability, flagging)
            worker = Worker(number, config, journal.publish, interpreters.make)
            worker.accepting = False
            journal.session_of = worker.session

            async def get_ready() -> None:
                await interpreters.speak_prompts()
                worker.accepting = True
                log.info("calls are taken")

            async def watch_load() -> None:
                ended_calls = EndedCalls()
                while True:
                    worker.admission.observe(clock.late, clock.now())
                    ended_calls.give_back(worker.ended, len(worker.calls))
                    await asyncio.sleep(LOAD_EVERY_S)

            def clock_ended(task: asyncio.Task[None]) -> None:
                if not task.cancelled():
                    log.critical("the media clock stopped, no calls are taken any more", exc_info=task.exception())
                    worker.refuse("the media clock stopped")

            named = {"media-clock": clock.run(), "prompts": get_ready(), "load": watch_load()}
            named |= {"drain-marks": watch_drain_marks(worker, number, DrainMarks(loaded.state_dir)), "status": say_how(worker, unit)}
            named |= {"model-watch": models.watch(), "availability": availability.run()}
            tasks = [asyncio.create_task(work, name=name) for name, work in named.items()]
            tasks.append(asyncio.create_task(keep_alive(clock, unit), name="heartbeat"))
            tasks[0].add_done_callback(clock_ended)
            unit.ready("starts")
            try:
                yield worker
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await flagging.close()
    finally:
        await models.aclose()
