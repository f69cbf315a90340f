"""A speakerphone that gives back what it plays: how often the listener's own playback is taken for something he said."""

from __future__ import annotations

from collections import deque

import numpy as np

from appliance.audio import noise
from appliance.bench import clips, virtual_time
from appliance.bench.results import Result, Row
from appliance.bench.virtual_call import WAY_FRAMES, ScriptedModels, VirtualPhone, Word, hold, recorded
from appliance.config.schema import Config
from appliance.engines.base import Samples
from appliance.events import Event, UtteranceInterpreted
from appliance.phone.demo import scripts
from appliance.speech.vad import RATE
from appliance.telephony.media import FRAME_SAMPLES

DELAYS_S = (0.04, 0.06, 0.08, 0.10, 0.12)
LEVEL_DB = -15.0
UTTERANCES = 50
_LINE_RMS = 12.0
_ROOM_S, _DECAY_S = 0.06, 0.015
"""Length and fall of the room's answer in the echo."""


class Speakerphone:
    """The microphone of a telephone that hears its own loudspeaker, through a room and a telephone's filter.

    Args:
        delay_s: from loudspeaker to microphone, a multiple of 20 ms.
        level_db: of what comes back against what was played.
    """

    def __init__(self, delay_s: float, level_db: float, rng: np.random.Generator) -> None:
        taps = rng.standard_normal(round(_ROOM_S * RATE)) * np.exp(-np.arange(round(_ROOM_S * RATE)) / (_DECAY_S * RATE))
        taps[0] = 3.0
        self._answer = taps * (10 ** (level_db / 20) / float(np.sqrt(np.square(taps).sum())))
        self._behind = round(delay_s * RATE / FRAME_SAMPLES) + WAY_FRAMES
        self._length = len(taps) + FRAME_SAMPLES
        self._rng = rng

    def __call__(self, number: int, played: deque[Samples]) -> Samples:
        hiss = self._rng.normal(0, _LINE_RMS, FRAME_SAMPLES)
        last = len(played) - self._behind
        first = last - -(-self._length // FRAME_SAMPLES)
        if first < 0:
            return hiss.astype(np.int16)
        heard = np.concatenate([played[index] for index in range(first, last)]).astype(np.float32)
        back = np.convolve(heard, self._answer)[len(heard) - FRAME_SAMPLES : len(heard)]
        return np.clip(back + hiss, -32768, 32767).astype(np.int16)


def measure(*, quick: bool, seed: int = 2) -> Result:
    """
    Raises:
        EngineUnavailable: espeak-ng is not installed.
        VoiceActivityError: there is no voice activity model.
    """
    each = UTTERANCES // len(DELAYS_S) if not quick else 4
    sentences = [text for code in scripts.LANGUAGES[-1:] for text in clips.sentences(code)]
    answers = clips.sentences(scripts.AGENT_LANGUAGE)
    said = [clips.spoken(text, scripts.LANGUAGES[-1]) for text in sentences[:each]]
    spoken = [clips.spoken(text, scripts.AGENT_LANGUAGE) for text in answers[: 2 * each]]
    rows = [row(delay_s, said, spoken, each, np.random.default_rng(seed + index)) for index, delay_s in enumerate(DELAYS_S)]
    total: Row = {"delay ms": None, "level dB": LEVEL_DB}
    total.update(
        {name: sum(int(item[name] or 0) for item in rows) for name in ("played", "heard back", "taken for speech", "decodes of it")}
    )
    return Result("echo", "A listener's telephone gives back what it plays", [*rows, total], ("the last row is all of them",))


def row(delay_s: float, said: list[Samples], spoken: list[Samples], count: int, rng: np.random.Generator) -> Row:
    """One call in which the caller says `count` sentences and the agent only listens.

    Args:
        said: speech of the caller, taken in turn.
        spoken: translations, likewise.
    """
    line, words = [np.zeros(RATE // 2, np.int16)], []
    for number in range(count):
        speech = said[number % len(said)]
        pause = np.zeros(len(spoken[number % len(spoken)]) + 2 * RATE, np.int16)
        ended_s = (sum(map(len, line)) + len(speech)) / RATE
        words.append(Word(f"sentence {number}.", ended_s - 0.3))
        line += [speech, pause]
    clean = np.concatenate(line)
    audio = np.clip(clean + noise.white(len(clean), RATE, rng) * _LINE_RMS, -32768, 32767).astype(np.int16)
    order = iter(range(10**9))
    models = ScriptedModels(audio, words, lambda text: text, lambda text: spoken[next(order) % len(spoken)])
    events: list[Event] = []
    caller = VirtualPhone(recorded(audio))
    agent = VirtualPhone(Speakerphone(delay_s, LEVEL_DB, rng))
    virtual_time.run(hold(caller, agent, models, len(audio) / RATE + 2, events.append, config=Config()))
    utterances = [event for event in events if isinstance(event, UtteranceInterpreted)]
    back = [event for event in utterances if event.lane == "agent_to_caller"]
    return {
        "delay ms": 1000 * delay_s,
        "level dB": LEVEL_DB,
        "played": sum(event.lane == "caller_to_agent" and event.outcome == "interpreted" for event in utterances),
        "heard back": sum(event.reason == "echo" for event in back),
        "taken for speech": sum(event.outcome != "silence" for event in back),
        "decodes of it": models.heard,
    }
