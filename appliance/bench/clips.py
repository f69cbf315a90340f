"""Speech to load the appliance with: sentences of the demo, spoken by espeak-ng in this process, as a telephone passes them on."""

from __future__ import annotations

import numpy as np
import soxr

from appliance.audio import g711
from appliance.config.schema import Listen
from appliance.engines.base import Samples, SynthesiseJob
from appliance.engines.espeak import Espeak
from appliance.phone.demo import scripts
from appliance.speech.listen import Listener, SpeechEnded
from appliance.speech.vad import RATE, WINDOW, WINDOW_S, VoiceActivity

TELEPHONE_HZ = 8_000


def sentences(code: str) -> list[str]:
    """What the demo's caller of this language says (`hinglish`: what its agents say), one sentence each."""
    calls = scripts.LANGUAGES if code == scripts.AGENT_LANGUAGE else (code,)
    speaker = "agent" if code == scripts.AGENT_LANGUAGE else "caller"
    said = [line.said for call in calls for line in scripts.load(call) if line.speaker == speaker]
    return list(dict.fromkeys(said))


def spoken(text: str, code: str) -> Samples:
    """The text as 16 kHz audio that has been through a G.711 line.

    Raises:
        EngineUnavailable: espeak-ng is not installed.
    """
    wide = Espeak().speak([SynthesiseJob(text, code)])[0].samples
    narrow = np.clip(soxr.resample(wide.astype(np.float32), RATE, TELEPHONE_HZ), -32768, 32767).astype(np.int16)
    line = g711.decode(g711.encode(narrow))
    heard: Samples = np.clip(soxr.resample(line.astype(np.float32), TELEPHONE_HZ, RATE), -32768, 32767).astype(np.int16)
    return heard


def of_length(samples: Samples, seconds: float) -> Samples:
    """The first `seconds` of 16 kHz audio, repeated where there is less."""
    return np.resize(samples, round(seconds * RATE))


def single_utterance_end_s(samples: Samples, listen: Listen, detector: VoiceActivity) -> float | None:
    """Where the listener of a lane finds the end of the speech, in seconds; None when it finds several utterances, or none.

    So an end of speech is the same whether anything else runs on the machine or not.
    """
    listener = Listener(listen)
    stream = detector.open()
    padded = np.concatenate([np.zeros(RATE // 2, np.int16), samples, np.zeros(2 * RATE, np.int16)])
    ends: list[float] = []
    for number in range(len(padded) // WINDOW):
        window = padded[number * WINDOW : (number + 1) * WINDOW]
        probability = float(detector.run([stream], [window])[0])
        events = listener.feed(window, probability, (number + 1) * WINDOW_S)
        ends += [event.utterance.ended_s for event in events if isinstance(event, SpeechEnded)]
    detector.close(stream)
    return ends[0] - 0.5 if len(ends) == 1 else None
