"""A hand is fast enough; a telephone that sends digits without end is not listened to."""

from __future__ import annotations

from appliance.telephony.key_rate import BURST, PER_SECOND, KeyRate


def test_a_menu_is_entered_as_fast_as_a_hand_can() -> None:
    rate = KeyRate()
    assert all(rate.take("caller", 0.1 * press) for press in range(8))


def test_a_flood_is_cut_to_its_rate_and_the_other_party_is_not() -> None:
    rate = KeyRate()
    taken = sum(rate.take("caller", 0.01 * press) for press in range(1000))
    assert BURST + 9 * PER_SECOND <= taken <= BURST + 10 * PER_SECOND + 1
    assert rate.take("agent", 10.0)


def test_after_a_pause_all_digits_are_taken_again() -> None:
    rate = KeyRate()
    for press in range(100):
        rate.take("caller", 0.01 * press)
    assert not rate.take("caller", 1.0)
    assert all(rate.take("caller", 1.0 + BURST / PER_SECOND + 1.0) for _ in range(int(BURST)))


def test_a_clock_that_stands_still_gives_nothing() -> None:
    rate = KeyRate()
    assert sum(rate.take("caller", 5.0) for _ in range(50)) == int(BURST)
