"""Calls by SIPp for a long time: at most of what the machine carries, then half as many again as are allowed.

First the capacity is looked for: more and more calls until the gateway's clock is late. The soak holds 80 % of it; then, with as many
calls allowed as were held, half as many again are offered for some minutes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from appliance.bench.errors import BenchError
from appliance.bench.results import Result, Row
from appliance.bench.sip_levels import END_S, LEVEL_S, LEVELS, QUICK_LEVEL_S, QUICK_LEVELS, SETTLE_S, beyond, hang_up, levels, utterances
from appliance.bench.sip_stack import Sample, SipStack, keep, sip_stack
from appliance.bench.workplace import workplace
from appliance.store.transcripts import UtteranceText

MINUTES, QUICK_MINUTES = 30.0, 0.5
SHARE = 0.8
"""Of the capacity that is held."""
CALL_S, QUICK_CALL_S = 60.0, 15.0
START_S = 15.0
"""In which the calls of the soak are dialled: they then end spread over a minute too."""
OVER_S, QUICK_OVER_S = 180.0, 15.0
OVER = 1.5
ROW_S = 60.0

Note = Callable[[str], None]
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
    minutes = minutes or (QUICK_MINUTES if quick else MINUTES)
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
            stretches = hold(stack, at_once, minutes, QUICK_CALL_S if quick else CALL_S, tell)
            left = stack.until_empty(END_S)
            said = asyncio.run(utterances(stack))
            rows = [stretch.row(said) for stretch in stretches]
            rows.append(slope_row(rows))
            rows.append({"what": "after the last call", **{column: left.get(name, 0) for name, column in HELD.items()}})
            if logs is not None and any(row.get("failed calls") for row in rows):
                keep(folder, logs)
        place = folder / "over"
        place.mkdir()
        rows.append(overload(place, at_once, QUICK_OVER_S if quick else OVER_S, port_offset, tell))
    return Result("soak", f"{at_once} calls at once by SIPp for {minutes:g} minutes, {100 * SHARE:g} % of {capacity}", rows, notes)


def hold(stack: SipStack, at_once: int, minutes: float, call_s: float, tell: Note) -> list[Stretch]:
    """`at_once` calls for so long, each of `call_s`; a stretch a minute."""
    stretches: list[Stretch] = []
    with stack.calling(at_once, call_s, at_once / START_S) as sipp:
        time.sleep(START_S + SETTLE_S)
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
        if not sipp.wait(call_s + END_S):
            raise BenchError("calls of SIPp did not end")
    return stretches


def slope_row(rows: Sequence[Row]) -> Row:
    """Growth of memory in MB an hour over the second half, when caches are full; None where that is too short to tell."""
    half = rows[len(rows) // 2 :]
    row: Row = {"what": "growth, MB an hour", "failed calls": sum(int(item["failed calls"] or 0) for item in rows)}
    for name in ("gateway MB", "Asterisk MB"):
        values = [float(item[name] or 0.0) for item in half]
        row[name] = round(3600 / ROW_S * float(np.polyfit(range(len(values)), values, 1)[0]), 2) if len(values) >= 3 else None
    return row


def overload(folder: Path, at_once: int, seconds: float, port_offset: int | None, tell: Note) -> Row:
    """As many calls as are allowed, and half as many again offered on and on: what becomes of those inside."""
    with sip_stack(folder, max_calls=at_once, port_offset=port_offset) as stack:
        offered = round(OVER * at_once)
        tell(f"{offered} calls offered, {at_once} allowed")
        with stack.calling(offered, CALL_S, offered / START_S) as sipp:
            time.sleep(START_S + SETTLE_S)
            before, began_at = stack.sample(), time.time()
            time.sleep(seconds)
            after, tally, ended_at = stack.sample(), sipp.tally(), time.time()
        hang_up(stack)
        stretch = Stretch(f"{OVER:g} times as many offered", began_at, ended_at, before, after, tally.good, tally.failed)
        return stretch.row(asyncio.run(utterances(stack)))
