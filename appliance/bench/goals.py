"""What the figures are to reach, by part, and whether a measurement's rows say that they do. Pure.

A goal is met, missed or not measured: a part may have failed or been left out, and a quick measurement does not go as far as some
goals ask. What a full one did not get to because the machine did not carry it is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from appliance.bench.results import Result, Row, Value

KEEPS_MS, KEEPS_SHARE = 20.0, 0.2
"""Delays of calls inside may grow by so much, whichever is more, when others are turned away: a frame of audio, or a share."""
NEARLY = 1.2
"""Times the cost of a call that more workers may make of it: then six workers carry what five would if nothing were lost."""
BANDS = 2.0
"""Standard errors within which a slope is none."""
SOAK_MINUTES = 30
CALLS, SIP_CALLS, CALLERS = 200, 40, 16
UTTERANCES = 50

Rows = Sequence[Row]


@dataclass(frozen=True, slots=True)
class Seen:
    """What rows say of a goal."""

    reached: Value
    met: bool | None
    """None: not measured, or not as far as the goal asks."""
    where: str = ""
    """Which row says so."""


NOT_MEASURED = Seen(None, None)
Judge = Callable[[Rows, bool], Seen]
"""Given the rows of a part and whether it was measured quickly."""


@dataclass(frozen=True, slots=True)
class Goal:
    part: str
    what: str
    goal: str
    judge: Judge


def judged(parts: Sequence[str], found: Mapping[str, Rows], *, quick: bool) -> Result:
    """The goals of `parts`, given the rows of those that were measured."""
    rows: list[Row] = []
    for goal in GOALS:
        if goal.part in parts:
            seen = goal.judge(found[goal.part], quick) if goal.part in found else NOT_MEASURED
            rows.append(
                {"part": goal.part, "what": goal.what, "goal": goal.goal, "reached": seen.reached, "met": seen.met, "where": seen.where}
            )
    return Result("goals", "Goals", rows, nothing="not measured")


def missed(rows: Rows) -> list[str]:
    """Of the rows of `judged`, what was missed."""
    return [f"{row['part']}: {row['what']}" for row in rows if row["met"] is False]


# How rows are judged


def at_most(
    limit: float, column: str, among: Callable[[Row], bool] = lambda row: True, *, by: Sequence[str] = (), below: bool = False
) -> Judge:
    """The greatest value of a column.

    Args:
        by: columns that name its row.
        below: the limit itself is too much.
    """

    def judge(rows: Rows, quick: bool) -> Seen:
        known = [(_number(row, column), row) for row in rows if among(row) and row.get(column) is not None]
        if not known:
            return NOT_MEASURED
        value, row = max(known, key=lambda item: item[0])
        return Seen(row[column], value < limit or (value == limit and not below), _named(row, by))

    return judge


def at_least(limit: float, column: str, among: Callable[[Row], bool]) -> Judge:
    """The smallest value of a column."""

    def judge(rows: Rows, quick: bool) -> Seen:
        known = [_number(row, column) for row in rows if among(row) and row.get(column) is not None]
        return Seen(min(known), min(known) >= limit) if known else NOT_MEASURED

    return judge


def none_of(columns: Sequence[str], among: Callable[[Row], bool] = lambda row: True) -> Judge:
    """The sum of columns; what is to be 0."""

    def judge(rows: Rows, quick: bool) -> Seen:
        known = [row for row in rows if among(row) and any(row.get(column) is not None for column in columns)]
        total = sum(round(_number(row, column)) for row in known for column in columns)
        return Seen(total, total == 0) if known else NOT_MEASURED

    return judge


def all_through(rows: Rows, quick: bool) -> Seen:
    """Whether everything was said in every real call."""
    through = [bool(row["went through"]) for row in rows if row["call"] != "all" and row.get("went through") is not None]
    return Seen(f"{sum(through)} of {len(through)}", all(through)) if through else NOT_MEASURED


def carried(rows: Rows, quick: bool) -> Seen:
    """The most calls that one worker held with nothing late or lost."""
    troubles = [
        (row, ", ".join(f"{row[name]} {name}" for name in ("late ticks", "frames late", "frames lost") if row[name])) for row in rows
    ]
    most = max((round(_number(row, "calls")) for row, trouble in troubles if not trouble), default=0)
    beyond = [f"{row['calls']} calls: {trouble}" for row, trouble in troubles if trouble and _number(row, "calls") > most]
    away = [f"turned away of {row['offered']}: {row['turned away']}" for row in rows if row["turned away"] != "none"]
    if most < CALLS and quick and not beyond and not away:
        return Seen(most, None, "no more were tried")
    return Seen(most, most >= CALLS, "; ".join([*beyond, *away]))


def nearly_linear(rows: Rows, quick: bool) -> Seen:
    """What a call costs with several workers, by what it costs with one that has as many calls as each of them."""
    alone, most = rows[0], max(rows, key=lambda row: _number(row, "workers"))
    if alone is most or not _number(alone, "CPU % per call"):
        return NOT_MEASURED
    times = round(_number(most, "CPU % per call") / _number(alone, "CPU % per call"), 2)
    return Seen(times, times <= NEARLY, f"{most['workers']} workers")


def sip_delay(limit_ms: float) -> Judge:
    """Delays at the level of SIPp's calls that the goal is about; a machine that does not get there misses it."""

    def judge(rows: Rows, quick: bool) -> Seen:
        levels = [row for row in rows if str(row["call"]).startswith("SIPp")]
        seen = at_most(limit_ms, "delay beyond p95 ms", lambda row: row["call"] == sip_level(SIP_CALLS))(levels, quick)
        if seen is NOT_MEASURED and levels and not quick:
            return Seen(None, False, f"only {levels[-1]['call']}")
        return seen

    return judge


