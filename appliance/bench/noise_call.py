"""Noise alone in a call: how much of it the starter models take for speech, so that the other party is told it.

The call passes in virtual time, with real legs, lanes and refusals. The model servers are real processes; while one of them computes
the call stands still, so that the outcome does not depend on the machine.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from appliance.bench import virtual_time
from appliance.bench.errors import BenchError
from appliance.bench.processes import model_server
from appliance.bench.virtual_call import RECOGNISE_S, SPEAK_S, TRANSLATE_S, VirtualPhone, hold, recorded
from appliance.bench.workplace import workplace
from appliance.config.load import LoadedConfig, load
from appliance.engines.base import Samples
from appliance.events import Event, Party, UtteranceInterpreted
from appliance.interpreter.belief import Belief
from appliance.interpreter.calibration import of_recogniser
from appliance.interpreter.hinglish import Hinglish, read_lexicon
from appliance.modelserver.client import ModelClient
from appliance.modelserver.messages import LanguageScores, Transcript, Translation
from appliance.speech.vad import RATE
from appliance.stack.defaults import write_config

TIMEOUT_S = 60.0
"""For one request: nobody waits for it in the call."""
AFTER_S = 10.0
"""Of the call, after the noise: what is queued is heard."""
WORD_S = 0.32
"""Of a translation."""
LEXICON = "lexicon/it_terms.tsv"
"""In the models folder."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Told:
    """What became of noise: utterances that were none."""

    minutes: float
    """Of noise."""
    spoken: int
    """Some of which the other party was told, in translation."""
    refused: int
    """After which the party with the noise was asked to say it again, or would have been but for having just been asked."""

    def __add__(self, other: Told) -> Told:
        return Told(self.minutes + other.minutes, self.spoken + other.spoken, self.refused + other.refused)


class Asked:
    """Model servers as a call in virtual time asks them (`Models`): none of its time passes until they have answered."""

    def __init__(self, client: ModelClient, loop: asyncio.AbstractEventLoop) -> None:
        """`loop`: of the client, running in another thread."""
        self._client = client
        self._loop = loop

    def _answer(self, request: Callable[[], Awaitable[Answer]]) -> Answer:
        async def asked() -> Answer:
            return await request()

        return asyncio.run_coroutine_threadsafe(asked(), self._loop).result()

    async def transcribe(
        self,
        pcm: Samples,
        *,
        language: str | None,
        languages: Sequence[str] = (),
        partial: bool = False,
        stream: str = "",
        timeout_s: float,
    ) -> Transcript:
        heard = self._answer(
            lambda: self._client.transcribe(pcm, language=language, languages=languages, partial=partial, timeout_s=TIMEOUT_S)
        )
        await asyncio.sleep(RECOGNISE_S)
        return heard

    async def identify(self, text: str, timeout_s: float) -> LanguageScores:
        return self._answer(lambda: self._client.identify(text, TIMEOUT_S))

    async def translate(self, text: str, source: str, target: str, timeout_s: float) -> Translation:
        made = self._answer(lambda: self._client.translate(text, source, target, TIMEOUT_S))
        await asyncio.sleep(TRANSLATE_S)
        return made

    async def speak(self, text: str, language: str, timeout_s: float, voice: str = "") -> Samples:
        """As long as speech would be; nobody listens to it."""
        await asyncio.sleep(SPEAK_S)
        return np.zeros(round(len(text.split()) * WORD_S * RATE), np.int16)


@dataclass(frozen=True, slots=True)
class Appliance:
    """The starter models and what decides on their answers."""

    models: Asked
    loaded: LoadedConfig
    belief: Belief
    hinglish: Hinglish

    def told(self, pcm: Samples, party: Party) -> Told:
        """What becomes of a party's line without any speech in it, while the other one is silent. Raises: BenchError."""
        events: list[UtteranceInterpreted] = []

        def publish(event: Event) -> None:
            if isinstance(event, UtteranceInterpreted):
                events.append(event)

        phones = {"caller": VirtualPhone(recorded(np.zeros(0, np.int16))), "agent": VirtualPhone(recorded(np.zeros(0, np.int16)))}
        phones[party] = VirtualPhone(recorded(pcm))
        seconds = len(pcm) / RATE + AFTER_S
        virtual_time.run(
            hold(
                phones["caller"],
                phones["agent"],
                self.models,
                seconds,
                publish,
                config=self.loaded.config,
                belief=self.belief,
                hinglish=self.hinglish,
            )
        )
        if failed := next((event.reason for event in events if event.outcome == "failed" and event.reason != "call-ended"), ""):
            raise BenchError(f"the starter models did not answer: {failed}")
        spoken = {(event.lane, event.utterance) for event in events if event.outcome == "interpreted"}
        refused = {(event.lane, event.utterance) for event in events if event.outcome == "refused"}
        return Told(len(pcm) / RATE / 60, len(spoken), len(refused - spoken))


@contextmanager
def starter_appliance() -> Iterator[Appliance]:
    """Raises: BenchError: a model server does not start. CalibrationError."""
    with workplace() as folder, ExitStack() as started:
        config = write_config(folder)
        loaded = load(config)
        for kind in ("stt", "mt"):
            started.enter_context(model_server(kind, config, loaded.run_dir))
        lexicon = loaded.path(loaded.config.models.folder) / LEXICON
        hinglish = Hinglish(read_lexicon(lexicon) if lexicon.exists() else {})
        belief = Belief(loaded.config, of_recogniser(loaded))
        client = ModelClient(loaded.run_dir)
        loop = started.enter_context(_other_loop())
        try:
            yield Appliance(Asked(client, loop), loaded, belief, hinglish)
        finally:
            asyncio.run_coroutine_threadsafe(client.aclose(), loop).result()


@contextmanager
def _other_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread of its own, in real time."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="model client")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
