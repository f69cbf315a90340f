"""A call in virtual time: two phones, scripted models, and a detector that takes loud for speech.

Each utterance is a square wave of its own amplitude, so that the scripted recogniser knows what it hears and how much of it;
each synthesised sentence is one too, so that a test sees in a phone's frames what the party heard and when.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from appliance.config.schema import Config
from appliance.events import Event, Party, UtteranceInterpreted
from appliance.interpreter.availability import Availability
from appliance.interpreter.belief import Belief
from appliance.interpreter.call import CallInterpreter
from appliance.interpreter.clock import MediaClock
from appliance.interpreter.hinglish import Hinglish
from appliance.interpreter.prompts import Prompts, read_texts
from appliance.modelserver.messages import LanguageScores, Transcript, Translation
from appliance.telephony.media import FRAME_S, FRAME_SAMPLES, AudioReceived, MarkReached, MediaEnded, MediaEvent, MediaStarted

RATE = 16_000
LOUD = 1000
"""Amplitude from which on the detector hears speech."""
MARK_DELAY_TICKS = 4
"""Frames waiting in Asterisk before one is heard."""
CODES = ("ta", "te", "kn", "mr", "hi")


@dataclass
class Phone:
    """A party's `MediaTransport`."""

    to_say: list[np.ndarray] = field(default_factory=list)
    frames: list[np.ndarray] = field(default_factory=list)
    sending: bool = True
    closed: bool = False
    echo_db: float | None = None
    echo_ticks: int = 5
    _events: asyncio.Queue[MediaEvent] = field(default_factory=asyncio.Queue)
    _marks: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._events.put_nowait(MediaStarted("channel"))

    async def events(self) -> AsyncIterator[MediaEvent]:
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, MediaEnded):
                return

    def send(self, pcm: bytes) -> None:
        assert len(pcm) == 2 * FRAME_SAMPLES
        self.frames.append(np.frombuffer(pcm, np.int16))

    def mark(self, mark: str) -> None:
        self._marks.append((len(self.frames) + MARK_DELAY_TICKS, mark))

    async def close(self) -> None:
        self.closed = True
        self._events.put_nowait(MediaEnded("closed"))

    def hang_up(self) -> None:
        self._events.put_nowait(MediaEnded("hung up"))
        self.sending = False

    def tick(self) -> None:
        """20 ms of the phone: what it says goes out, marks that are due come back."""
        for due, mark in list(self._marks):
            if len(self.frames) >= due:
                self._marks.remove((due, mark))
                self._events.put_nowait(MarkReached(mark))
        if not self.sending:
            return
        pcm = self.to_say.pop(0) if self.to_say else np.zeros(FRAME_SAMPLES, np.int16)
        if self.echo_db is not None and len(self.frames) > self.echo_ticks:
            pcm = pcm + (self.frames[-self.echo_ticks] * 10 ** (self.echo_db / 20)).astype(np.int16)
        self._events.put_nowait(AudioReceived(pcm.astype(np.int16).tobytes()))

    def say(self, level: int, seconds: float) -> None:
        samples = round(seconds / FRAME_S) * FRAME_SAMPLES
        wave = np.where(np.arange(samples) // 20 % 2, level, -level).astype(np.int16)
        self.to_say += list(wave.reshape(-1, FRAME_SAMPLES))

    def pause(self, seconds: float) -> None:
        self.to_say += [np.zeros(FRAME_SAMPLES, np.int16)] * round(seconds / FRAME_S)

    def heard(self, level: int, slack: int = 3) -> list[int]:
        """Frames that are a square wave of this amplitude."""
        return [index for index, frame in enumerate(self.frames) if abs(int(np.median(np.abs(frame))) - level) <= slack]


class LoudDetector:
    def __init__(self) -> None:
        self.streams = 0

    def open(self) -> int:
        self.streams += 1
        return self.streams

    def close(self, stream: int) -> None:
        pass

    def run(self, streams: list[int], windows: list[np.ndarray]) -> np.ndarray:
        return np.array([0.95 if np.mean(np.abs(window)) > LOUD / 2 else 0.02 for window in windows], np.float32)


@dataclass
class Spoken:
    """What the recogniser makes of an utterance: words come as they are spoken."""

    text: str
    language: str
    seconds: float
    scores: dict[str, float] = field(default_factory=dict)
    avg_logprob: float = -0.05
    no_speech_prob: float = 0.0
    support: float | None = None


class ScriptedModels:
    """Honours the contract of the model client; latency in virtual time."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.spoken: dict[int, Spoken] = {}
        self.translations: dict[str, str] = {}
        self.levels: dict[str, int] = {}
        self.asked: list[tuple[str, ...]] = []
        self.failures: dict[str, list[Exception]] = {"stt": [], "mt": [], "tts": []}
        self.latency: dict[str, float] = {"stt": 0.04, "mt": 0.02, "tts": 0.02}
        self.slow: dict[str, float] = {}
        self.score = -0.05
        self.speech_s = 1.0
        self.partials_now = self.most_partials = 0

    async def transcribe(
        self,
        pcm: np.ndarray,
        *,
        language: str | None,
        languages: Sequence[str] = (),
        partial: bool = False,
        stream: str = "",
        timeout_s: float,
    ) -> Transcript:
        self.asked.append(("partial" if partial else "final", language or "?"))
        assert language is not None or set(languages) == set(CODES)
        self.partials_now += partial
        self.most_partials = max(self.most_partials, self.partials_now)
        try:
            await self._work("stt")
        finally:
            self.partials_now -= partial
        loud = np.abs(pcm[np.abs(pcm) >= LOUD])
        level = int(np.bincount(loud).argmax()) if len(loud) else 0
        said = self.spoken.get(level)
        if said is None:
            return self._transcript("", language or "hi", {}, -2.0, 0.95)
        words = said.text.split()
        count = round(len(words) * min(1.0, len(loud) / RATE / said.seconds + 0.02))
        scores = said.scores or {code: 0.96 if code == said.language else 0.01 for code in CODES}
        heard_in = language or max(scores, key=lambda code: scores[code])
        text = " ".join(words[:count]) if heard_in == said.language else "xyz"
        return self._transcript(text, heard_in, {} if language else scores, said.avg_logprob, said.no_speech_prob, said.support)

    async def identify(self, text: str, timeout_s: float) -> LanguageScores:
        self.asked.append(("identify", text))
        return LanguageScores({}, "none")

    async def translate(self, text: str, source: str, target: str, timeout_s: float) -> Translation:
        self.asked.append(("translate", text, source, target))
        await self._work("mt", self.slow.get(text, 0.0))
        return Translation(self.translations.get(text, text), self.score, "scripted", 1, 0.0, 0.0)

    async def speak(self, text: str, language: str, timeout_s: float, voice: str = "") -> np.ndarray:
        self.asked.append(("speak", text, language))
        await self._work("tts")
        level = self.levels.setdefault(text, 200 + 10 * len(self.levels))
        samples = round(self.speech_s * RATE)
        return np.where(np.arange(samples) // 20 % 2, level, -level).astype(np.int16)

    def count(self, *what: str) -> int:
        return sum(asked[: len(what)] == what for asked in self.asked)

    async def _work(self, kind: str, more_s: float = 0.0) -> None:
        await self.rig.sleep(self.latency[kind] + more_s)
        if self.failures[kind]:
            raise self.failures[kind].pop(0)

    def _transcript(
        self, text: str, language: str, scores: dict[str, float], logprob: float, no_speech: float, support: float | None = None
    ) -> Transcript:
        return Transcript(text, language, scores, logprob, no_speech, 1.0, "scripted", 1, 0.0, 0.0, support)


def prompts() -> Prompts:
    """Every prompt is half a second at an amplitude of its own; see `prompt_level`."""
    texts = read_texts()
    audio = {
        (name, code): np.where(np.arange(8000) // 20 % 2, 1, -1).astype(np.int16) * prompt_level(name, code)
        for name in texts
        for code in texts[name]
    }
    return Prompts(texts, {key: value.astype(np.int16) for key, value in audio.items()})


def prompt_level(name: str, code: str) -> int:
    texts = read_texts()
    return 5000 + 100 * list(texts).index(name) + 10 * list(texts[name]).index(code)


class ScriptedServers:
    """How the model servers are, as a test says."""

    def __init__(self) -> None:
        self.away: tuple[str, ...] = ()
        self.in_trouble = False

    def out(self) -> tuple[str, ...]:
        return self.away


class Rig:
    """The call, the phones and the time."""

    def __init__(
        self,
        *,
        config: Config | None = None,
        prior: str | None = None,
        detector: object | None = None,
        belief: Belief | None = None,
        watched: bool = False,
        before: dict[str, Any] | None = None,
    ) -> None:
        """`before`: what of the call is known from another interpreter, by the names of `CallInterpreter`."""
        self.now = 100.0
        self.events: list[Event] = []
        self.lost: list[str] = []
        self.caller, self.agent = Phone(), Phone()
        self.models = ScriptedModels(self)
        self.servers = ScriptedServers()
        self.availability = Availability(self.servers) if watched else None
        self.detector = detector or LoudDetector()
        self.clock = MediaClock(self.detector, time=lambda: self.now)  # type: ignore[arg-type]
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        config = config or msgspec.convert({"play": {"original_voice": False}}, Config)
        self.call = CallInterpreter(
            "call-1",
            config,
            self.models,
            prompts(),
            self.events.append,
            prior,
            self.clock,
            hinglish=Hinglish({"प्रिंटर": "printer"}),
            belief=belief,
            unavailable=self.lost.append,
            availability=self.availability,
            **(before or {}),
        )

    def begin(self) -> None:
        self.call.attach("caller", self.caller)
        self.call.attach("agent", self.agent)
        self.call.start()

    def phone(self, party: Party) -> Phone:
        return self.caller if party == "caller" else self.agent

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, future))
        await future

    async def run(self, seconds: float) -> None:
        for _ in range(round(seconds / FRAME_S)):
            self.now += FRAME_S
            for phone in (self.caller, self.agent):
                phone.tick()
            for due, future in list(self._sleepers):
                if due <= self.now:
                    self._sleepers.remove((due, future))
                    if not future.done():
                        future.set_result(None)
            for _ in range(12):
                await asyncio.sleep(0)
            self.clock.tick(self.now)
            if self.availability is not None and round(self.now / FRAME_S) % 5 == 0:
                self.availability.tell()
        for _ in range(12):
            await asyncio.sleep(0)

    def script(self, level: int, text: str, language: str, translation: str = "", seconds: float = 2.0, **more: object) -> None:
        """Utterances of this amplitude are heard as `text`."""
        self.models.spoken[level] = Spoken(text, language, seconds, **more)  # type: ignore[arg-type]
        if translation:
            self.models.translations[text] = translation

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def utterances(self) -> list[UtteranceInterpreted]:
        return self.of(UtteranceInterpreted)
