"""Puts a worker together: models, voice activity, prompts, journal, calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from appliance.config.load import LoadedConfig
from appliance.config.schema import Config
from appliance.gateway.interpretation import CallContext
from appliance.gateway.journal import Journal
from appliance.gateway.worker import Worker
from appliance.interpreter.belief import Belief
from appliance.interpreter.call import CallInterpreter
from appliance.interpreter.clock import MediaClock
from appliance.interpreter.hinglish import Hinglish, read_lexicon
from appliance.interpreter.prompts import PromptError, Prompts
from appliance.modelserver.client import ModelClient
from appliance.speech.vad import VoiceActivity

log = logging.getLogger(__name__)

PROMPTS_RETRY_S = 2.0
LEXICON = "lexicon/it_terms.tsv"
"""In the folder of the models."""


class PromptsMissing(RuntimeError):
    """A call came before the prompts were spoken; callers go to the queue until then."""


class Interpreters:
    """Makes the interpreter of each call; takes calls only once the prompts are there."""

    def __init__(
        self, config: Config, models: ModelClient, clock: MediaClock, journal: Journal, hinglish: Hinglish, belief: Belief
    ) -> None:
        self.prompts: Prompts | None = None
        self._config = config
        self._quiet = msgspec.structs.replace(config, play=msgspec.structs.replace(config.play, original_voice=False))
        self._models = models
        self._clock = clock
        self._journal = journal
        self._hinglish = hinglish
        self._belief = belief

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
        )


@asynccontextmanager
async def open_worker(loaded: LoadedConfig, number: int, belief: Belief) -> AsyncIterator[Worker]:
    """A worker that takes calls as soon as its prompts have been spoken.

    Args:
        belief: what its calls refuse.

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
            interpreters = Interpreters(config, models, clock, journal, hinglish, belief)
            worker = Worker(number, config, journal.publish, interpreters.make)
            worker.accepting = False
            journal.session_of = worker.session

            async def get_ready() -> None:
                await interpreters.speak_prompts()
                worker.accepting = True
                log.info("calls are taken")

            def clock_ended(task: asyncio.Task[None]) -> None:
                if not task.cancelled():
                    log.critical("the media clock stopped, no calls are taken any more", exc_info=task.exception())
                    worker.refuse("the media clock stopped")

            tasks = [asyncio.create_task(clock.run(), name="media-clock"), asyncio.create_task(get_ready(), name="prompts")]
            tasks[0].add_done_callback(clock_ended)
            try:
                yield worker
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await models.aclose()
