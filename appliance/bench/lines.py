"""How well the listener of a lane finds speech on bad lines: noise alone, and sentences in noise, from our own generator.

All lines run beside each other through the voice activity detector and a listener each, as the legs of a worker do, but as fast
as they can: what is found does not depend on the machine. Noise alone in which the listener finds something is then a call's
(`noise_call`): most of it the recogniser refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from appliance.audio import noise
from appliance.bench import clips, noise_call
from appliance.bench.found import Found, Truth, score
from appliance.bench.results import Result, Row
from appliance.config.schema import Listen
from appliance.engines.base import Samples
from appliance.events import Party
from appliance.phone.demo import scripts
from appliance.speech.listen import Listener, SpeechEnded
from appliance.speech.vad import RATE, WINDOW, WINDOW_S, VoiceActivity

NOISES = ("babble", "crowd", "traffic", "wind", "hum")
"""`babble` swells like speech without being any; `crowd` is three to seven people who speak at once."""
SNRS_DB = (15.0, 10.0, 5.0)
SPEECH_RMS = 3277
"""Of the loud parts of speech (-20 dBFS), an ordinary telephone voice."""
LINE_RMS = 8.0
"""Hiss of a good line (-72 dBFS)."""
_PAUSES_S = (1.4, 2.4)
PARTIES: tuple[Party, ...] = ("caller", "agent")
_LEAD_S = 3.0
"""Noise before the first sentence."""
_PIECE_S = 20.0
_QUICK_SENTENCES = 12
"""Of the demo; a full measurement takes all of them."""
_MINUTES = {True: 2.0, False: 10.0}

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Line:
    """What comes in on one leg."""

    noise: str
    snr_db: float | None
    pcm: Samples
    truth: tuple[Truth, ...]
    """What was said in it; nothing where there is noise alone."""


def measure(*, quick: bool, seed: int = 4, tell: Note = lambda text: None) -> Result:
    """
    Raises:
        EngineUnavailable: espeak-ng is not installed.
        VoiceActivityError: there is no voice activity model.
        BenchError: a starter model does not start.
    """
    rng = np.random.default_rng(seed)
    voices = _voices(rng)
    said = [voices[index] for index in rng.permutation(len(voices))[: _QUICK_SENTENCES if quick else len(voices)]]
    conditions: list[tuple[str, float | None]] = [("none", None), *((kind, snr) for kind in NOISES for snr in SNRS_DB)]
    alone = [_line(kind, snr, [], round(60 * _MINUTES[quick] * RATE), voices, rng) for kind, snr in conditions]
    spoken = [_line(kind, snr, said, 0, voices, rng) for kind, snr in conditions]
    found_alone, found_spoken = listen(alone), listen(spoken)
    told = _told(alone, found_alone, quick, tell)
    rows = [_row(*line) for line in zip(alone, found_alone, told, spoken, found_spoken, strict=True)]
    return Result(
        "lines",
        f"Speech on bad lines: {_MINUTES[quick]:g} minutes of noise alone, {len(said)} sentences in it",
        rows,
        (
            "voices are espeak-ng's; a crowd is 3 to 7 of them at once, at a constant level",
            "false: what a listener takes for speech; refused and spoken: what becomes of it in a call with the starter models",
        ),
    )


def listen(lines: Sequence[Line], settings: Listen | None = None) -> list[list[Found]]:
    """What a listener with these settings (the default ones) finds on each line."""
    detector = VoiceActivity()
    streams = [detector.open() for _ in lines]
    listeners = [Listener(settings or Listen()) for _ in lines]
    found: list[list[Found]] = [[] for _ in lines]
    for number in range(max(len(line.pcm) for line in lines) // WINDOW):
        heard = [index for index, line in enumerate(lines) if (number + 1) * WINDOW <= len(line.pcm)]
        windows = [lines[index].pcm[number * WINDOW : (number + 1) * WINDOW] for index in heard]
        probabilities = detector.run([streams[index] for index in heard], windows)
        for index, window, probability in zip(heard, windows, probabilities, strict=True):
            for event in listeners[index].feed(window, float(probability), (number + 1) * WINDOW_S):
                if isinstance(event, SpeechEnded):
                    utterance = event.utterance
                    found[index].append(Found(utterance.started_s, utterance.ended_s, utterance.decided_s))
    return found


def _told(alone: Sequence[Line], found: Sequence[Sequence[Found]], quick: bool, tell: Note) -> list[noise_call.Told]:
    """What becomes of the lines in calls, as the caller's and as the agent's; nothing where the listener finds nothing.

    Args:
        quick: one line is the caller's, the next the agent's.
    """
    told = [noise_call.Told(len(line.pcm) / RATE / 60, 0, 0) for line in alone]
    if not any(found):
        return told
    with noise_call.starter_appliance() as appliance:
        for index, line in enumerate(alone):
            if found[index]:
                tell(f"calls with {line.noise} at {line.snr_db or 0:g} dB")
                by_party = [appliance.told(line.pcm, party) for party in (PARTIES[index % 2 :][:1] if quick else PARTIES)]
                told[index] = sum(by_party[1:], by_party[0])
    return told


def _voices(rng: np.random.Generator) -> list[Samples]:
    texts = [(text, code) for code in (*scripts.LANGUAGES, scripts.AGENT_LANGUAGE) for text in clips.sentences(code)]
    return [at_level(trimmed(clips.spoken(*texts[index])), SPEECH_RMS) for index in rng.permutation(len(texts))]


def trimmed(pcm: Samples) -> Samples:
    """Without the silence around it, so that its ends are those of the speech."""
    loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) > np.abs(pcm.astype(np.int32)).max(initial=0) / 50)
    return pcm[loud[0] : loud[-1] + 1] if len(loud) else pcm


def at_level(pcm: Samples, rms: float) -> Samples:
    """With this RMS over its loud parts."""
    power = np.square(pcm.astype(np.float32))
    loud = power[power > power.mean() / 100]
    scaled: Samples = np.clip(pcm * (rms / float(np.sqrt(loud.mean()))), -32768, 32767).astype(np.int16)
    return scaled


def _line(
    kind: str, snr_db: float | None, said: Sequence[Samples], length: int, voices: Sequence[Samples], rng: np.random.Generator
) -> Line:
    pieces: list[Samples] = [np.zeros(round(_LEAD_S * RATE), np.int16)] if said else [np.zeros(length, np.int16)]
    truth, place = [], len(pieces[0])
    for sentence in said:
        pause = np.zeros(round(rng.uniform(*_PAUSES_S) * RATE), np.int16)
        truth.append(Truth(place / RATE, (place + len(sentence)) / RATE))
        pieces += [sentence, pause]
        place += len(sentence) + len(pause)
    clean = np.concatenate(pieces)
    noisy = clean + rng.normal(0, LINE_RMS, len(clean))
    if snr_db is not None:
        noisy += _noise(kind, len(clean), voices, rng) * (SPEECH_RMS * 10 ** (-snr_db / 20))
    return Line(kind, snr_db, np.clip(noisy, -32768, 32767).astype(np.int16), tuple(truth))


def _noise(kind: str, count: int, voices: Sequence[Samples], rng: np.random.Generator) -> noise.Samples:
    """Pieces of noise, each made anew: so there are more kinds of it, and long ones take no longer."""
    wide = [voice.astype(np.float32) for voice in voices]
    piece = round(_PIECE_S * RATE)
    made = [
        noise.babble(piece, RATE, rng, wide) if kind == "crowd" else noise.make(kind, piece, RATE, rng) for _ in range(-(-count // piece))
    ]
    return np.concatenate(made)[:count]


def _row(alone: Line, false: Sequence[Found], told: noise_call.Told, spoken: Line, found: Sequence[Found]) -> Row:
    scores = score(spoken.truth, found)
    return {
        "noise": alone.noise,
        "SNR dB": alone.snr_db,
        "false per minute": round(len(false) / (len(alone.pcm) / RATE / 60), 3),
        "refused per minute": round(told.refused / told.minutes, 3),
        "spoken per minute": round(told.spoken / told.minutes, 3),
        "sentences": len(spoken.truth),
        "found whole %": scores.whole_percent,
        "cut in two": scores.split,
        "missed": scores.missed,
        "false between": scores.false,
        "start off p95 ms": scores.start_off_ms,
        "end off p50 ms": scores.end_off_p50_ms,
        "end off p95 ms": scores.end_off_p95_ms,
        "decided after p50 ms": scores.decided_p50_ms,
        "decided after p95 ms": scores.decided_p95_ms,
    }
