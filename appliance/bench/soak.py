"""Calls by SIPp for a long time: at most of what the machine carries, then half as many again as are allowed.

First the capacity is looked for: more and more calls until the gateway's clock is late. The soak holds 80 % of it. Then, with as many
calls allowed as were held, just these are offered for a minute, and half as many again for some minutes more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from appliance.bench.errors import BenchError
from appliance.bench.goals import AFTER, ALLOWED, ERROR, GROWTH, OVER
from appliance.bench.results import Result, Row
from appliance.bench.sip_levels import END_S, LEVEL_S, LEVELS, QUICK_LEVEL_S, QUICK_LEVELS, SETTLE_S, beyond, hang_up, levels, utterances
from appliance.bench.sip_stack import Sample, SipStack, keep, sip_stack
from appliance.bench.workplace import workplace
from appliance.store.transcripts import UtteranceText

SHARE = 0.8
"""Of the capacity that is held."""
MORE = 1.5
"""Times the calls that are allowed."""
ROW_S = 60.0
LEAST_ROWS = 5
"""From which a slope is told: fewer lie on a line by chance."""

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Times:
    minutes: float
    call_s: float
    """Of each call."""
    dial_s: float
    """In which all calls are dialled: they then end spread over as much."""
    allowed_s: float
    """With as many calls offered as are allowed."""
    over_s: float
    """With more of them."""


FULL = Times(30.0, 60.0, 15.0, 60.0, 180.0)
QUICK = Times(0.25, 8.0, 4.0, 8.0, 10.0)
HELD = {
    "calls": "calls",
    "channels": "channels",
    "bridges": "bridges",
    "media_sockets": "sockets",
    "call_tasks": "tasks",
    "asterisk channels": "PBX channels",
    "asterisk bridges": "PBX bridges",
}
"""Columns of what is held at the end of a row."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was seen from one sample to the next; times in seconds since the epoch."""

    name: str
    began_at: float
    ended_at: float
    before: Sample
    after: Sample
    good: int
    failed: int

    def row(self, found: Sequence[UtteranceText]) -> Row:
        """`found`: all utterances that the gateway has recorded."""
        span = self.after.at_s - self.before.at_s
        said, spread = beyond(found, self.began_at, self.ended_at)

        def cpu(name: str) -> float:
            return round(100 * (self.after.cpu_s[name] - self.before.cpu_s[name]) / span, 1)

        row: Row = {
            "what": self.name,
            "ended calls": self.good,
            "failed calls": self.failed,
            "gateway MB": self.after.memory_mb["gateway"],
            "Asterisk MB": self.after.memory_mb["asterisk"],
            "gateway CPU %": cpu("gateway"),
            "Asterisk CPU %": cpu("asterisk"),
            "late ticks": self.after.late_ticks - self.before.late_ticks,
            "frames lost": self.after.frames_lost - self.before.frames_lost,
            "utterances": said,
            "delay beyond p50 ms": spread.p50 if spread else None,
            "delay beyond p95 ms": spread.p95 if spread else None,
            "files": self.after.files,
        }
        return row | {column: self.after.held[name] for name, column in HELD.items()}


def measure(
    *, quick: bool, minutes: float | None = None, port_offset: int | None = None, tell: Note = lambda text: None, logs: Path | None = None
) -> Result:
    """
    Args:
        minutes: of the soak; 30 by default.
        logs: folder that gets the parts' logs when a call failed.

    Raises:
        BenchError, PortTaken, NotInstalled.
    """
    times = QUICK if quick else FULL
    minutes = minutes or times.minutes
    notes: list[str] = []
    with workplace() as folder:
        with sip_stack(folder, port_offset=port_offset) as stack:
            found = levels(stack, QUICK_LEVELS if quick else LEVELS, QUICK_LEVEL_S if quick else LEVEL_S, tell)
            capacity = max((level.calls for level in found if level.carried), default=0)
            if not capacity:
                raise BenchError(f"this machine does not carry {found[0].calls} calls: {found[0]}")
            if capacity == found[-1].calls:
                notes.append(f"{capacity} calls were carried and no more were tried: the capacity may be higher")
            at_once = max(1, round(SHARE * capacity))
            stretches = hold(stack, at_once, minutes, times, tell)
            left = stack.until_empty(END_S)
            said = asyncio.run(utterances(stack))
            rows = [stretch.row(said) for stretch in stretches]
            rows += slope_rows(rows)
            rows.append({"what": AFTER, **{column: left.get(name, 0) for name, column in HELD.items()}})
            if logs is not None and any(row.get("failed calls") for row in rows):
                keep(folder, logs)
        place = folder / "over"
        place.mkdir()
        rows += overload(place, at_once, times, port_offset, tell)
    return Result("soak", f"{at_once} calls at once by SIPp for {minutes:g} minutes, {100 * SHARE:g} % of {capacity}", rows, notes)


