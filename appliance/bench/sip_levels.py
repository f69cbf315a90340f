"""What calls by SIPp cost, 10, 40, 80 and 120 at once, until the machine does not carry them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.bench import fixed_engines
from appliance.bench.figures import Spread, beyond_s, spread_ms
from appliance.bench.goals import sip_level
from appliance.bench.line import FRAME_S
from appliance.bench.results import Row
from appliance.bench.sip_stack import SipStack
from appliance.bench.sipp import Sipp
from appliance.speech.listen import PAUSE_WINDOWS
from appliance.speech.vad import WINDOW_S
from appliance.store.transcripts import Transcripts, UtteranceText

LEVELS, QUICK_LEVELS = (10, 40, 80, 120), (10,)
LEVEL_S, QUICK_LEVEL_S = 20.0, 10.0
SETTLE_S = 8.0
"""From the last call's INVITE to what is measured: its agent is there and both talk."""
DIAL_PER_S = 4.0
LONGEST_S = 600.0
"""Of a call: none ends while it is measured."""
LATE_SHARE = 0.01
"""Of the ticks; with more of them late the machine carries fewer calls than this."""
END_S = 40.0
"""For calls to end and everything to be gone."""

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Level:
    """What a number of calls costs."""

    calls: int
    cpu: dict[str, float]
    """Share of a core by process."""
    late_ticks: int
    frames_lost: int
    failed: int
    """Calls that were not there any more, or never came about."""
    began_at: float
    span_s: float
    """From `began_at`, seconds since the epoch."""

    @property
    def carried(self) -> bool:
        ticks = self.span_s / FRAME_S
        return self.late_ticks <= LATE_SHARE * ticks and self.frames_lost <= LATE_SHARE * 2 * self.calls * ticks and not self.failed

    def row(self, found: Sequence[UtteranceText]) -> Row:
        """`found`: all utterances that the gateway has recorded."""
        said, spread = beyond(found, self.began_at, self.began_at + self.span_s)
        return {
            "call": sip_level(self.calls),
            "gateway CPU % per call": _per_call(self.cpu["gateway"], self.calls),
            "Asterisk CPU % per call": _per_call(self.cpu["asterisk"], self.calls),
            "models CPU % per call": _per_call(self.cpu["engines"], self.calls),
            "SIPp CPU % per call": _per_call(self.cpu["sipp"], self.calls),
            "late ticks": self.late_ticks,
            "frames lost": self.frames_lost,
            "failed calls": self.failed,
            "utterances": said,
            "delay beyond p50 ms": spread.p50 if spread else None,
            "delay beyond p95 ms": spread.p95 if spread else None,
            "delay beyond p99 ms": spread.p99 if spread else None,
        }


def _per_call(share: float, calls: int) -> float:
    return round(100 * share / calls, 3)


def levels(stack: SipStack, wanted: Sequence[int], level_s: float, tell: Note) -> list[Level]:
    """More and more calls, until one number is not carried."""
    found: list[Level] = []
    for calls in wanted:
        tell(f"{calls} calls")
        with stack.calling(calls, LONGEST_S, DIAL_PER_S) as sipp:
            time.sleep(calls / DIAL_PER_S + SETTLE_S)
            began_at = time.time()
            before, sipp_before = stack.sample(), cpu_s(sipp, stack.agents)
            time.sleep(level_s)
            after, sipp_after = stack.sample(), cpu_s(sipp, stack.agents)
            held = after.held["calls"]
        span = after.at_s - before.at_s
        cpu = {name: (after.cpu_s[name] - before.cpu_s[name]) / span for name in after.cpu_s}
        cpu["sipp"] = (sipp_after - sipp_before) / span
        late, lost = after.late_ticks - before.late_ticks, after.frames_lost - before.frames_lost
        found.append(Level(calls, cpu, late, lost, max(0, calls - held), began_at, span))
        hang_up(stack)
        if not found[-1].carried:
            break
    return found


def hang_up(stack: SipStack) -> None:
    """Calls of a SIPp that was ended have nobody at their end."""
    stack.asterisk("channel request hangup all")
    stack.until_empty(END_S)


async def utterances(stack: SipStack) -> list[UtteranceText]:
    """Everything that the gateway has recorded."""
    found: list[UtteranceText] = []
    async with Transcripts.from_config(stack.loaded) as transcripts:
        async for call in transcripts.export():
            found += call.utterances
    return found


def beyond(found: Sequence[UtteranceText], began_at: float, ended_at: float) -> tuple[int, Spread | None]:
    """How many were recorded in that time, and how long they took beyond endpoint wait and engines, by the gateway's own clock."""
    said = [item for item in found if began_at <= item.recorded_at.timestamp() < ended_at]
    pause_s = PAUSE_WINDOWS * WINDOW_S
    times = [
        beyond_s(item.delays["total"], item.delays.get("endpoint_wait", 0.0), pause_s, fixed_engines.ENGINES_S)
        for item in said
        if item.outcome == "interpreted" and "total" in item.delays
    ]
    return len(said), spread_ms(times)


def cpu_s(*processes: Sipp) -> float:
    return sum(process.cpu_s for process in processes)
