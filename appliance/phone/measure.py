"""From a call as it was recorded to its figures: whose utterance, where it ends, where its translation begins. No I/O.

Everything is laid out on one clock: seconds from the INVITE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from appliance.events import LaneName, LanguageDecided, Party, UtteranceInterpreted
from appliance.phone import speech_edges
from appliance.phone.call_events import Received
from appliance.phone.conversation import LANES, LISTENERS, CallRecord, Spoken, Turn
from appliance.phone.report import Language, Silence
from appliance.phone.speech_edges import Stretch
from appliance.phone.timeline import Samples
from appliance.phone.wav import TELEPHONE_HZ

RATE = TELEPHONE_HZ
PARTIES: tuple[Party, Party] = ("caller", "agent")
_SNAP_S = 0.35
"""The gateway's end of an utterance inside a file lies this close to a pause of the file."""
_EARLIEST_S = 0.3
"""From the beginning of speech: nothing can be translated before."""

Patterns = Mapping[tuple[LaneName, int, int], Samples]
"""How the translation of a segment sounds (8 kHz), by lane, utterance and segment."""


@dataclass(frozen=True)
class CallAudio:
    """Both directions of both telephones from the INVITE on, int16 at 8 kHz."""

    said: Mapping[Party, Samples]
    heard: Mapping[Party, Samples]
    length_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One utterance of the gateway, or a turn it never told of (`parts` empty)."""

    turn: Turn
    last_of_turn: bool
    reference: str | None
    parts: Sequence[UtteranceInterpreted]
    """Its segments."""
    speech: Stretch
    heard_from_s: float | None
    last_part_from_s: float | None
    heard_to_s: float | None

    @property
    def lane(self) -> LaneName:
        return LANES[self.turn.speaker]


def lay_out(record: CallRecord) -> CallAudio:
    start, end = record.dialled_at, record.ended_at
    said = {party: record.tracks[party, "said"].on_clock(start, end) for party in PARTIES}
    heard = {party: record.tracks[party, "heard"].on_clock(start, end) for party in PARTIES}
    return CallAudio(said, heard, end - start)


def told_of_turns(record: CallRecord) -> list[list[list[UtteranceInterpreted]]]:
    """For each turn its utterances, each a list of segments, by when the gateway told of them."""
    found = []
    for index, spoken in enumerate(record.spoken):
        lane = LANES[spoken.turn.speaker]
        later = [other.asked_at for other in record.spoken[index + 1 :] if other.turn.speaker == spoken.turn.speaker]
        events = [
            item.event
            for item in record.received
            if isinstance(item.event, UtteranceInterpreted) and item.event.lane == lane and item.event.outcome != "silence"
            if spoken.asked_at <= item.at < min(later, default=float("inf"))
        ]
        events.sort(key=lambda event: (event.utterance, event.segment))
        found.append([list(parts) for _, parts in groupby(events, key=lambda event: event.utterance)])
    return found


def measure(record: CallRecord, audio: CallAudio, patterns: Patterns) -> list[Measured]:
    """Every utterance in the order it was said.

    Args:
        patterns: where an utterance has several parts, or a turn several utterances, their translations follow each other
            without a pause, and only their sound tells where one begins.
    """
    rows: list[Measured] = []
    for index, (spoken, utterances) in enumerate(zip(record.spoken, told_of_turns(record), strict=True)):
        later = [other for other in record.spoken[index + 1 :] if other.turn.speaker == spoken.turn.speaker]
        until = (later[0].asked_at - record.dialled_at) if later else audio.length_s
        rows += _measure_turn(spoken, utterances, audio, patterns, spoken.asked_at - record.dialled_at, until)
    return rows


def _measure_turn(
    spoken: Spoken,
    utterances: Sequence[Sequence[UtteranceInterpreted]],
    audio: CallAudio,
    patterns: Patterns,
    asked_s: float,
    until_s: float,
) -> list[Measured]:
    turn = spoken.turn
    heard = audio.heard[LISTENERS[turn.speaker]]
    stretches = _speech_of_turn(turn, audio.said[turn.speaker], asked_s)
    speeches = _divide(stretches, utterances)
    references = _references(turn.reference, len(speeches))
    begins: list[list[float | None]] = []
    for number, speech in enumerate(speeches):
        parts = utterances[number] if utterances else []
        first = None if number else _onset(heard, speech, stretches[0].start_s, until_s)
        begins.append(_part_begins(parts, first, heard, patterns, speech, until_s))
    ends = [next((later[0] for later in begins[number + 1 :] if later and later[0] is not None), until_s) for number in range(len(begins))]
    rows = []
    for number, speech in enumerate(speeches):
        known = [begin for begin in begins[number] if begin is not None]
        end = speech_edges.translation_end(heard, RATE, onset_s=known[0], until_s=max(ends[number], known[0] + 0.1)) if known else None
        rows.append(
            Measured(
                turn=turn,
                last_of_turn=number == len(speeches) - 1,
                reference=references[number],
                parts=utterances[number] if utterances else (),
                speech=speech,
                heard_from_s=known[0] if known else None,
                last_part_from_s=begins[number][-1] if begins[number] else None,
                heard_to_s=end,
            )
        )
    return rows


def _speech_of_turn(turn: Turn, said: Samples, asked_s: float) -> list[Stretch]:
    """Stretches of speech of the turn in what was sent; never empty."""
    first = max(0, round(asked_s * RATE))
    length = len(turn.samples) + RATE // 2
    found = speech_edges.speech_stretches(said[first : first + length], RATE)
    moved = [Stretch(first / RATE + item.start_s, first / RATE + item.end_s) for item in found]
    return moved or [Stretch(asked_s, asked_s + len(turn.samples) / RATE)]


def _divide(stretches: Sequence[Stretch], utterances: Sequence[Sequence[UtteranceInterpreted]]) -> list[Stretch]:
    """The speech of each utterance: the gateway says how far they end apart, the recording says where exactly."""
    whole = Stretch(stretches[0].start_s, stretches[-1].end_s)
    if len(utterances) < 2:
        return [whole]
    last = utterances[-1][-1].ended_s
    speeches: list[Stretch] = []
    begin = whole.start_s
    for parts in utterances:
        about = whole.end_s - (last - parts[-1].ended_s)
        nearest = min((stretch.end_s for stretch in stretches), key=lambda end: abs(end - about))
        end = nearest if abs(nearest - about) <= _SNAP_S else about
        speeches.append(Stretch(begin, end))
        begin = min((stretch.start_s for stretch in stretches if stretch.start_s >= end), default=end)
    return speeches


def _onset(heard: Samples, speech: Stretch, original_start_s: float, until_s: float) -> float | None:
    return speech_edges.translation_onset(
        heard, RATE, from_s=speech.start_s + _EARLIEST_S, until_s=until_s, original_start_s=original_start_s, original_end_s=speech.end_s
    )


def _part_begins(
    parts: Sequence[UtteranceInterpreted], first: float | None, heard: Samples, patterns: Patterns, speech: Stretch, until_s: float
) -> list[float | None]:
    """Where each part begins in what was heard: the first by its onset where that is known, others by their sound."""
    if not parts:
        return [first]
    begins: list[float | None] = []
    begin = round((speech.start_s + _EARLIEST_S) * RATE)
    for number, part in enumerate(parts):
        if number == 0 and first is not None:
            begins.append(first)
        else:
            pattern = patterns.get((part.lane, part.utterance, part.segment))
            place = None if pattern is None else speech_edges.find(pattern, heard[begin : round(until_s * RATE)])
            begins.append(None if place is None else (begin + place) / RATE)
        known = begins[-1]
        if known is not None:
            begin = round(known * RATE)
    return begins


def _references(reference: str | None, count: int) -> list[str | None]:
    """The reference of a file for each of its utterances: one sentence each where the numbers agree, else only if there is one."""
    if reference is None or count == 1:
        return [reference] * count
    sentences = sentences_of(reference)
    return list(sentences) if len(sentences) == count else [None] * count


def sentences_of(text: str) -> list[str]:
    sentences, current = [], ""
    for word in text.split():
        current = f"{current} {word}".strip()
        if word[-1] in ".?!":
            sentences.append(current)
            current = ""
    return [*sentences, current] if current else sentences


def first_audio(audio: CallAudio) -> float | None:
    """INVITE to the first sound the caller heard."""
    return speech_edges.sound_onset(audio.heard["caller"], RATE)


def longest_silences(audio: CallAudio, rows: Sequence[Measured]) -> Silence:
    def of(listener: Party) -> float:
        within = [
            Stretch(row.speech.start_s, row.heard_to_s or row.speech.end_s) for row in rows if LISTENERS[row.turn.speaker] == listener
        ]
        return speech_edges.longest_silence(audio.heard[listener], RATE, within)

    return Silence(round(of("caller"), 3), round(of("agent"), 3))


def language_of(received: Sequence[Received], expected: str | None) -> Language:
    """What was decided last: whoever changes his mind has decided then."""
    decided = next((item for item in reversed(received) if isinstance(item.event, LanguageDecided)), None)
    if decided is None or not isinstance(decided.event, LanguageDecided):
        return Language(expected=expected, detected=None, detected_after_s=None, detected_in_utterance=None, how=None, votes=[])
    event = decided.event
    before = {
        item.event.utterance
        for item in received
        if isinstance(item.event, UtteranceInterpreted) and item.event.lane == "caller_to_agent" and item.event.last_segment
        if item.at < decided.at and item.event.outcome != "silence"
    }
    return Language(
        expected=expected,
        detected=event.language,
        detected_after_s=event.after_s,
        detected_in_utterance=len(before) + 1 if event.how != "memory" else 1,
        how=event.how,
        votes=event.votes,
    )