def sip_level(calls: int) -> str:
    """Name of the row with so many calls by SIPp."""
    return f"SIPp, {calls} at once"


def no_echo(rows: Rows, quick: bool) -> Seen:
    total = rows[-1]
    played, again = round(_number(total, "played")), round(_number(total, "taken for speech"))
    return Seen(f"{again} of {played}", False if again else True if played >= UTTERANCES else None)


def steady(percent: float) -> Judge:
    """How much the delay of a monologue differs at its minutes 1, 5 and 15."""

    def judge(rows: Rows, quick: bool) -> Seen:
        return at_most(percent, "spread %", _to_the_end, by=("translation length",))(rows, quick)

    return judge


def _to_the_end(row: Row) -> bool:
    return "delay at 15 min s" in row


GROWTH, ERROR, AFTER = "growth, MB an hour", "its standard error", "after the last call"
ALLOWED, OVER = "as many offered as allowed", "1.5 times as many offered"
"""Names of the rows of a soak; those of its minutes are numbers."""


def soaked(rows: Rows, quick: bool) -> Seen:
    minutes = [row for row in rows if str(row["what"]).isdigit()]
    failed = sum(round(_number(row, "failed calls")) for row in minutes)
    where = f"{sum(round(_number(row, 'ended calls')) for row in minutes)} calls in {len(minutes)} minutes"
    return Seen(failed, False if failed else True if len(minutes) >= SOAK_MINUTES else None, where)


def flat(column: str) -> Judge:
    """Whether memory does not grow by more than its scatter explains."""

    def judge(rows: Rows, quick: bool) -> Seen:
        named = {row["what"]: row.get(column) for row in rows if row["what"] in (GROWTH, ERROR)}
        slope, error = named.get(GROWTH), named.get(ERROR)
        if not isinstance(slope, int | float) or not isinstance(error, int | float):
            return NOT_MEASURED
        return Seen(f"{slope:+.2f} ± {error:.2f}", slope <= BANDS * error)

    return judge


def emptied(columns: Sequence[str]) -> Judge:
    return none_of(columns, lambda row: row["what"] == AFTER)


def kept(rows: Rows, quick: bool) -> Seen:
    """Delays of calls inside, with others turned away and without."""
    named = {row["what"]: row.get("delay beyond p95 ms") for row in rows}
    before, during = named.get(ALLOWED), named.get(OVER)
    if not isinstance(before, int | float) or not isinstance(during, int | float):
        return NOT_MEASURED
    met = during <= before + max(KEEPS_MS, KEEPS_SHARE * before)
    return Seen(f"{during:.0f} after {before:.0f} ms", None if quick else met)


def _number(row: Row, column: str) -> float:
    value = row.get(column)
    return float(value) if isinstance(value, int | float) else 0.0


