"""`report.json`: what became of real calls, utterance by utterance. Described for readers in `docs/report.md`.

Times of a call are seconds from its INVITE. `report.schema.json` beside this file is made from these classes by
`python -m appliance.phone.report`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from appliance.events import LaneName, LanguageVote

SCHEMA_FILE = Path(__file__).with_name("report.schema.json")

Share = Annotated[float, Meta(ge=0, le=1)]


class Delays(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. Stages are the gateway's, of the part translated last."""

    total: float | None
    """From the end of speech in the speaker's sent audio to the first translated audio in the listener's received audio, by the
    telephones' own recordings. Below 0 when the translation of a first clause began before the speaker stopped; null when
    nothing was heard."""
    last_part: float | None
    """As `total`, to the beginning of the part translated last; the same for an utterance translated in one part."""
    endpoint_wait: float
    recognise: float
    identify: float
    translate: float
    render: float
    speak: float
    play: float
    line: float | None
    """The rest of `last_part`: both telephone lines, and what the gateway's clock does not see; null when that is."""


class Utterance(msgspec.Struct, frozen=True, kw_only=True):
    lane: LaneName
    source_file: str
    """File name of the speech it is part of."""
    reference: str | None
    """What was said, where that is known."""
    expected: str | None
    """What the listener should hear, where that is known."""
    recognised: str
    translated: str
    heard: str
    """What the listener's recording contains when it is recognised again; empty when nothing was heard."""
    outcome: str
    """interpreted, refused (the speaker was asked to say it again), failed, or missed (the gateway never told of it)."""
    segments: Annotated[int, Meta(ge=0)]
    """Parts it was translated in; more than one when a clause went ahead."""
    delay_s: Delays
    confidence: Share
    started_s: float
    """Begin of the speech in the speaker's sent audio."""
    ended_s: float
    """End of the speech in the speaker's sent audio."""
    heard_from_s: float | None
    """First translated audio in the listener's received audio."""
    heard_to_s: float | None
    """End of the translated audio there."""
    values_expected: tuple[str, ...]
    """Slot values (numbers, ids, names) the listener should hear, where they are known; those of a file are with its last row."""
    values_heard: tuple[str, ...]
    """Those of them that are in what was heard of the file."""


class Language(msgspec.Struct, frozen=True, kw_only=True):
    expected: str | None
    detected: str | None
    detected_after_s: float | None
    """From the caller's first speech."""
    detected_in_utterance: int | None
    """Number of the caller's utterance after (or in) which it was decided, from 1."""
    how: str | None
    """votes, keypad, default or memory."""
    votes: list[LanguageVote]


class Silence(msgspec.Struct, frozen=True):
    caller: float
    agent: float


class Audio(msgspec.Struct, frozen=True):
    """Stereo WAV files, 8 kHz, from the INVITE on, relative to the report; left: what the party said, right: what it heard."""

    caller: str
    agent: str


class CallReport(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """The gateway's; empty when it told nothing of the call."""
    number: str
    """Called number."""
    language: Language
    outcome: str
    """By the gateway interpreted, direct, no_agent, caller_gone, agent_gone or failed; by the telephones, when it tells nothing,
    not_answered, no_agent or unknown."""
    through: bool
    """Whether everything was said and the call ended by hanging up after it."""
    closed_early: str
    """Why not; empty when it was."""
    first_audio_s: float | None
    """INVITE to the first sound the caller heard, which is the greeting."""
    connected_s: float | None
    """INVITE to the agent's answer."""
    duration_s: float
    utterances: list[Utterance]
    audio: Audio | None
    longest_silence_s: Silence
    """Per party, while the other speaks or is interpreted."""


class DelaySummary(msgspec.Struct, frozen=True):
    count: int
    p50: float | None
    p95: float | None
    max: float | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    calls: int
    calls_through: int
    utterances: int
    interpreted: int
    delay_s: dict[str, DelaySummary]
    """`total` by lane, and of `both`."""
    language_known: int
    """Calls whose language was known beforehand."""
    language_right: int
    """Those where the right one was decided by the end of the caller's second utterance."""
    values_utterances: int
    """Speech files with known slot values."""
    values_right: int
    """Those where all of them were heard."""
    first_audio_max_s: float | None
    passed: bool
    """Whether every call went through and every utterance was interpreted."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    versions: dict[str, str]
    """Programs and packages by name."""
    started: str
    """UTC, ISO 8601."""
    calls: list[CallReport]
    summary: Summary


def summarise(calls: Sequence[CallReport]) -> Summary:
    rows = [row for call in calls for row in call.utterances]
    lanes = {"caller_to_agent": rows, "agent_to_caller": rows, "both": rows}
    known = [call for call in calls if call.language.expected is not None]
    valued = [row for row in rows if row.values_expected]
    interpreted = sum(row.outcome == "interpreted" and row.delay_s.total is not None for row in rows)
    greetings = [call.first_audio_s for call in calls if call.first_audio_s is not None]
    through = sum(call.through for call in calls)
    return Summary(
        calls=len(calls),
        calls_through=through,
        utterances=len(rows),
        interpreted=interpreted,
        delay_s={name: _delays([row for row in some if name in (row.lane, "both")]) for name, some in lanes.items()},
        language_known=len(known),
        language_right=sum(_language_right(call.language) for call in known),
        values_utterances=len(valued),
        values_right=sum(values_right(row) for row in valued),
        first_audio_max_s=max(greetings, default=None),
        passed=bool(calls) and through == len(calls) and all(call.utterances for call in calls) and interpreted == len(rows),
    )


def values_right(row: Utterance) -> bool:
    """Whether every value that should be heard was."""
    return set(row.values_expected) == set(row.values_heard)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below `share` of all values (nearest rank); `values` must not be empty."""
    ordered = sorted(values)
    return ordered[max(0, -(-round(share * 10_000) * len(ordered) // 10_000) - 1)]


def write(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def schema() -> dict[str, Any]:
    """JSON schema (2020-12) of a report."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Report of real calls", **msgspec.json.schema(Report)}


def _delays(rows: Sequence[Utterance]) -> DelaySummary:
    totals = [row.delay_s.total for row in rows if row.delay_s.total is not None]
    if not totals:
        return DelaySummary(0, None, None, None)
    return DelaySummary(len(totals), percentile(totals, 0.50), percentile(totals, 0.95), max(totals))


def _language_right(language: Language) -> bool:
    return language.detected == language.expected and language.detected_in_utterance is not None and language.detected_in_utterance <= 2


if __name__ == "__main__":
    SCHEMA_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n")
    sys.stdout.write(f"{SCHEMA_FILE}\n")