def hold(stack: SipStack, at_once: int, minutes: float, times: Times, tell: Note) -> list[Stretch]:
    """`at_once` calls for so long; a stretch a minute."""
    stretches: list[Stretch] = []
    with stack.calling(at_once, times.call_s, at_once / times.dial_s) as sipp:
        time.sleep(times.dial_s + SETTLE_S)
        before, counted, began_at = stack.sample(), sipp.tally(), time.time()
        end = time.monotonic() + 60 * minutes
        while (left := end - time.monotonic()) > 1:
            tell(f"{at_once} calls, minute {len(stretches) + 1} of {minutes:g}")
            time.sleep(min(ROW_S, left))
            if sipp.ended:
                raise BenchError("SIPp has ended in the middle")
            after, tally, ended_at = stack.sample(), sipp.tally(), time.time()
            good, failed = tally.good - counted.good, tally.failed - counted.failed
            stretches.append(Stretch(str(len(stretches) + 1), began_at, ended_at, before, after, good, failed))
            before, counted, began_at = after, tally, ended_at
        sipp.no_more()
        if not sipp.wait(times.call_s + END_S):
            raise BenchError("calls of SIPp did not end")
    return stretches


def slope_rows(rows: Sequence[Row]) -> list[Row]:
    """Growth of memory in MB an hour over the second half, when caches are full, and how sure it is.

    None where that is too short to tell.
    """
    half = rows[len(rows) // 2 :]
    growth: Row = {"what": GROWTH, "failed calls": sum(int(item["failed calls"] or 0) for item in rows)}
    error: Row = {"what": ERROR}
    for name in ("gateway MB", "Asterisk MB"):
        fit = slope([float(item[name] or 0.0) for item in half]) if len(half) >= LEAST_ROWS else None
        growth[name], error[name] = (round(3600 / ROW_S * value, 2) for value in fit) if fit else (None, None)
    return [growth, error]


def slope(values: Sequence[float]) -> tuple[float, float]:
    """Of at least three values: what each has more than the one before, by least squares, and the standard error of that."""
    places = np.arange(len(values)) - (len(values) - 1) / 2
    spread = float(np.square(places).sum())
    rise = float(places @ np.asarray(values)) / spread
    rest = np.asarray(values) - np.mean(values) - rise * places
    return rise, float(np.sqrt(np.square(rest).sum() / (len(values) - 2) / spread))


def overload(folder: Path, at_once: int, times: Times, port_offset: int | None, tell: Note) -> list[Row]:
    """What becomes of the calls inside when half as many again are offered on and on as are allowed, after just as many."""
    stretches: list[Stretch] = []
    with sip_stack(folder, max_calls=at_once, port_offset=port_offset) as stack:
        for name, offered, seconds in ((ALLOWED, at_once, times.allowed_s), (OVER, round(MORE * at_once), times.over_s)):
            tell(f"{offered} calls offered, {at_once} allowed")
            with stack.calling(offered, FULL.call_s, offered / times.dial_s) as sipp:
                time.sleep(times.dial_s + SETTLE_S)
                before, counted, began_at = stack.sample(), sipp.tally(), time.time()
                time.sleep(seconds)
                after, tally, ended_at = stack.sample(), sipp.tally(), time.time()
            hang_up(stack)
            good, failed = tally.good - counted.good, tally.failed - counted.failed
            stretches.append(Stretch(name, began_at, ended_at, before, after, good, failed))
        said = asyncio.run(utterances(stack))
    return [stretch.row(said) for stretch in stretches]
