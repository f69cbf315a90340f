"""When interpretation counts as lost, and when it is taken up again."""

from __future__ import annotations

from appliance.interpreter.outage import BACK_S, CALM_S, LONGEST_BACK_S, LOST_AFTER, OUT_S, SAME_FAULT_S, Outage

STEP_S = 0.125


def until(outage: Outage, now: float, out: bool, change: str, limit_s: float = 120.0) -> float:
    """When `look` says `change`, told the same thing over and over from `now` on."""
    end = now + limit_s
    while now < end:
        if outage.look(now, out) == change:
            return now
        now += STEP_S
    raise AssertionError(f"never {change}")


def test_servers_that_are_out_for_a_moment_are_waited_for() -> None:
    outage = Outage()
    for now in (0.0, 0.5, 0.9):
        assert outage.look(now, True) == ""
    assert outage.look(1.0, False) == ""
    assert outage.look(1.5, True) == "", "it counts anew"
    assert outage.look(1.5 + OUT_S, True) == "lost"
    assert outage.direct
    assert outage.look(2.6, True) == "", "told once"


def test_an_utterance_lost_to_servers_that_are_out_is_enough() -> None:
    outage = Outage()
    assert outage.failed(0.0, out=True) == "lost"
    assert outage.failed(0.1, out=True) == "", "told once"


def test_utterances_that_fail_though_the_servers_seem_well_are_counted() -> None:
    outage = Outage()
    now = 0.0
    for _ in range(LOST_AFTER - 1):
        assert outage.failed(now, out=False) == ""
        assert outage.failed(now + 0.5 * SAME_FAULT_S, out=False) == "", "segments of one utterance"
        now += SAME_FAULT_S
    outage.worked()
    for _ in range(LOST_AFTER - 1):
        assert outage.failed(now, out=False) == ""
        now += SAME_FAULT_S
    assert outage.failed(now, out=False) == "lost"


def test_it_is_back_once_all_have_been_well_for_a_while() -> None:
    outage = Outage()
    outage.failed(0.0, out=True)
    assert outage.look(5.0, False) == ""
    assert outage.look(5.0 + BACK_S / 2, True) == "", "not well yet"
    assert outage.look(7.0, False) == ""
    assert outage.look(7.0 + BACK_S - STEP_S, False) == ""
    assert outage.look(7.0 + BACK_S, False) == "back"
    assert not outage.direct


def test_failures_that_no_server_knows_of_end_after_a_while_too() -> None:
    outage = Outage()
    for number in range(LOST_AFTER):
        outage.failed(number * SAME_FAULT_S, out=False)
    assert outage.direct
    assert until(outage, 10.0, False, "back") == 10.0 + BACK_S


def test_servers_that_come_and_go_are_trusted_less_each_time_until_it_is_calm() -> None:
    outage = Outage()
    now, waits = 0.0, []
    for _ in range(7):
        now = until(outage, now, True, "lost")
        back = until(outage, now + STEP_S, False, "back")
        waits.append(back - now - STEP_S)
        now = back + 5.0
    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert max(waits) == LONGEST_BACK_S
    now = until(outage, now + CALM_S, True, "lost")
    assert until(outage, now + STEP_S, False, "back") - now - STEP_S == BACK_S
