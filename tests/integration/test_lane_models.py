"""A call over real model servers, real voice activity and real time; only the telephones are made here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from model_servers import REPOSITORY, model_server, write_config
from said import said

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
async def test_a_call_in_each_language(config: Path, code: str, sentence: str) -> None:
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
    try:
        await asyncio.sleep(0.6)
        caller.say(sentence, code)
        first = await until(events, "caller_to_agent")
        await asyncio.sleep(0.6)
        agent.say("please printer restart कीजिए.", "hi")
        second = await until(events, "agent_to_caller")
        await asyncio.sleep(0.5)
    finally:
        await call.stop()
        for task in running:
            task.cancel()
        await models.aclose()
    decided = [event.language for event in events if isinstance(event, LanguageDecided)]
    assert decided == [code]
    assert "laptop" in first.translated
    assert (first.outcome, second.outcome) == ("interpreted", "interpreted")
    assert "restart" in second.translated
    assert second.target_language == code
    for phone in (caller, agent):
        heard = np.frombuffer(b"".join(phone.heard), np.int16)
        assert np.abs(heard).max() > 3000
    assert first.delays.total < 2.0
    assert second.delays.total < 2.0
