"""A call over real model servers, real voice activity and real time; only the telephones are made here."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from model_servers import REPOSITORY, model_server, write_config
from said import said
from stalls import Stalls

from appliance.config.load import load
from appliance.events import Event, LanguageDecided, UtteranceInterpreted
from appliance.interpreter.call import CallInterpreter
from appliance.interpreter.clock import MediaClock
from appliance.interpreter.hinglish import Hinglish, read_lexicon
from appliance.interpreter.prompts import Prompts, read_texts
from appliance.modelserver.client import ModelClient
from appliance.speech.vad import VoiceActivity
from appliance.telephony.media import FRAME_S, FRAME_SAMPLES, AudioReceived, MediaEnded, MediaEvent

RATE = 16_000
QUIET_FRAMES = 25
QUIET_WITHIN_S = 20.0
SLOWEST_S = 2.0
"""From the end of speech to the first translated frame, on a machine that does not stand still."""
PROMPTS = {name: texts for name, texts in read_texts().items() if name in ("please_repeat", "keypad_menu", "language_set")}


class Telephone:
    """Sends line noise and what it is given, keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.to_say: list[bytes] = []
        self._events: asyncio.Queue[MediaEvent] = asyncio.Queue()
        self._noise = np.random.default_rng(1)

    async def events(self) -> AsyncIterator[MediaEvent]:
        while not isinstance(event := await self._events.get(), MediaEnded):
            yield event

    def send(self, pcm: bytes) -> None:
        self.heard.append(pcm)

    def mark(self, mark: str) -> None:
        pass

    async def close(self) -> None:
        self._events.put_nowait(MediaEnded("closed"))

    def say(self, text: str, voice: str) -> None:
        pcm = said(text, voice, 150)
        whole = np.zeros(-(-len(pcm) // FRAME_SAMPLES) * FRAME_SAMPLES, np.int16)
        whole[: len(pcm)] = pcm
        self.to_say += [part.tobytes() for part in whole.reshape(-1, FRAME_SAMPLES)]

    async def quiet(self) -> None:
        """Returns when nothing has been played to it for a while."""
        since = len(self.heard)
        async with asyncio.timeout(QUIET_WITHIN_S):
            while len(self.heard) < since + QUIET_FRAMES or any(map(any, self.heard[-QUIET_FRAMES:])):
                await asyncio.sleep(FRAME_S)

    async def run(self) -> None:
        due = asyncio.get_running_loop().time()
        while True:
            noise = self._noise.normal(0, 12, FRAME_SAMPLES).astype(np.int16)
            pcm = np.frombuffer(self.to_say.pop(0), np.int16) if self.to_say else 0
            self._events.put_nowait(AudioReceived((noise + pcm).astype(np.int16).tobytes()))
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = write_config(tmp_path_factory.mktemp("m"), "[play]\noriginal_voice = false\n")
    with contextlib.ExitStack() as servers:
        for kind in ("stt", "mt", "tts"):
            servers.enter_context(model_server(kind, path))
        yield path


@pytest.fixture(scope="module")
def stalls() -> Iterator[Stalls]:
    with Stalls() as stalls:
        yield stalls


async def until(events: list[Event], lane: str, timeout_s: float = 15.0) -> UtteranceInterpreted:
    async with asyncio.timeout(timeout_s):
        while True:
            for event in events:
                if isinstance(event, UtteranceInterpreted) and event.lane == lane:
                    return event
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("ta", "என் laptop இன்று ரொம்ப மெதுவாக ஓடுகிறது."),
        ("te", "నా laptop ఈరోజు చాలా నెమ్మదిగా నడుస్తోంది."),
        ("kn", "ನನ್ನ laptop ಇವತ್ತು ತುಂಬಾ ನಿಧಾನವಾಗಿ ನಡೆಯುತ್ತಿದೆ."),
        ("mr", "माझा laptop आज खूप हळू चालत आहे."),
        ("hi", "मेरा laptop आज बहुत धीरे चल रहा है."),
    ],
)
async def test_a_call_in_each_language(config: Path, stalls: Stalls, code: str, sentence: str) -> None:
    loaded = load(config)
    models = ModelClient(loaded.run_dir)
    events: list[Event] = []
    caller, agent = Telephone(), Telephone()
    clock = MediaClock(VoiceActivity())
    prompts = await Prompts.synthesise(models, PROMPTS)
    lexicon = read_lexicon(REPOSITORY / "models/lexicon/it_terms.tsv")
    call = CallInterpreter("call", loaded.config, models, prompts, events.append, None, clock, hinglish=Hinglish(lexicon))
    call.attach("caller", caller)
    call.attach("agent", agent)
    call.start()
    running = [asyncio.create_task(work) for work in (clock.run(), caller.run(), agent.run())]
    told: list[tuple[UtteranceInterpreted, float]] = []
    try:
        await asyncio.gather(caller.quiet(), agent.quiet())
        for phone, lane, text, voice in (
            (caller, "caller_to_agent", sentence, code),
            (agent, "agent_to_caller", "please printer restart कीजिए.", "hi"),
        ):
            phone.say(text, voice)
            told.append((await until(events, lane), time.monotonic()))
            await asyncio.gather(caller.quiet(), agent.quiet())  # the translation has been heard, and what else was to be said
    finally:
        await call.stop()
        for task in running:
            task.cancel()
        await models.aclose()
    (first, _), (second, _) = told
    decided = [event.language for event in events if isinstance(event, LanguageDecided)]
    assert decided == [code]
    assert "laptop" in first.translated
    assert (first.outcome, second.outcome) == ("interpreted", "interpreted")
    assert "restart" in second.translated
    assert second.target_language == code
    for phone in (caller, agent):
        heard = np.frombuffer(b"".join(phone.heard), np.int16)
        assert np.abs(heard).max() > 3000
    for event, at in told:
        assert event.delays.total - stalls.lost_s(at - event.delays.total, at) < SLOWEST_S, event.delays
