"""Utterances that were found, held against what was said. Pure; times are seconds from the start of the line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.bench.figures import spread_ms

NEAR_S = 0.25
"""An end that is off by more is a wrong one: a word is lost, or the listener waits for nothing."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A sentence as it was said."""

    started_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class Found:
    started_s: float
    ended_s: float
    decided_s: float


@dataclass(frozen=True, slots=True)
class Scores:
    whole_percent: float | None
    """Sentences that are one utterance with both ends within `NEAR_S`."""
    split: int
    """Sentences that are several utterances."""
    missed: int
    false: int
    """Utterances in which nothing was said."""
    start_off_ms: float | None
    """95th percentile of how far a found start is off, either way."""
    end_off_p50_ms: float | None
    end_off_p95_ms: float | None
    decided_p50_ms: float | None
    """From the true end of the sentence to the decision that it has ended."""
    decided_p95_ms: float | None


def score(truth: Sequence[Truth], found: Sequence[Found]) -> Scores:
    """Each sentence is held against the utterances that overlap it."""
    parts = [[item for item in found if item.started_s < said.ended_s and item.ended_s > said.started_s] for said in truth]
    used = {id(item) for group in parts for item in group}
    heard = [(said, group) for said, group in zip(truth, parts, strict=True) if group]
    starts = [abs(group[0].started_s - said.started_s) for said, group in heard]
    ends = [abs(group[-1].ended_s - said.ended_s) for said, group in heard]
    decided = [group[-1].decided_s - said.ended_s for said, group in heard]
    whole = sum(
        len(group) == 1 and abs(group[0].started_s - said.started_s) <= NEAR_S and abs(group[0].ended_s - said.ended_s) <= NEAR_S
        for said, group in heard
    )
    start, end, after = spread_ms(starts), spread_ms(ends), spread_ms(decided)
    return Scores(
        whole_percent=round(100 * whole / len(truth), 1) if truth else None,
        split=sum(len(group) > 1 for group in parts),
        missed=sum(not group for group in parts),
        false=sum(id(item) not in used for item in found),
        start_off_ms=start.p95 if start else None,
        end_off_p50_ms=end.p50 if end else None,
        end_off_p95_ms=end.p95 if end else None,
        decided_p50_ms=after.p50 if after else None,
        decided_p95_ms=after.p95 if after else None,
    )
