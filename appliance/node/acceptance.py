"""What an acceptance call must show, and whether it did: decided from the report of the call, without I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import msgspec

from appliance.events import LaneName
from appliance.phone.report import CallReport

LANES: tuple[LaneName, ...] = ("caller_to_agent", "agent_to_caller")
NAMES = {"caller_to_agent": "caller to agent", "agent_to_caller": "agent to caller"}


class Bounds(msgspec.Struct, frozen=True):
    """The worst that is accepted."""

    delay_s: float = 3.0
    """End of speech to the first translated audio at the other telephone: what starter models take on two busy cores."""
    words: float = 0.7
    """Share of the words the listener should hear, 0..1."""
    first_audio_s: float = 2.0
    """INVITE to the first sound of the greeting."""


class LaneFigures(msgspec.Struct, frozen=True):
    """One utterance in one direction."""

    delay_s: float | None
    """None when nothing was heard."""
    words: float
    """Share of the expected words that were heard, 0..1."""
    expected: str
    heard: str
    recognised: str


class CallFigures(msgspec.Struct, frozen=True):
    """The call in one language."""

    language: str
    """Of the caller."""
    passed: bool
    attempts: int
    """Calls that were needed; the figures are of the last one."""
    detected: str | None
    outcome: str
    first_audio_s: float | None
    lanes: dict[str, LaneFigures]
    problems: list[str]
    """What is out of bounds, one line each."""


class Acceptance(msgspec.Struct, frozen=True):
    """All of it, as `acceptance.json` in the state folder keeps it."""

    at: float
    """Seconds since the epoch, when it was over."""
    took_s: float
    version: str
    release: str
    node: str
    passed: bool
    bounds: Bounds
    calls: list[CallFigures]


def judge(call: CallReport, language: str, expected: dict[LaneName, str], bounds: Bounds, attempts: int = 1) -> CallFigures:
    """Figures of a call and what is wrong with them.

    Args:
        language: which the caller spoke.
        expected: what each listener should hear.
    """
    lanes = {lane: _figures(call, lane, expected[lane]) for lane in LANES}
    problems = []
    if not call.through:
        problems.append(f"the call did not go through: {call.closed_early or call.outcome}")
    if call.language.detected != language:
        problems.append(f"language {call.language.detected or 'not decided'}, expected {language}")
    if call.first_audio_s is None or call.first_audio_s > bounds.first_audio_s:
        problems.append(f"greeting after {_seconds(call.first_audio_s)}, allowed {bounds.first_audio_s:g} s")
    for lane, figures in lanes.items():
        if figures.delay_s is None or figures.delay_s > bounds.delay_s:
            problems.append(f"{NAMES[lane]}: delay {_seconds(figures.delay_s)}, allowed {bounds.delay_s:g} s")
        if figures.words < bounds.words:
            problems.append(f"{NAMES[lane]}: {figures.words:.0%} of the words heard, needed {bounds.words:.0%}")
    return CallFigures(
        language=language,
        passed=not problems,
        attempts=attempts,
        detected=call.language.detected,
        outcome=call.outcome,
        first_audio_s=call.first_audio_s,
        lanes={str(lane): figures for lane, figures in lanes.items()},
        problems=problems,
    )


def words_heard(expected: str, heard: str) -> float:
    """Share of the expected words that are in what was heard, in their order: 1 less the words missing or other, per word."""
    wanted, got = _words(expected), _words(heard)
    if not wanted:
        return 1.0
    before = [0] * (len(got) + 1)
    for word in wanted:  # longest common subsequence, a row at a time
        row = [0]
        for column, other in enumerate(got, 1):
            row.append(before[column - 1] + 1 if word == other else max(before[column], row[-1]))
        before = row
    return before[-1] / len(wanted)


def _figures(call: CallReport, lane: LaneName, expected: str) -> LaneFigures:
    rows = [row for row in call.utterances if row.lane == lane]
    delays = [row.delay_s.total for row in rows if row.delay_s.total is not None]
    heard = _joined([row.heard for row in rows])
    return LaneFigures(
        delay_s=max(delays) if rows and len(delays) == len(rows) else None,
        words=round(words_heard(expected, heard), 3),
        expected=expected,
        heard=heard,
        recognised=_joined([row.recognised for row in rows]),
    )


def _joined(texts: Sequence[str]) -> str:
    return " ".join(text for text in texts if text)


def _words(text: str) -> list[str]:
    """Words without marks and case; a number's digits together."""
    plain = unicodedata.normalize("NFC", text).casefold()
    return "".join(letter if unicodedata.category(letter)[0] in "LMN" else " " for letter in plain).split()


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"
