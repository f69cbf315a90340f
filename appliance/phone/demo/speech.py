"""Speech for the demo's conversations: espeak-ng voices set apart for it, which no training or test data uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from appliance.events import Party
from appliance.phone import wav
from appliance.phone.conversation import Turn
from appliance.phone.demo.scripts import AGENT_LANGUAGE, LANGUAGES, Line
from appliance.phone.measure import sentences_of
from appliance.phone.timeline import Samples
from appliance.text.languages import language
from appliance.text.spoken import spoken_text
from appliance.training import speech
from appliance.training.speech import VOICES, Manner

SENTENCE_PAUSE_S = 0.3
LEVEL_DBFS = -20.0
"""RMS of the whole utterance, a usual speech level on a telephone line."""
WORDS_PER_MINUTE = 200


def turns(code: str, lines: list[Line], folder: Path) -> list[Turn]:
    """The conversation as turns, with their speech in `folder` (`ta-1-caller.wav`, ...).

    Raises:
        SpeechError: espeak-ng is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spoken = []
    for number, line in enumerate(lines, 1):
        samples = say(line.said, code if line.speaker == "caller" else AGENT_LANGUAGE, voice_of(code, line.speaker))
        path = folder / f"{code}-{number}-{line.speaker}.wav"
        wav.write(path, samples)
        spoken.append(Turn(line.speaker, path, samples, line.said, line.heard, line.values))
    return spoken


def voice_of(code: str, speaker: Party) -> str:
    """Variant of espeak-ng: callers and agent never share one, and neighbouring calls differ."""
    voices = VOICES["demo"]
    return voices[(LANGUAGES.index(code) + (0 if speaker == "caller" else 1)) % len(voices)]


def say(text: str, code: str, variant: str) -> Samples:
    """`text` in the language with this code, sentence by sentence; int16 at 8 kHz."""
    manner = Manner(voice=f"{language(code).voice}+{variant}", words_per_minute=WORDS_PER_MINUTE)
    pause = np.zeros(round(SENTENCE_PAUSE_S * wav.TELEPHONE_HZ), np.int16)
    pieces: list[Samples] = []
    for sentence in sentences_of(text):
        pieces += [pause, speech.say(spoken_text(sentence, code), manner).samples]
    whole = np.concatenate(pieces[1:]).astype(np.float64)
    gain = 32768 * 10 ** (LEVEL_DBFS / 20) / max(1.0, float(np.sqrt(np.mean(np.square(whole)))))
    return np.clip(whole * gain, -32768, 32767).astype(np.int16)
