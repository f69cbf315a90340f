"""The course of a soak, with telephones, stack and time that are only told of: which rows it makes, and what the goals see in them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from test_bench_rows import recorded

from appliance.bench import soak
from appliance.bench.goals import AFTER, ALLOWED, ERROR, GROWTH, OVER, judged
from appliance.bench.results import Row
from appliance.bench.sip_levels import Level
from appliance.bench.sip_stack import Sample
from appliance.bench.sipp import Tally
from appliance.store.transcripts import UtteranceText

EPOCH = 1e9
BUSY = dict.fromkeys(soak.HELD, 8)


class Clock:
    """Of the module `time`, as far as a soak uses it."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return EPOCH + self.now


class Callers:
    ended = False

    def __init__(self, clock: Clock, refused: bool) -> None:
        self._clock = clock
        self._began = clock.now
        self._refused = refused

    def tally(self) -> Tally:
        done = round(self._clock.now - self._began)
        return Tally(8, done, 100 + done if self._refused else 0)

    def no_more(self) -> None:
        pass

    def wait(self, seconds: float) -> bool:
        return True


class Stack:
    """Its gateway grows by `growth` MB a minute; calls beyond `allowed` are refused."""

    def __init__(self, clock: Clock, growth: float, allowed: int) -> None:
        self._clock = clock
        self._growth = growth
        self._allowed = allowed
        self.offered: list[int] = []

    def sample(self) -> Sample:
        at_s = self._clock.now
        memory = {"gateway": 300.0 + self._growth * at_s / 60, "asterisk": 180.0}
        return Sample(at_s, {"gateway": at_s / 4, "asterisk": at_s / 2}, memory, BUSY, 0, 0, 100)

    @contextmanager
    def calling(self, at_once: int, length_s: float, per_second: float) -> Iterator[Callers]:
        self.offered.append(at_once)
        yield Callers(self._clock, refused=at_once > self._allowed)

    def until_empty(self, seconds: float) -> dict[str, int]:
        return {}


def said(clock: Clock) -> list[UtteranceText]:
    """One a second, with 50 ms beyond endpoint wait and engines."""
    first = recorded(0.0)
    delays = {"endpoint_wait": 2.0, "total": 2.05}
    return [
        msgspec.structs.replace(first, recorded_at=datetime.fromtimestamp(EPOCH + second, UTC), delays=delays)
        for second in range(round(clock.now))
    ]


def soaked(monkeypatch: pytest.MonkeyPatch, growth: float, *, quick: bool = False) -> tuple[list[Row], list[Stack]]:
    clock, stacks = Clock(), []

    @contextmanager
    def stack(folder: Path, *, max_calls: int = 160, port_offset: int | None = None) -> Iterator[Stack]:
        stacks.append(Stack(clock, growth, max_calls))
        yield stacks[-1]

    async def utterances(stack: Stack) -> list[UtteranceText]:
        return said(clock)

    def levels(stack: Stack, wanted: Sequence[int], level_s: float, tell: soak.Note) -> list[Level]:
        return [Level(calls, {}, 0, 0, 0, EPOCH, 20.0) for calls in wanted]

    monkeypatch.setattr(soak, "time", clock)
    for name, stand_in in (("sip_stack", stack), ("utterances", utterances), ("levels", levels), ("hang_up", lambda stack: None)):
        monkeypatch.setattr(soak, name, stand_in)
    return list(soak.measure(quick=quick).rows), stacks


def test_half_an_hour_then_as_many_as_allowed_then_half_as_many_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, (first, second) = soaked(monkeypatch, 0.0)
    assert [row["what"] for row in rows] == [*map(str, range(1, 31)), GROWTH, ERROR, AFTER, ALLOWED, OVER]
    assert (first.offered, second.offered) == ([96], [96, 144])
    assert {row["failed calls"] for row in rows[:30]} == {0}
    assert (rows[-2]["ended calls"], rows[-2]["failed calls"]) == (60, 0), "of this stretch only"
    assert (rows[-1]["ended calls"], rows[-1]["failed calls"]) == (180, 180)
    assert [(row["delay beyond p50 ms"], row["delay beyond p95 ms"]) for row in rows[-2:]] == [(50.0, 50.0)] * 2
    assert [goal for goal in judged(["soak"], {"soak": rows}, quick=False).rows if not goal["met"]] == []


def test_a_gateway_that_grows_misses_its_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = soaked(monkeypatch, 10.0)
    missed = [goal for goal in judged(["soak"], {"soak": rows}, quick=False).rows if not goal["met"]]
    assert [(goal["what"], goal["reached"]) for goal in missed] == [("growth of the gateway's memory, MB an hour", "+600.00 ± 0.00")]


def test_a_quick_one_tells_of_no_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = soaked(monkeypatch, 0.0, quick=True)
    assert [row["what"] for row in rows] == ["1", GROWTH, ERROR, AFTER, ALLOWED, OVER]
    found = {goal["what"]: goal["met"] for goal in judged(["soak"], {"soak": rows}, quick=True).rows}
    assert sorted(found.values(), key=str) == [None, None, None, None, True]
