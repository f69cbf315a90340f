"""What rows of the parts say of the goals."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from appliance.bench import goals, results, sip_levels, soak
from appliance.bench.goals import judged, missed
from appliance.bench.results import Row, Value
from appliance.bench.run import PARTS

GATEWAY = {"turned away": "none", "late ticks": 0, "frames late": 0, "frames lost": 0, "memory per call MB": 1.2}
LEVEL = {"delay beyond p95 ms": 42.0, "late ticks": 0}
CALL = {"utterances": 6, "lost": 0, "went through": True, "delay p95 s": 0.6, "INVITE to greeting s": 0.07}
HELD = dict.fromkeys(soak.HELD.values(), 0)


def of(part: str, rows: list[Row], *, quick: bool = False) -> dict[str, tuple[Value, Value]]:
    """Goal by what it is about: reached, met."""
    return {str(row["what"]): (row["reached"], row["met"]) for row in judged([part], {part: rows}, quick=quick).rows}


def one(part: str, rows: list[Row], about: str, *, quick: bool = False) -> tuple[Value, Value]:
    (found,) = [seen for what, seen in of(part, rows, quick=quick).items() if about in what]
    return found


def gateway(calls: int, **other: Value) -> Row:
    return {"offered": calls, "calls": calls, **GATEWAY, **{name.replace("_", " "): value for name, value in other.items()}}


def test_only_the_parts_that_were_asked_for_have_goals_and_one_that_failed_is_not_measured() -> None:
    rows = judged(["echo", "soak", "commit"], {"echo": [{"played": 50, "taken for speech": 0}]}, quick=False).rows
    assert {row["part"] for row in rows} == {"echo", "soak"}
    assert [row["met"] for row in rows if row["part"] == "echo"] == [True]
    assert {row["met"] for row in rows if row["part"] == "soak"} == {None}
    assert missed(rows) == []


def test_every_part_but_the_one_of_policies_has_a_goal() -> None:
    assert set(PARTS) - {goal.part for goal in goals.GOALS} <= {"commit"}


def test_200_calls_are_carried_where_nothing_is_late_or_lost() -> None:
    assert one("gateway", [gateway(100), gateway(200)], "calls on one core") == (200, True)
    assert one("gateway", [gateway(50, frames_lost=1), gateway(100), gateway(200)], "calls on one core") == (200, True)
    assert one("gateway", [gateway(100), gateway(200, late_ticks=1)], "calls on one core") == (100, False)
    away = {**gateway(180), "offered": 200, "turned away": "20 busy"}
    assert one("gateway", [gateway(100), away], "calls on one core") == (180, False)


def test_what_a_quick_measurement_does_not_try_is_not_measured() -> None:
    assert one("gateway", [gateway(10), gateway(25)], "calls on one core", quick=True) == (25, None)
    assert one("gateway", [gateway(10), gateway(25, frames_late=2)], "calls on one core", quick=True) == (10, False)
    assert one("gateway", [gateway(100)], "calls on one core") == (100, False), "200 calls did not even come about"
    sip = [{"call": "all", **CALL}, {"call": goals.sip_level(10), **LEVEL}]
    assert one("calls", sip, "by SIPp", quick=True) == (None, None)
    assert one("calls", sip, "by SIPp") == (None, False), "the machine does not carry 40"
    minutes: list[Row] = [{"what": "1", "ended calls": 100, "failed calls": 0}]
    assert one("soak", minutes, "failed calls", quick=True) == (0, None)
    assert one("echo", [{"played": 20, "taken for speech": 0}], "played") == ("0 of 20", None)
    assert one("echo", [{"played": 20, "taken for speech": 1}], "played") == ("1 of 20", False)
    course = {"translation length": 1.0, "spread %": 5.0, "lost": 0, "twice": 0, "memory growth MB": 0.1}
    assert set(of("monologue", [{**course, "delay at 5 min s": 2.0}]).values()) == {(None, None)}
    assert {met for _, met in of("monologue", [{**course, "delay at 15 min s": 2.0}]).values()} == {True}


def test_the_level_of_40_calls_is_that_of_the_measurement() -> None:
    level = sip_levels.Level(40, dict.fromkeys(("gateway", "asterisk", "engines", "sipp"), 0.1), 0, 0, 0, 1e9, 20.0)
    assert one("calls", [{**level.row([]), "delay beyond p95 ms": 60.0}], "by SIPp") == (60.0, True)
    assert one("calls", [{**level.row([]), "delay beyond p95 ms": 60.1}], "by SIPp") == (60.1, False)
    assert 40 in sip_levels.LEVELS


def test_real_calls_must_lose_nothing_and_be_heard_soon() -> None:
    seen = of("calls", [{"call": "ta, interpreted", **CALL}, {"call": "all", **CALL}])
    assert {met for what, (_, met) in seen.items() if "SIPp" not in what} == {True}
    bad: list[Row] = [{"call": "ta, failed", **CALL, "went through": False}, {"call": "all", **CALL, "lost": 1, "delay p95 s": 3.1}]
    seen = of("calls", bad)
    assert [what for what, (_, met) in seen.items() if met] == ["INVITE to greeting, slowest"]
    assert one("calls", bad, "went through") == ("0 of 1", False)


def test_the_worst_noise_counts_and_a_crowd_is_told_apart() -> None:
    noises: list[Row] = [
        {"noise": "none", "SNR dB": None, "false per minute": 0.0, "spoken per minute": 0.0},
        {"noise": "babble", "SNR dB": 5.0, "false per minute": 0.1, "spoken per minute": 0.0},
        {"noise": "crowd", "SNR dB": 10.0, "false per minute": 3.0, "spoken per minute": 0.2},
    ]
    seen = judged(["lines"], {"lines": noises}, quick=False).rows
    assert [(row["reached"], row["met"], row["where"]) for row in seen] == [
        (0.1, True, "babble, SNR dB 5"),
        (3.0, False, "crowd, SNR dB 10"),
        (0.0, True, "none"),
        (0.2, False, "crowd, SNR dB 10"),
    ]
    assert len(missed(seen)) == 2


def test_batches_and_engines() -> None:
    rows: list[Row] = [
        {"callers": 16, "times": 4.0, "batcher overhead ms": 0.9},
        {"callers": 64, "times": 31.0, "batcher overhead ms": 3.1},
    ]
    assert one("batching", rows, "throughput") == (4.0, True)
    assert one("batching", rows, "overhead") == (3.1, False)
    engines: list[Row] = [{"operation": name, "p95 ms": 70.0} for name in ("partial", "final", "translate")]
    assert [met for _, met in of("engines", engines).values()] == [True, True, False]


def soak_rows(growth: float | None, error: float | None, **delays: float) -> list[Row]:
    return [
        *({"what": str(minute), "ended calls": 90, "failed calls": 0} for minute in range(1, 31)),
        {"what": goals.GROWTH, "failed calls": 0, "gateway MB": growth, "Asterisk MB": 0.0},
        {"what": goals.ERROR, "gateway MB": error, "Asterisk MB": 0.0},
        {"what": goals.AFTER, **HELD},
        {"what": goals.ALLOWED, "failed calls": 2, "delay beyond p95 ms": delays.get("before", 40.0), **HELD},
        {"what": goals.OVER, "failed calls": 900, "delay beyond p95 ms": delays.get("during", 40.0), **HELD},
    ]


def test_a_soak_is_judged_by_its_minutes_and_by_what_is_left() -> None:
    assert {met for _, met in of("soak", soak_rows(1.0, 0.6)).values()} == {True}
    failing = soak_rows(1.0, 0.6)
    failing[3] |= {"failed calls": 1}
    failing[32] |= {"tasks": 2}
    assert (one("soak", failing, "failed calls"), one("soak", failing, "held")) == ((1, False), (2, False))
    assert set(HELD) == set(goals._HELD)


@pytest.mark.parametrize(("growth", "error", "met"), [(1.0, 0.5, True), (1.0, 0.4, False), (-9.0, 0.1, True), (None, None, None)])
def test_memory_grows_only_where_its_scatter_does_not_explain_it(growth: float | None, error: float | None, met: bool | None) -> None:
    reached, found = one("soak", soak_rows(growth, error), "the gateway's memory")
    assert found is met
    assert reached == (None if growth is None else f"{growth:+.2f} ± {error:.2f}")


@pytest.mark.parametrize(
    ("before", "during", "met"), [(40.0, 60.0, True), (40.0, 61.0, False), (200.0, 240.0, True), (200.0, 241.0, False)]
)
def test_calls_inside_keep_their_delay_to_a_frame_or_a_share(before: float, during: float, met: bool) -> None:
    assert one("soak", soak_rows(0.0, 0.1, before=before, during=during), "inside")[1] is met
    assert one("soak", soak_rows(0.0, 0.1, before=before, during=during), "inside", quick=True)[1] is None, "too few utterances"


def test_goals_are_written_as_the_parts_are_and_shown_as_not_measured(tmp_path: Path) -> None:
    found = judged(["echo", "batching"], {"echo": [{"played": 50, "taken for speech": 0}]}, quick=False)
    rows: list[Mapping[str, Value]] = msgspec.json.decode(results.write(found, tmp_path).read_bytes())
    assert [list(row) for row in rows] == [["part", "what", "goal", "reached", "met", "where"]] * 3
    assert (rows[0]["part"], rows[0]["reached"], rows[0]["met"]) == ("batching", None, None)
    assert (rows[2]["reached"], rows[2]["met"]) == ("0 of 50", True)
    (table,) = results.tables(found, 160)
    assert list(table.columns[4].cells) == ["not measured", "not measured", "yes"]


@pytest.mark.parametrize(("cost", "met"), [(0.6, True), (0.61, False)])
def test_more_workers_may_make_a_call_a_fifth_dearer(cost: float, met: bool) -> None:
    rows: list[Row] = [{"workers": workers, "CPU % per call": cpu} for workers, cpu in ((1, 0.5), (2, 0.7), (3, cost), (1, 0.3))]
    assert one("workers", rows, "cost of a call") == (round(cost / 0.5, 2), met)
    assert one("workers", rows[:1], "cost of a call") == (None, None)