def _named(row: Row, by: Sequence[str]) -> str:
    known = {name: row[name] for name in by if row.get(name) is not None}
    return ", ".join(value if isinstance(value, str) else f"{name} {value:g}" for name, value in known.items())


def _no_people(row: Row) -> bool:
    return row["noise"] != "crowd"


def _people(row: Row) -> bool:
    return row["noise"] == "crowd"


def _real(row: Row) -> bool:
    return row["call"] == "all"


_LINE = ("noise", "SNR dB")
_NOISE, _CROWD = "false utterances in noise alone", "false utterances in a crowd alone"
_SPOKEN = "spoken to the other party, a minute"
_HELD = ("calls", "channels", "bridges", "sockets", "tasks", "PBX channels", "PBX bridges")

GOALS = (
    Goal("engines", "final decode of 3 s, p95", "<= 250 ms", at_most(250, "p95 ms", lambda row: row["operation"] == "final")),
    Goal("engines", "partial decode of 3 s, p95", "<= 80 ms", at_most(80, "p95 ms", lambda row: row["operation"] == "partial")),
    Goal("engines", "translation of a sentence, p95", "<= 60 ms", at_most(60, "p95 ms", lambda row: row["operation"] == "translate")),
    Goal(
        "batching",
        f"throughput of {CALLERS} callers, by that of one by one",
        ">= 4",
        at_least(4, "times", lambda row: row["callers"] == CALLERS),
    ),
    Goal("batching", "batcher overhead, p95", "<= 3 ms", at_most(3, "batcher overhead ms", by=("callers",))),
    Goal("lines", f"{_NOISE}: found a minute", "< 0.2", at_most(0.2, "false per minute", _no_people, by=_LINE, below=True)),
    Goal("lines", f"{_CROWD}: found a minute", "< 0.2", at_most(0.2, "false per minute", _people, by=_LINE, below=True)),
    Goal("lines", f"{_NOISE}: {_SPOKEN}", "< 0.2", at_most(0.2, "spoken per minute", _no_people, by=_LINE, below=True)),
    Goal("lines", f"{_CROWD}: {_SPOKEN}", "< 0.2", at_most(0.2, "spoken per minute", _people, by=_LINE, below=True)),
    Goal("echo", "played translations that are taken for speech of the listener", f"0 of {UTTERANCES}", no_echo),
    Goal("monologue", "delays at minutes 1, 5 and 15 differ by", "<= 20 %", steady(20)),
    Goal("monologue", "words lost or said twice in 15 minutes", "0", none_of(("lost", "twice"), _to_the_end)),
    Goal("monologue", "growth of memory from its first minute to its last", "<= 1 MB", at_most(1.0, "memory growth MB", _to_the_end)),
    Goal("gateway", "calls on one core with nothing late or lost", f">= {CALLS}", carried),
    Goal("gateway", "memory of a call", "<= 10 MB", at_most(10, "memory per call MB", by=("calls",))),
    Goal("workers", "cost of a call with several workers, by that with one", f"<= {NEARLY:g}", nearly_linear),
    Goal("calls", "four real calls at once: delay p95", "<= 3.0 s", at_most(3.0, "delay p95 s", _real)),
    Goal("calls", "four real calls at once: utterances lost", "0", none_of(("lost",), _real)),
    Goal("calls", "four real calls at once: went through", "all", all_through),
    Goal("calls", "INVITE to greeting, slowest", "<= 0.7 s", at_most(0.7, "INVITE to greeting s", _real)),
    Goal("calls", f"delay beyond endpoint wait and engines at {SIP_CALLS} calls by SIPp, p95", "<= 60 ms", sip_delay(60)),
    Goal("soak", f"failed calls in {SOAK_MINUTES} minutes at 80 % of capacity", "0", soaked),
    Goal("soak", "held after the last call", "0", emptied(_HELD)),
    Goal("soak", "growth of the gateway's memory, MB an hour", "0 within noise", flat("gateway MB")),
    Goal("soak", "growth of Asterisk's memory, MB an hour", "0 within noise", flat("Asterisk MB")),
    Goal(
        "soak", "delay beyond p95 of calls inside at 1.5 times the capacity", f"+ {KEEPS_MS:g} ms or {100 * KEEPS_SHARE:g} % at most", kept
    ),
)
