"""A call inside of this process and in virtual time: real lanes, legs and voice activity; scripted telephones and models.

What is heard, when, and what follows does not depend on the machine: the models take the times they are given here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from appliance.config.schema import Config
from appliance.engines.base import Samples
from appliance.events import Event, Party
from appliance.interpreter.belief import Belief
from appliance.interpreter.call import CallInterpreter
from appliance.interpreter.clock import MediaClock
from appliance.interpreter.hinglish import Hinglish
from appliance.interpreter.models_protocol import Models
from appliance.interpreter.prompts import Prompts, read_texts
from appliance.modelserver.messages import LanguageScores, Transcript, Translation
from appliance.speech.vad import RATE, WINDOW, VoiceActivity
from appliance.telephony.media import FRAME_S, FRAME_SAMPLES, AudioReceived, MarkReached, MediaEnded, MediaEvent, MediaStarted

Microphone = Callable[[int, deque[Samples]], Samples]
"""The next frame (320 samples) a telephone sends, given its number and what was played so far, newest last."""

LANGUAGE = "hi"
"""The caller's."""
WAY_FRAMES = 2
"""Frames that wait in Asterisk before one is played."""
_PHASE_S = 0.007
"""Of the telephones' 20 ms against the clock's."""
RECOGNISE_S, TRANSLATE_S, SPEAK_S = 0.08, 0.04, 0.05


class VirtualPhone:
    """A party's audio in and out (`MediaTransport`)."""

    def __init__(self, microphone: Microphone) -> None:
        self.frames = 0
        """Played so far."""
        self._microphone = microphone
        self._played: deque[Samples] = deque(maxlen=64)
        self._marks: deque[tuple[int, str]] = deque()
        self._events: asyncio.Queue[MediaEvent] = asyncio.Queue()
        self._events.put_nowait(MediaStarted("virtual"))

    async def events(self) -> AsyncIterator[MediaEvent]:
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, MediaEnded):
                return

    def send(self, pcm: bytes) -> None:
        self._played.append(np.frombuffer(pcm, np.int16))
        self.frames += 1

    def mark(self, mark: str) -> None:
        self._marks.append((self.frames + WAY_FRAMES, mark))

    async def close(self) -> None:
        self._events.put_nowait(MediaEnded("closed"))

    async def run(self) -> None:
        """Send for ever."""
        number, begun_s = 0, asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(max(0.0, begun_s + number * FRAME_S + _PHASE_S - asyncio.get_running_loop().time()))
            while self._marks and self._marks[0][0] <= self.frames:
                self._events.put_nowait(MarkReached(self._marks.popleft()[1]))
            self._events.put_nowait(AudioReceived(self._microphone(number, self._played).tobytes()))
            number += 1


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    ended_s: float
    """In the audio it belongs to."""


@dataclass
class ScriptedModels:
    """Knows what is said when in the caller's audio; anything else is heard as one word (`Models`)."""

    audio: Samples
    """The caller's whole line, from its first frame on."""
    words: Sequence[Word]
    translate_as: Callable[[str], str]
    speak_as: Callable[[str], Samples]
    heard: int = 0
    """Decodes of audio that is not the caller's."""
    _places: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        windows = self.audio[: len(self.audio) // WINDOW * WINDOW].reshape(-1, WINDOW)
        self._places = {window[:32].tobytes(): number * WINDOW for number, window in enumerate(windows)}

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
        await asyncio.sleep(RECOGNISE_S)
        place = self._places.get(pcm[:32].tobytes())
        if place is None:
            self.heard += 1
            text = "echo"
        else:
            first_s, last_s = place / RATE, (place + len(pcm)) / RATE
            text = " ".join(word.text for word in self.words if first_s < word.ended_s <= last_s)
        scores = {code: 0.97 if code == LANGUAGE else 0.01 for code in languages}
        return Transcript(text, language or LANGUAGE, scores, -0.05, 0.0 if text else 0.95, 1.0, "scripted", 1, 0.0, 0.0)

    async def identify(self, text: str, timeout_s: float) -> LanguageScores:
        return LanguageScores({}, "none")

    async def translate(self, text: str, source: str, target: str, timeout_s: float) -> Translation:
        await asyncio.sleep(TRANSLATE_S)
        return Translation(self.translate_as(text), -0.05, "scripted", 1, 0.0, 0.0)

    async def speak(self, text: str, language: str, timeout_s: float, voice: str = "") -> Samples:
        await asyncio.sleep(SPEAK_S)
        return self.speak_as(text)


def recorded(audio: Samples) -> Microphone:
    """What was recorded, then silence."""
    frames = audio[: len(audio) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    nothing = np.zeros(FRAME_SAMPLES, np.int16)
    return lambda number, played: frames[number] if number < len(frames) else nothing


def silent_prompts() -> Prompts:
    """Prompts that are over at once."""
    texts = read_texts()
    return Prompts(texts, {(name, code): np.zeros(FRAME_SAMPLES, np.int16) for name in texts for code in texts[name]})


async def hold(
    caller: VirtualPhone,
    agent: VirtualPhone,
    models: Models,
    seconds: float,
    publish: Callable[[Event], None],
    *,
    config: Config | None = None,
    belief: Belief | None = None,
    hinglish: Hinglish | None = None,
    every: Callable[[], None] = lambda: None,
    every_s: float = 60.0,
) -> None:
    """Interpret a call of this length.

    Args:
        belief, hinglish: of the models, where they are real ones.
        publish: told of every event.
        every: called each `every_s`, for what is to be measured on the way.
    """
    clock = MediaClock(VoiceActivity())
    prompts = silent_prompts()
    call = CallInterpreter("virtual", config or Config(), models, prompts, publish, LANGUAGE, clock, hinglish=hinglish, belief=belief)
    phones: dict[Party, VirtualPhone] = {"caller": caller, "agent": agent}
    for party, phone in phones.items():
        call.attach(party, phone)
    call.start()
    tasks = [asyncio.create_task(clock.run()), *(asyncio.create_task(phone.run()) for phone in phones.values())]
    try:
        loop = asyncio.get_running_loop()
        over_s = loop.time() + seconds
        while (left_s := over_s - loop.time()) > 1e-6:
            await asyncio.sleep(min(every_s, left_s))
            every()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await call.stop()
