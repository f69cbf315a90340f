"""The listener on bad lines, with the real detector and our own noise; `appliance bench lines` does more of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from said import said

from appliance.audio import noise
from appliance.bench import lines, noise_call
from appliance.bench.found import Found, Truth, score
from appliance.bench.lines import SPEECH_RMS, Line, at_level, listen, trimmed
from appliance.speech.vad import RATE

WORDS = {
    "hi": "मेरा printer आज सुबह से काम नहीं कर रहा है",
    "ta": "என் கணினி இன்று வேலை செய்யவில்லை",
    "kn": "ನನ್ನ ಕಂಪ್ಯೂಟರ್ ಇವತ್ತು ಕೆಲಸ ಮಾಡುತ್ತಿಲ್ಲ",
    "mr": "माझा संगणक आज काम करत नाही",
    "te": "నా కంప్యూటర్ ఈరోజు పని చేయడం లేదు",
}


def voice(code: str) -> np.ndarray:
    return at_level(trimmed(said(WORDS[code], code)), SPEECH_RMS)


def with_noise(kind: str, snr_db: float, clean: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(11)
    if kind == "crowd":
        made = noise.babble(len(clean), RATE, rng, [voice(code).astype(np.float32) for code in WORDS])
    else:
        made = noise.make(kind, len(clean), RATE, rng)
    return np.clip(clean + made * (SPEECH_RMS * 10 ** (-snr_db / 20)), -32768, 32767).astype(np.int16)


def test_noise_alone_is_never_an_utterance() -> None:
    empty = np.zeros(20 * RATE, np.int16)
    lines = [
        Line(kind, snr, with_noise(kind, snr, empty), ()) for kind in ("babble", "traffic", "wind", "hum") for snr in (15.0, 10.0, 5.0)
    ]
    assert listen(lines) == [[]] * len(lines)


@pytest.mark.parametrize(("kind", "snr_db"), [("crowd", 15.0), ("babble", 10.0), ("traffic", 10.0), ("wind", 5.0), ("hum", 5.0)])
def test_a_sentence_ends_soon_after_it_has_ended_whatever_goes_on_behind_it(kind: str, snr_db: float) -> None:
    pieces, truth, place = [np.zeros(5 * RATE, np.int16)], [], 5 * RATE
    for code in WORDS:
        sentence = voice(code)
        truth.append(Truth(place / RATE, (place + len(sentence)) / RATE))
        pieces += [sentence, np.zeros(2 * RATE, np.int16)]
        place += len(sentence) + 2 * RATE
    line = Line(kind, snr_db, with_noise(kind, snr_db, np.concatenate(pieces)), tuple(truth))
    (found,) = listen([line])
    scores = score(line.truth, [item for item in found if item.ended_s > 5.0])
    assert (scores.missed, scores.split) == (0, 0), scores
    assert scores.decided_p95_ms is not None
    assert scores.decided_p95_ms < 1000, scores


@dataclass
class Calls:
    """In place of calls with the starter models: every line is spoken once in each, and refused twice."""

    held: list[tuple[float, str]] = field(default_factory=list)

    def told(self, pcm: np.ndarray, party: str) -> noise_call.Told:
        self.held.append((len(pcm) / RATE / 60, party))
        return noise_call.Told(len(pcm) / RATE / 60, 1, 2)


@pytest.mark.parametrize(("quick", "parties"), [(True, ["caller"]), (False, ["caller", "agent"])])
def test_only_noise_in_which_a_listener_finds_something_is_a_call(quick: bool, parties: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls()

    @contextmanager
    def started() -> Iterator[Calls]:
        yield calls

    monkeypatch.setattr(noise_call, "starter_appliance", started)
    monkeypatch.setattr(lines, "NOISES", ("babble", "crowd"))
    monkeypatch.setattr(lines, "SNRS_DB", (10.0,))
    monkeypatch.setitem(lines._MINUTES, quick, 0.5)
    monkeypatch.setattr(lines, "_QUICK_SENTENCES", 1)
    found = {line: [Found(1.0, 2.0, 2.5)] if line == "crowd" else [] for line in ("none", "babble", "crowd")}
    monkeypatch.setattr(lines, "listen", lambda asked: [found[line.noise] for line in asked])
    rows = {row["noise"]: row for row in lines.measure(quick=quick).rows}
    assert [party for _, party in calls.held] == parties
    assert (rows["crowd"]["false per minute"], rows["crowd"]["spoken per minute"], rows["crowd"]["refused per minute"]) == (2.0, 2.0, 4.0)
    assert (rows["babble"]["spoken per minute"], rows["none"]["refused per minute"]) == (0.0, 0.0)


def test_what_was_found_is_held_against_what_was_said() -> None:
    truth = [Truth(1.0, 2.0), Truth(4.0, 6.0), Truth(8.0, 9.0), Truth(11.0, 12.0)]
    found = [
        Found(1.05, 2.1, 2.6),
        Found(4.0, 4.8, 5.3),
        Found(5.0, 6.0, 6.5),
        Found(9.5, 10.0, 10.5),
        Found(11.0, 12.6, 13.0),
    ]
    scores = score(truth, found)
    assert (scores.whole_percent, scores.split, scores.missed, scores.false) == (25.0, 1, 1, 1)
    assert scores.end_off_p95_ms == pytest.approx(600)
    assert scores.decided_p95_ms == pytest.approx(1000)
    assert score([], found).whole_percent is None
